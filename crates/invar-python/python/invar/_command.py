"""Commands of the command line: here, or by ``invar-learn`` where they need networks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from . import _invar, _learn
from ._events import OnEvent, parsed


def call(
    command: Iterable[str],
    paths: Iterable[Any] = (),
    /,
    *,
    on_event: OnEvent | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Runs a command and returns its summary: what ``--json`` prints."""
    arguments = command_line(command, paths, {**options, "json": True})
    listener = parsed(on_event)
    if _invar.is_for_learn(arguments):
        return _learn.call(arguments, listener)
    return json.loads(_invar.call(arguments, listener)) or {}


def command_line(command: Iterable[str], paths: Iterable[Any], options: Mapping[str, Any]) -> list[str]:
    """The arguments: ``min_length=1000`` is ``--min-length=1000``; True is the option alone, False and None are none; of a
    list each value has the option before it, and of a dict ``KEY=VALUE``."""
    arguments = list(command)
    for name, value in options.items():
        option = "--" + name.rstrip("_").replace("_", "-")
        for one in _values(value):
            arguments.append(option if one is True else f"{option}={_text(one)}")
    return [*arguments, "--", *(_text(path) for path in paths)]


def _values(value: Any) -> list[Any]:
    if value is None or value is False:
        return []
    if isinstance(value, Mapping):
        return [f"{key}={_of_recipe(of_key)}" for key, of_key in value.items()]
    if isinstance(value, (str, bytes, os.PathLike)) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def _text(value: Any) -> str:
    return os.fsdecode(value) if isinstance(value, (bytes, os.PathLike)) else str(value)


def _of_recipe(value: Any) -> str:
    """A value as a recipe has it, which is TOML: the parts that JSON writes in the same way."""
    return _text(value) if isinstance(value, (str, bytes, os.PathLike)) else json.dumps(value)
