"""The memory that activations take at the worst moment of a pass."""

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, follows the bytes of all living activations; `peak_bytes` is the most there were at once.

    It counts what eager inference holds: the input, every result until Python drops it, nothing twice for views and
    in-place operations, no weights, and no scratch space inside an operation. The device may be meta.
    """

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = {storage_key(tensor) for tensor in [*model.parameters(), *model.buffers()]}
        self.living_bytes = 0
        self.peak_bytes = 0
        self.watch(images)

    def __torch_dispatch__(self, func: OpOverload, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in activations(func, output):
            self.watch(tensor)
        return output

    def watch(self, tensor: Tensor) -> None:
        """Counts the storage of `tensor` from now until its last owner lets it go."""
        storage, key = tensor.untyped_storage(), storage_key(tensor)
        if key in self.known:
            return
        self.known.add(key)
        self.living_bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self.living_bytes)
        weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.living_bytes -= size


def activations(func: OpOverload, output: Any) -> list[Tensor]:
    """The tensors that an operation hands back."""
    if func is torch.ops.aten.native_batch_norm.default:
        return [output[0]]  # the saved statistics are empty in inference; only the meta device shows them
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def storage_key(tensor: Tensor) -> int:
    """The same for all tensors that share a storage; meta storages have no address to compare."""
    key: int = tensor.untyped_storage()._cdata
    return key
