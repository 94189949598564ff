"""What functions take as embeddings, as paths for the commands."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from . import _invar
from ._errors import Error, Usage

_T = TypeVar("_T")


class Work:
    """A directory for files that nobody named; it goes when nobody holds it any more."""

    def __init__(self) -> None:
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._count = 0
        self._copies: dict[str, str] = {}

    def file(self, name: str) -> str:
        """A new path in it."""
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="invar-", ignore_cleanup_errors=True)
        self._count += 1
        return str(Path(self._directory.name, f"{self._count}-{name}"))

    def local(self, path: str | os.PathLike[str]) -> str:
        """The path; of a URL, that of a copy in it, fetched once."""
        path = os.fspath(path)
        if not _invar.is_url(path):
            return path
        if path not in self._copies:
            directory = self.file("copy")
            os.mkdir(directory)
            self._copies[path] = os.fspath(_invar.copied(path, directory))
        return self._copies[path]

    def read(self, function: Callable[..., _T], path: str | os.PathLike[str], *arguments: Any) -> _T:
        """``function(path, *arguments)``, with a copy in place of a URL; what goes wrong names the URL."""
        file = self.local(path)
        try:
            return function(file, *arguments)
        except Error as error:
            if file == os.fspath(path):
                raise
            # A query may be a signature, and is not told.
            shown = os.fspath(path).split("?")[0]
            raise type(error)(str(error).replace(file, shown)) from None


def named(path: str | bytes | os.PathLike[str]) -> str | Path:
    """A URL as text, which a Path would spoil; anything else as a Path."""
    text = os.fsdecode(path)
    return text if _invar.is_url(text) else Path(text)


def beside(path: str | Path, suffix: str) -> str | Path:
    """The path or URL with another suffix."""
    return path.with_suffix(suffix) if isinstance(path, Path) else os.path.splitext(path)[0] + suffix


def is_path(source: Any) -> bool:
    """Whether it is a path, or has one."""
    return isinstance(source, (str, bytes, os.PathLike))


def path_of(source: Any, work: Work, like: str | None = None) -> str:
    """The path of a source; of a table or array in memory, that of a copy in ``work``, said to be of the model of the
    embeddings ``like``."""
    if is_path(source):
        return os.fsdecode(source)
    path = work.file("table.parquet")
    if hasattr(source, "__arrow_c_stream__"):
        _invar.write_stream(source.__arrow_c_stream__(), path, like)
    else:
        _invar.write_vectors(vectors_of_array(source), path, like)
    return path


def vectors_of_array(array: Any) -> _invar.Vectors:
    """A copy of an array ``(n, d)`` of numbers."""
    import numpy

    try:
        values = numpy.require(array, dtype=numpy.float32, requirements=["C", "ALIGNED"])
    except (TypeError, ValueError) as error:
        text = f"expected a path, a table with __arrow_c_stream__ or an array of numbers, found {type(array).__name__}"
        raise Usage(f"{text}: {error}") from None
    if values.ndim != 2 or values.shape[1] == 0:
        raise Usage(f"expected an array of the shape (n, d), found {values.shape}")
    return _invar.Vectors.of_array(values)
