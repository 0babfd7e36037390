"""`mbseg NAME ...` and `tools/NAME.py ...`: one typed function each; mistakes are one line and exit code 2."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from cyclopts import App, CycloptsError, Parameter

from mbseg.errors import MbsegError, first_line
from mbseg.interruption import Interrupted, endings_at_once, handle_endings

COMMANDS = {  # the functions are imported when they are asked for
    "quickstart": "Draw a small data set, train on it, evaluate, profile, write a report.",
    "train": "Train a model.",
    "evaluate": "Score weights on the validation split.",
    "predict": "Write a model's class map or boxes for every picture of a folder.",
    "merge": "Check the shards of a prediction by their SHA-256, and make one of them.",
    "predict-on-ray": "Predict a huge folder on a Ray cluster.",
    "profile": "Count params, multiply-adds and memory, layer by layer.",
    "tradeoff": "Fill a grid's table and charts: what every multiply-add buys.",
    "models": "List what there is to build with: backbones, heads, weights, published scores.",
    "export": "Write one file that takes frames and gives the class map or the boxes: ONNX or OpenVINO.",
    "demo": "Show a model's class map or boxes over a video, a camera or a stream; in a file, a window or the browser.",
    "import-weights": "Bring weights of torchvision, timm or TensorFlow into a file of mbseg.",
    "prepare-dataset": "Download a data set, or take it from an archive, and lay it out.",
    "check-data": "Read every picture with its mask or boxes, and name each faulty file and box.",
    "benchmark": "Measure mbseg against torchvision and pycocotools on this machine.",
    "doctor": "Say whether this machine is fit: what is installed, what it has, and a self-test.",
}
USER_MISTAKE = 2
ENDED_BY = 128  # plus the number of the signal, as shells count
GO_ON = {
    "train": "; go on with --resume",
    "predict": "; what is made with --shard goes on by the same command",
    "quickstart": "; the same command goes on",
    "tradeoff": "; the same command goes on",
}


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
        with endings_at_once():
            make_app()(tokens, exit_on_error=False, print_error=False)
    except (MbsegError, CycloptsError) as error:
        tell(f"error: {error}")
        return USER_MISTAKE
    except KeyboardInterrupt as ending:
        told = ending if isinstance(ending, Interrupted) else Interrupted(signal.SIGINT)
        tell(str(told) + GO_ON.get(" ".join(tokens[:1]), ""))
        return ENDED_BY + told.number
    except BrokenPipeError:  # `mbseg ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and lost_another(error):
            tell("error: lost another process: it was killed or has crashed, or its machine cannot be reached")
            return USER_MISTAKE
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        tell(f"error: not enough memory ({first_line(error)}); use smaller pictures, scales or batches")
        return USER_MISTAKE
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        tell(f"error: {place}{error.strerror or error}")
        return USER_MISTAKE
    return 0


def tell(text: str) -> None:
    """Why it ends, in one line; of several processes that torchrun has started, the first to end so speaks for all."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        from mbseg.torchrun import is_first_to_fail

        if not is_first_to_fail():
            return
    print(" ".join(text.split()), file=sys.stderr)


def lost_another(error: RuntimeError) -> bool:
    """Whether it comes from torchrun's other processes."""
    from mbseg.torchrun import is_of_another

    return is_of_another(error)


def speak_on_stderr() -> None:
    """What mbseg itself logs, and no library."""
    logger = logging.getLogger("mbseg")
    logger.setLevel(logging.INFO)
    logger.handlers = [logging.StreamHandler(sys.stderr)]
    logger.propagate = False


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """`main` as a process: a signal that comes when the command is over changes nothing, and no exit code."""
    handle_endings(lambda *_: None)  # what `main` puts back; SIG_IGN would be taken for nohup
    code = main(arguments)
    handle_endings(signal.SIG_IGN)  # Python would put the default back before it is gone
    sys.exit(code)


def run_tool(name: str) -> None:
    """The body of `tools/NAME.py`."""
    # Python puts the script's folder first, where torch's `import profile` would find tools/profile.py
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(sys.argv[0]).resolve().parent)]
    run([name, *sys.argv[1:]])
