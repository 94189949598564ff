"""Neighbours, search, and places in the plane."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _invar
from ._command import call
from ._events import OnEvent, parsed
from ._sources import Work, is_path, path_of
from ._tables import Table, options_of, vectors_of

if TYPE_CHECKING:
    import numpy
    import numpy.typing


class Neighbors(NamedTuple):
    """The nearest other rows of every row, nearest first."""

    #: Their numbers, ``(n, k)``.
    indices: numpy.typing.NDArray[numpy.uint32]
    #: Cosines of the angles to them, ``(n, k)``; 1 less these are cosine distances.
    cosines: numpy.typing.NDArray[numpy.float32]
    #: Share of the true neighbours that was found: 1 where the search is exact, else measured on some rows.
    recall: float


def neighbors(
    source: Any,
    k: int = 15,
    *,
    exact: bool = False,
    column: str | None = None,
    drop_bad_rows: bool = False,
    threads: int | None = None,
    on_event: OnEvent | None = None,
) -> Neighbors:
    """The ``k`` nearest other rows of every row, by cosine: those that ``cluster`` and ``project`` work on.

    :param source: embeddings of n rows
    :param k: how many, at most n - 1
    :param exact: compare all pairs of rows; otherwise this is done up to 20,000 rows, and of more nearly all are found
    """
    import numpy

    vectors = vectors_of(source, column, drop_bad_rows)
    indices, cosines, recall = _invar.neighbors(vectors, k, exact, threads, parsed(on_event))
    return Neighbors(numpy.array(indices), numpy.array(cosines), recall)


def project(
    source: Any,
    method: str = "umap",
    *,
    seed: int = 0,
    neighbors: int | None = None,
    epochs: int | None = None,
    column: str | None = None,
    drop_bad_rows: bool = False,
    threads: int | None = None,
    on_event: OnEvent | None = None,
) -> numpy.typing.NDArray[numpy.float32]:
    """The place ``(n, 2)`` of every row in the plane: the columns x and y that ``cluster`` writes with the same seed.

    :param source: embeddings of n rows
    :param method: ``umap``, or ``pca``: the first two principal components
    :param neighbors: of UMAP, rows that attract a row [default: 15]
    :param epochs: of UMAP [default: 500 up to 10,000 rows, 200 above]
    """
    import numpy

    vectors = vectors_of(source, column, drop_bad_rows)
    return numpy.array(_invar.project(vectors, method, seed, neighbors, epochs, threads, parsed(on_event)))


def search(
    source: Any,
    queries: Any = None,
    k: int = 10,
    *,
    like: str | Iterable[str] | None = None,
    key: int | Iterable[int] | None = None,
    where: str | None = None,
    exact: bool = False,
    itself: bool = False,
    column: str | None = None,
    drop_bad_rows: bool = False,
    out: str | os.PathLike[str] | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Table:
    """The ``k`` rows of ``source`` most similar to each query: a table of ``query``, ``query_key``, ``rank`` (1 is the nearest),
    ``id``, ``key`` and ``cosine``.

    :param source: embeddings; if in memory, of more than 100,000 rows an index is made in each call
    :param queries: embeddings of the same model, in memory or in files; a path, or a list of paths, may also name files of
        an instrument, which ``invar-learn`` embeds first
    :param like: names of rows of ``source`` that are queries; a query is not its own answer unless ``itself``
    :param key: their keys, which do not repeat
    :param where: an SQL condition on the columns of ``source``: only such rows are answers
    :param exact: compare with every row, also of more than 100,000
    :param out: the file to write, Parquet [default: one that goes with the table that is returned]
    """
    work = Work()
    path = path_of(source, work)
    if queries is None:
        files: list[Any] = []
    elif isinstance(queries, (list, tuple)) and queries and all(is_path(query) for query in queries):
        files = list(queries)
    else:
        files = [path_of(queries, work, like=path)]
    vectors = options_of(source, column, drop_bad_rows)
    out = work.file("answers.parquet") if out is None else out
    call(
        ["search"],
        [path],
        on_event=on_event,
        like=like,
        key=key,
        query=files,
        where=where,
        top=k,
        exact=exact,
        itself=itself,
        out=out,
        **vectors,
        **options,
    )
    return Table(out, work=work)
