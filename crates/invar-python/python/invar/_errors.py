"""What can go wrong. The messages are those of the command line."""


class Error(Exception):
    """Any error of Invar."""


class Failed(Error, RuntimeError):
    """The machine failed: a full disk, too little memory. Exit code 1 of the command line."""


class Usage(Error, ValueError):
    """The request is wrong: an option out of range, a path that is not there. Exit code 2 of the command line."""


class BadInput(Error, ValueError):
    """A file is damaged, or two do not fit together; file and record are named. Exit code 3 of the command line."""


class Internal(Error, RuntimeError):
    """A mistake in Invar itself."""


class NotInstalled(Error, ImportError):
    """Training and embedding need the package ``invar-learn``, which is not there or does not run."""


class WrongTorch(NotInstalled):
    """``invar-learn`` is made for another version of torch."""


class InvarWarning(UserWarning):
    """What the command line prints after ``warning:``."""
