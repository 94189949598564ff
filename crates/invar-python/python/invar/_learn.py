"""The program ``invar-learn``, which has LibTorch: a process of its own, because LibTorch is made for one version of torch and
this interpreter may have loaded another."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._errors import BadInput, Error, Failed, NotInstalled, Usage, WrongTorch

#: Names the program, where it is no package: one that cargo built, or conda.
VARIABLE = "INVAR_LEARN"
#: What to do without it.
INSTALL = "training and embedding need it: pip install invar-learn"

_EXCEPTIONS: dict[int, type[Error]] = {1: Failed, 2: Usage, 3: BadInput}
_INTERRUPTED = 130


def program() -> str:
    """Path of the program that goes with the torch of this environment."""
    named = os.environ.get(VARIABLE)
    if named:
        if not os.access(named, os.X_OK):
            raise NotInstalled(f"{VARIABLE}={named}: there is no such program")
        return named
    package = importlib.util.find_spec("invar_learn")
    if package is None or not package.origin:
        raise NotInstalled(f"invar-learn is not installed; {INSTALL} (or {VARIABLE} names the program)")
    own, its = importlib.metadata.version("invar"), importlib.metadata.version("invar-learn")
    if own != its:
        raise NotInstalled(f"invar is {own}, invar-learn is {its}: pip install invar-learn=={own}")
    home = Path(package.origin).parent
    wanted = (home / "torch-version").read_text().strip()
    torch = importlib.util.find_spec("torch")
    if torch is None or not torch.origin:
        raise WrongTorch(f"invar-learn needs torch {wanted}, and no torch is installed: pip install torch=={wanted}")
    found = importlib.metadata.version("torch")
    if found.split("+")[0] != wanted:
        raise WrongTorch(f"invar-learn needs torch {wanted}, and {found} is installed: pip install torch=={wanted}")
    beside = home.with_name("torch")
    if not beside.is_dir():
        place = Path(torch.origin).parent
        raise WrongTorch(f"torch is in {place}, not beside {home}: install both in one environment")
    return str(home / "invar-learn")


def call(arguments: list[str], listener: Callable[[str], object]) -> dict[str, Any]:
    """Runs ``invar ARGUMENTS`` and returns its summary; each event is told to ``listener``.

    Ctrl-C asks the program to stop, as it does on the command line: it writes a checkpoint. A second one ends it.
    """
    path = program()
    # In a group of its own, a Ctrl-C of the terminal reaches it by this process alone, once.
    process = subprocess.Popen(
        [path, *_with_events(arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    summary: list[str] = []
    reader = threading.Thread(target=lambda stream: summary.append(stream.read()), args=(process.stdout,), daemon=True)
    reader.start()
    said, raised = _Said(listener), None
    try:
        while True:
            try:
                for line in process.stderr:
                    said.take(line)
                process.wait()
                break
            except BaseException as error:  # noqa: BLE001 (raised when the program has ended)
                if raised is not None and isinstance(error, KeyboardInterrupt):
                    process.kill()
                raised = raised or error
                said.listener = None
                process.send_signal(signal.SIGINT)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join()
        process.stdout.close()
        process.stderr.close()
    if raised is not None:
        raise raised
    if process.returncode:
        raise _exception(process.returncode, path, said)
    return json.loads(summary[0]) if summary and summary[0].strip() else {}


def _with_events(arguments: list[str]) -> list[str]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return [*arguments[:at], "--events", *arguments[at:]]


class _Said:
    """What the program says on stderr."""

    def __init__(self, listener: Callable[[str], object]) -> None:
        self.listener: Callable[[str], object] | None = listener
        self.error: str | None = None
        self.other: list[str] = []

    def take(self, line: str) -> None:
        """A line: an event, or what a library or the dynamic linker prints."""
        line = line.rstrip("\n")
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, TypeError, KeyError):
            self.other = [*self.other[-20:], line]
            return
        if kind == "error":
            self.error = event["text"]
        if self.listener is not None:
            self.listener(line)


def _exception(code: int, path: str, said: _Said) -> BaseException:
    told = "\n".join(said.other).strip()
    if code < 0:
        name = signal.Signals(-code).name
        return Failed(f"{path} was ended by {name}" + (f": {told}" if told else ""))
    if said.error is not None:
        if code == _INTERRUPTED:
            return KeyboardInterrupt(said.error)
        return _EXCEPTIONS.get(code, Failed)(said.error)
    if code == 127 or "error while loading shared libraries" in told:
        return NotInstalled(f"{path} does not run: {told}")
    text = told.removeprefix("error: ").split("\n\nUsage:")[0]
    return _EXCEPTIONS.get(code, Failed)(text or f"{path} ended with {code}")
