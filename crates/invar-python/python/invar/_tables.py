"""Tables that functions return, and embeddings."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _invar
from ._sources import Work, is_path, named, path_of, vectors_of_array

if TYPE_CHECKING:
    import anndata
    import numpy as np
    import numpy.typing as npt

    from ._clusters import Clusters


class Table:
    """A table in a Parquet file. ``polars.DataFrame(table)``, ``pyarrow.table(table)``, ``pandas.DataFrame.from_arrow(table)``
    and DuckDB take it; it is itself a path."""

    #: The file, or the directory of part files; a URL is text.
    path: Path | str

    def __init__(self, path: str | os.PathLike[str], *, work: Work | None = None) -> None:
        self.path = named(path)
        self._work = work or Work()

    def __fspath__(self) -> str:
        return str(self.path)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """All rows, as a capsule of Arrow's C stream interface; read a row group at a time."""
        return self._work.read(_invar.stream, self.path, self).__arrow_c_stream__(requested_schema)

    @cached_property
    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = json.loads(self._work.read(_invar.info, self.path))
        return info

    def __len__(self) -> int:
        return int(self._info["num_rows"])

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""
        return [column["name"] for column in self._info["columns"]]

    @property
    def provenance(self) -> dict[str, Any] | None:
        """Who made it, of what: model, recipe, seed, inputs with their checksums; None where it was not Invar."""
        provenance: dict[str, Any] | None = self._info["provenance"]
        return provenance

    def column(self, name: str) -> npt.NDArray[Any] | list[Any]:
        """A column: an array ``(n,)`` of numbers, or a list where there are texts, truth values or nulls."""
        values = self._work.read(_invar.column, self.path, name)
        if isinstance(values, list):
            return values
        import numpy

        return numpy.asarray(values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {len(self)} rows)"


class Embeddings(Table):
    """Embeddings: a row a sample. The rows of :meth:`numpy` are of unit length if Invar made them."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        column: str | None = None,
        drop_bad_rows: bool = False,
        work: Work | None = None,
    ) -> None:
        super().__init__(path, work=work)
        self._column, self._drop_bad_rows = column, drop_bad_rows

    @cached_property
    def _vectors(self) -> _invar.Vectors:
        return self._work.read(_invar.Vectors.read, self.path, self._column, self._drop_bad_rows)

    def numpy(self) -> npt.NDArray[np.float32]:
        """The vectors ``(n, d)``, read once and not copied: not to be written to."""
        import numpy

        return numpy.asarray(self._vectors)

    @property
    def vector_column(self) -> str:
        """Name of the column of the vectors."""
        return self._column or "embedding"

    @property
    def dim(self) -> int:
        """Number of dimensions d."""
        return self._vectors.dim

    @property
    def ids(self) -> list[str]:
        """Name of each row of :meth:`numpy`; names may repeat."""
        ids = self._vectors.ids
        return ids if ids is not None else [str(row) for row in range(len(self._vectors))]

    @property
    def keys(self) -> npt.NDArray[np.int64] | None:
        """Key ``(n,)`` of each row of :meth:`numpy`, which no other sample has; None in a file without."""
        keys = self._vectors.keys
        if keys is None:
            return None
        import numpy

        return numpy.asarray(keys)

    @property
    def dropped(self) -> list[int]:
        """Rows of the file that :meth:`numpy` leaves out, because they hold no vector (``drop_bad_rows=True``)."""
        return self._vectors.dropped

    def to_anndata(self, clusters: Clusters | None = None) -> anndata.AnnData:
        """For scanpy: ``obsm["X_invar"]`` are the vectors ``(n, d)``, ``obs`` the other columns. With the clusters of these
        embeddings also ``obs["cluster"]``, a category, and ``obsm["X_umap"]`` ``(n, 2)``, called after the projection."""
        from ._anndata import to_anndata

        return to_anndata(self, clusters)


def read_embeddings(source: Any, *, column: str | None = None, drop_bad_rows: bool = False) -> Embeddings:
    """Embeddings of Invar, or the vectors of any program.

    :param source: a Parquet file or a directory of part files, by path or URL (with a slash at the end of a directory's; it
        is fetched once), a table with ``__arrow_c_stream__``, or an array ``(n, d)``
    :param column: the column of the vectors, lists of numbers of one length [default: ``embedding``]
    :param drop_bad_rows: leave out rows whose vector is missing or not finite, instead of raising
    :raises BadInput: a file is damaged or unfinished, or a row holds no vector; file and row are named
    """
    work = Work()
    embeddings = Embeddings(path_of(source, work), column=column, drop_bad_rows=drop_bad_rows, work=work)
    # What is wrong is said here, not where they are first used.
    _ = embeddings._vectors
    return embeddings


def options_of(source: Any, column: str | None, drop_bad_rows: bool) -> dict[str, Any]:
    """Which column of a source holds the vectors, as options of a command."""
    if isinstance(source, Embeddings):
        column, drop_bad_rows = column or source._column, drop_bad_rows or source._drop_bad_rows
    return {"column": column, "drop_bad_rows": drop_bad_rows}


def vectors_of(source: Any, column: str | None, drop_bad_rows: bool) -> _invar.Vectors:
    """The vectors of a source."""
    if isinstance(source, Embeddings) and column in (None, source._column) and not drop_bad_rows:
        return source._vectors
    if is_path(source) or hasattr(source, "__arrow_c_stream__"):
        work = Work()
        options = options_of(source, column, drop_bad_rows)
        return work.read(_invar.Vectors.read, path_of(source, work), options["column"], options["drop_bad_rows"])
    return vectors_of_array(source)
