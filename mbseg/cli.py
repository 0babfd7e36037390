"""`mbseg NAME ...` and `tools/NAME.py ...`: one typed function each; mistakes are one line and exit code 2."""

import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from cyclopts import App, CycloptsError, Parameter

from mbseg.errors import MbsegError, first_line

COMMANDS = {  # the functions are imported when they are asked for
    "quickstart": "Draw a small data set, train on it, evaluate, profile, write a report.",
    "train": "Train a model.",
    "evaluate": "Score weights on the validation split.",
    "predict": "Write a model's class map or boxes for every picture of a folder.",
    "profile": "Count params, multiply-adds and memory, layer by layer.",
    "tradeoff": "Fill a grid's table and charts: what every multiply-add buys.",
    "models": "List what there is to build with: backbones, heads, weights, published scores.",
    "export": "Write one file that takes frames and gives the class map or the boxes: ONNX or OpenVINO.",
    "demo": "Show a model's class map or boxes over a video, a camera or a stream; in a file, a window or the browser.",
    "import-weights": "Bring weights of torchvision, timm or TensorFlow into a file of mbseg.",
    "prepare-dataset": "Download a data set, or take it from an archive, and lay it out.",
    "check-data": "Read every picture with its mask or boxes, and name each faulty file and box.",
    "benchmark": "Measure mbseg against torchvision and pycocotools on this machine.",
}
USER_MISTAKE = 2
INTERRUPTED = 130


def make_app() -> App:
    app = App(
        name="mbseg",
        version=version("mbseg"),
        help="Dense prediction with MobileNets: choose a network, see what every multiply-add buys, train it, use it.",
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name, summary in COMMANDS.items():
        function = name.replace("-", "_")
        app.command(f"mbseg.commands.{function}:{function}", name=name, help=summary)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code."""
    speak_on_stderr()
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        make_app()(tokens, exit_on_error=False, print_error=False)
    except (MbsegError, CycloptsError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_MISTAKE
    except KeyboardInterrupt:
        print("interrupted" + ("; go on with --resume" if tokens[:1] == ["train"] else ""), file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `mbseg ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        said = f"not enough memory ({first_line(error)})"
        print(f"error: {said}; use smaller pictures, scales or batches", file=sys.stderr)
        return USER_MISTAKE
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
        return USER_MISTAKE
    return 0


def speak_on_stderr() -> None:
    """What mbseg itself logs, and no library."""
    logger = logging.getLogger("mbseg")
    logger.setLevel(logging.INFO)
    logger.handlers = [logging.StreamHandler(sys.stderr)]
    logger.propagate = False


def run_tool(name: str) -> None:
    """The body of `tools/NAME.py`."""
    # Python puts the script's folder first, where torch's `import profile` would find tools/profile.py
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(sys.argv[0]).resolve().parent)]
    sys.exit(main([name, *sys.argv[1:]]))
