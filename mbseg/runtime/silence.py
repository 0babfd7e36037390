"""Exporters, quantisers and compilers without their remarks, which are for their own developers."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

SPEAKERS = ("torch.onnx", "torch.export", "torch.utils.cpp_extension", "onnxscript", "onnx_ir", "nncf")


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Neither their loggers nor warnings nor what is printed are heard."""
    loggers = [logging.getLogger(name) for name in SPEAKERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
