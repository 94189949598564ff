"""Clusters, and new samples in old ones."""

from __future__ import annotations

import csv
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ._command import call
from ._events import OnEvent
from ._sources import Work, beside, named, path_of
from ._tables import Table, options_of

if TYPE_CHECKING:
    import numpy
    import numpy.typing


class Clusters(Table):
    """Clusters of embeddings, a row a sample: ``id``, ``key``, ``cluster`` (-1 is noise), ``probability``, ``distance``, ``x``,
    ``y``."""

    #: What the command line prints with ``--json``: sizes, confidence, the candidates that were tried, ...
    summary: dict[str, Any]

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        groups: str | os.PathLike[str] | None = None,
        of: str | None = None,
        summary: dict[str, Any] | None = None,
        work: Work | None = None,
    ) -> None:
        super().__init__(path, work=work)
        self._groups = beside(self.path, ".tsv") if groups is None else named(groups)
        self._of, self.summary = of, summary or {}
        self._source: Any = None

    @cached_property
    def labels(self) -> numpy.typing.NDArray[numpy.int64]:
        """The cluster ``(n,)`` of each row, by falling size from 0; -1 is noise."""
        import numpy

        return numpy.asarray(self.column("cluster"))

    @cached_property
    def places(self) -> numpy.typing.NDArray[numpy.float32]:
        """Place ``(n, 2)`` of each row in the plane."""
        import numpy

        return numpy.stack([self.column("x"), self.column("y")], axis=1)

    @property
    def projection(self) -> str:
        """What :attr:`places` are by: ``umap`` or ``pca``; of assigned samples that of the old ones."""
        extra = (self.provenance or {}).get("extra", {})
        parameters = extra.get("clustering", {}).get("parameters") or {}
        parameters = parameters.get("to", {}).get("parameters", parameters)
        return str(parameters.get("projection", {}).get("method", "umap"))

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """The clusterings that were tried: ``num_clusters``, ``silhouette``, ``reproducibility``, ``score``, ``chosen``."""
        candidates: list[dict[str, Any]] = self.summary.get("candidates", [])
        return candidates

    @cached_property
    def groups(self) -> list[dict[str, str]]:
        """What is known of each cluster: the lines of the table beside the file, by column."""
        with open(self._work.local(self._groups), newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file, delimiter="\t"))


def cluster(
    source: Any,
    method: str | None = None,
    *,
    k: int | str | None = None,
    resolution: float | str | None = None,
    projection: str = "umap",
    seed: int | None = None,
    column: str | None = None,
    drop_bad_rows: bool = False,
    out: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    force: bool = False,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Clusters:
    """Groups embeddings. The same seed gives the same bytes, whatever the number of threads.

    :param source: embeddings of n rows
    :param method: ``auto``, ``kmeans``, ``hdbscan`` or ``leiden`` [default: the one that the other options belong to, else
        auto: k-means or Leiden, whichever has the best separated and most reproducible clusters]
    :param k: clusters of k-means, or ``auto``
    :param resolution: of Leiden, or ``auto``
    :param out: the file to write, with a table of the clusters beside it, ``.tsv`` [default: files that go with what is
        returned]
    :param options: ``min_cluster_size``, ``min_samples``, ``restarts``, ``quality``, ``neighbors``, ``together``, ``apart``,
        ``min_bin_bp``, ``markers``, ``sample``, ``groups``, ``plot``: see ``invar cluster --help``
    """
    return _cluster(
        source,
        options_of(source, column, drop_bad_rows),
        out,
        on_event,
        {
            "method": method,
            "k": k,
            "resolution": resolution,
            "projection": projection,
            "seed": seed,
            "threads": threads,
            "force": force,
            **options,
        },
    )


def assign(
    clusters: Clusters | str | os.PathLike[str],
    source: Any,
    *,
    of: Any = None,
    gate: float | None = None,
    column: str | None = None,
    drop_bad_rows: bool = False,
    out: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    force: bool = False,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Clusters:
    """Old clusters for new samples of the same model: that of most of its nearest old samples, or -1, none of them.

    :param clusters: what :func:`cluster` returned or wrote
    :param source: embeddings of n new rows
    :param of: the embeddings that were clustered [default: where they were]
    :param gate: share of a cluster's own members that would be taken [default: 0.95]
    :raises BadInput: the new embeddings are of another model; both are named
    """
    work = Work()
    if of is None and isinstance(clusters, Clusters):
        of = clusters._of
    of = None if of is None else path_of(of, work)
    given = {"assign": clusters, "of": of, "gate": gate, "threads": threads, "force": force, **options}
    return _cluster(source, options_of(source, column, drop_bad_rows), out, on_event, given, work, of)


def _cluster(
    source: Any,
    vectors: dict[str, Any],
    out: str | os.PathLike[str] | None,
    on_event: OnEvent | None,
    options: dict[str, Any],
    work: Work | None = None,
    like: str | None = None,
) -> Clusters:
    work = work or Work()
    path = path_of(source, work, like)
    out = work.file("clusters.parquet") if out is None else out
    summary = call(["cluster"], [path], on_event=on_event, out=out, **vectors, **options)
    found = Clusters(out, groups=options.get("groups"), of=path, summary=summary, work=work)
    # Embeddings whose file goes when nobody holds them stay as long as their clusters.
    found._source = source
    return found
