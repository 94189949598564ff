"""What a function says while it works.

An event is a dict whose ``event`` is ``note`` or ``warning`` (``text``), ``progress`` (``stage``, ``done``, ``total``),
``step`` and ``validation`` (the lines of ``metrics.jsonl``), or ``error`` (``text``, ``exit_code``).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from ._errors import InvarWarning

Event = dict[str, Any]
OnEvent = Callable[[Event], object]

_HERE = os.path.dirname(__file__)

logger = logging.getLogger("invar")


def by_default(event: Event) -> None:
    """Warnings are Python's; notes go to the logger ``invar``."""
    if event["event"] == "warning":
        # Where the caller's code is, if Python can tell that.
        place: dict[str, Any] = {"skip_file_prefixes": (_HERE,)} if sys.version_info >= (3, 12) else {"stacklevel": 2}
        warnings.warn(event["text"], InvarWarning, **place)
    elif event["event"] == "note":
        logger.info("%s", event["text"])


def parsed(on_event: OnEvent | None) -> Callable[[str], object]:
    """Takes events as lines of JSON."""
    listener = on_event or by_default
    return lambda line: listener(json.loads(line))


class ProgressBar:
    """Shows progress on stderr, by tqdm (also as a widget in notebooks) where it is installed: give one as
    ``on_event=invar.ProgressBar()``. Warnings and notes stay as they are without it."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: Any = None
        self._suffix = ""

    def __call__(self, event: Event) -> None:
        if event["event"] == "progress":
            self._show(event["stage"], event["done"], event["total"])
        elif event["event"] == "step":
            self._suffix = f"loss {event['loss']:.3f}"
        else:
            by_default(event)

    def _show(self, stage: str, done: int, total: int | None) -> None:
        if stage != self._stage:
            self.close()
            self._stage, self._bar = stage, _tqdm(stage, total)
        if self._bar is None:
            of = f"/{total}" if total else ""
            end = "\n" if done == total else ""
            print(f"\r{stage} {done}{of} {self._suffix}", end=end, file=sys.stderr, flush=True)
            return
        self._bar.total = total
        self._bar.set_postfix_str(self._suffix, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()
        self._stage, self._bar, self._suffix = "", None, ""


def _tqdm(stage: str, total: int | None) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(desc=stage, total=total)
