"""Every error a user can cause. The command line shows each as one line on stderr and leaves with exit code 2.

MbsegError
├── ConfigError    a config, an override or an argument is wrong
├── DataError      a file of a data set is missing, unreadable or not what it should be
├── WeightsError   a weights file is damaged or does not fit the model
└── RunError       a run folder cannot be used, or a training cannot go on
"""

LONGEST_LINE = 2000  # characters


class MbsegError(Exception):
    """A mistake that the user can mend; its text says what came, what is allowed and what to do.

    That is one printable line, whatever stands in the file or the file name that it quotes.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class ConfigError(MbsegError):
    """A config, an override or an argument is wrong."""


class DataError(MbsegError):
    """A file of a data set is missing, unreadable or not what it should be."""


class WeightsError(MbsegError):
    """A weights file is damaged or does not fit the model."""


class RunError(MbsegError):
    """A run folder cannot be used, or a training cannot go on."""


def first_line(error: Exception) -> str:
    """What another library's exception says, short enough for one line of ours."""
    return str(error).partition("\n")[0] or type(error).__name__


def one_line(text: str) -> str:
    """Without what moves a terminal's cursor; of very long texts the beginning and the end."""
    spaced = (" " if character in "\r\n\t" else character for character in text)
    line = "".join(character if character.isprintable() else "?" for character in spaced)
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
