"""The program ``invar``: the command line of the module's own compiled code."""

import os
import signal
import sys

from . import _invar, _learn
from ._errors import NotInstalled


def main() -> None:
    """Runs it, or becomes ``invar-learn`` for what needs networks: exit codes and signals are those of the program."""
    arguments = sys.argv[1:]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Else Ctrl-C would also be raised here, when the program has ended.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if not _invar.is_for_learn(arguments):
        sys.exit(_invar.main(arguments))
    try:
        program = _learn.program()
    except NotInstalled as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    os.execv(program, ["invar", *arguments])
