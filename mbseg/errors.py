"""Every error a user can cause. The command line shows each as one line on stderr and leaves with exit code 2.

MbsegError
├── ConfigError    a config, an override or an argument is wrong
├── DataError      a file of a data set is missing, unreadable or not what it should be
├── WeightsError   a weights file is damaged or does not fit the model
└── RunError       a run folder cannot be used, or a training cannot go on
"""


class MbsegError(Exception):
    """A mistake that the user can mend; its text says what came, what is allowed and what to do."""


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
