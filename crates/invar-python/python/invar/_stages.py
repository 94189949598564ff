"""From instrument files to embeddings, and what is said of a result."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ._command import call
from ._events import OnEvent
from ._sources import Work, is_path, named, path_of
from ._tables import Embeddings, Table, options_of

#: A path, or several.
Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class Directory(os.PathLike[str]):
    """A directory that a command wrote."""

    def __init__(self, path: str | os.PathLike[str], summary: dict[str, Any] | None = None) -> None:
        #: The directory.
        self.path = Path(path)
        #: What the command line prints with ``--json``.
        self.summary = summary or {}

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def _object(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        return found

    def _lines(self, name: str) -> list[dict[str, Any]]:
        with (self.path / name).open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]


class Dataset(Directory):
    """Samples, as :func:`ingest` wrote them."""

    @property
    def manifest(self) -> dict[str, Any]:
        """Inputs with their checksums and counts, shards, parameters."""
        return self._object("manifest.json")


class Run(Directory):
    """A trained model, as :func:`train` wrote it."""

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The curves: a dict an event, ``step``, ``validation`` or ``warning``. ``polars.DataFrame`` takes them."""
        return self._lines("metrics.jsonl")


def ingest(
    domain: str,
    inputs: Paths = (),
    *,
    out: str | os.PathLike[str],
    sample_sheet: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    force: bool = False,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Dataset:
    """Reads instrument files into a dataset directory; one that was interrupted continues.

    :param domain: ``reads`` (FASTQ, FASTA, BAM, CRAM), ``micrographs`` (TIFF, MRC, DM3, DM4, PNG, ...), ``contigs`` (FASTA),
        ``graph`` (two tables) or ``grain-graph`` (a dataset of micrographs)
    :param inputs: the files, by path or URL
    :param out: the directory to create
    :param sample_sheet: a CSV or TSV that names or describes them
    :param options: as ``invar ingest reads --help`` and those of the other domains say: ``min_length=1000``
    :raises BadInput: a file is damaged; file, record and both values are named
    """
    given = {"out": out, "sample_sheet": sample_sheet, "threads": threads, "force": force, **options}
    return Dataset(out, call(["ingest", domain], listed(inputs), on_event=on_event, **given))


def train(
    recipe: str | os.PathLike[str],
    *,
    data: Paths,
    out: str | os.PathLike[str],
    set: Mapping[str, Any] | None = None,
    labels: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    force: bool = False,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Run:
    """Trains an encoder, by ``invar-learn``. One that was interrupted (Ctrl-C) continues when it is called again.

    :param recipe: a file, or the name of a built-in recipe: ``reads/quickstart``
    :param data: what :func:`ingest` returned; several are used together
    :param out: the run directory to create or continue
    :param set: keys of the recipe: ``{"train.steps": 2000}``
    :param device: ``auto``, ``cpu``, ``cuda:N`` or ``mps``
    :param on_event: called with a dict for each event: ``step`` with the loss, ``validation``, ``progress``, ``warning``;
        :class:`ProgressBar` shows them
    :raises NotInstalled: the package ``invar-learn`` is not there
    """
    given = {"data": listed(data), "out": out, "set": set, "labels": labels, "seed": seed, "device": device}
    given.update({"threads": threads, "force": force, **options})
    return Run(out, call(["train"], [recipe], on_event=on_event, **given))


def finetune(
    recipe: str | os.PathLike[str],
    *,
    model: Run | str | os.PathLike[str],
    data: Paths,
    labels: str | os.PathLike[str] | Mapping[str, str],
    out: str | os.PathLike[str],
    label_column: str | Iterable[str] | None = None,
    set: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    force: bool = False,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Run:
    """Teaches a trained encoder the labels of some samples, by ``invar-learn``; :func:`predict` gives those of all.

    :param recipe: ``finetune/full``, ``finetune/head``, ``finetune/probe``, or a file
    :param model: what :func:`train` returned or wrote
    :param labels: a tab-separated file with the columns ``id`` and a label, or a dict of them
    :param label_column: the columns to learn [default: the first]
    :param options: ``group_column="specimen"``: see ``invar finetune --help``
    :raises BadInput: no sample has a label, or all have the same
    :raises NotInstalled: the package ``invar-learn`` is not there
    """
    work = Work()
    if isinstance(labels, Mapping):
        labels = _written(labels, label_column if isinstance(label_column, str) else "label", work)
    given = {"model": model, "data": listed(data), "labels": labels, "out": out, "set": set, "seed": seed}
    given.update({"device": device, "threads": threads, "force": force, **options})
    return Run(out, call(["finetune"], [recipe], on_event=on_event, label_column=label_column, **given))


def predict(
    model: Run | str | os.PathLike[str],
    *,
    data: Paths,
    out: str | os.PathLike[str] | None = None,
    threshold: float | None = None,
    device: str | None = None,
    threads: int | None = None,
    force: bool = False,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Table:
    """The label of every sample, by ``invar-learn``: ``id``, ``source``, ``key``, ``label``, ``probability``, ``entropy``,
    ``second_label``, ``second_probability`` and ``abstained``, a row a sample in the order of the data.

    :param model: what :func:`finetune` returned or wrote
    :param data: what :func:`ingest` returned; several are used together
    :param out: the Parquet file to write, by path or URL; by default it is temporary
    :param threshold: what is less probable abstains
    :param options: ``labels="truth.tsv"``, ``confusion="confusion.svg"``: see ``invar predict --help``
    :raises NotInstalled: the package ``invar-learn`` is not there
    """
    work = Work()
    out = work.file("predictions.parquet") if out is None else out
    given = {"model": model, "data": listed(data), "out": out, "threshold": threshold, "device": device}
    call(["predict"], on_event=on_event, **given, threads=threads, force=force, **options)
    return Table(out, work=work)


def embed(
    model: Run | str | os.PathLike[str],
    *,
    data: Paths,
    out: str | os.PathLike[str],
    device: str | None = None,
    threads: int | None = None,
    force: bool = False,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Embeddings:
    """Embeds every sample, by ``invar-learn``.

    :param model: what :func:`train` returned or wrote
    :param data: what :func:`ingest` returned; several are used together
    :param out: a directory, or a file that ends in ``.parquet``; a path or a URL
    :param options: ``shard="3/16"``, ``moved=True``, ``probe=1000``, ``features="pooled"``, ``dtype="float16"``: see
        ``invar embed --help``
    :raises NotInstalled: the package ``invar-learn`` is not there
    """
    given = {"model": model, "data": listed(data), "out": out, "device": device, "threads": threads, "force": force}
    call(["embed"], on_event=on_event, **given, **options)
    written = named(out)
    if isinstance(written, str) and not written.lower().endswith((".parquet", "/")):
        written += "/"
    return Embeddings(written)


def run(
    recipe: str | os.PathLike[str],
    inputs: Paths = (),
    *,
    out: str | os.PathLike[str],
    set: Mapping[str, Any] | None = None,
    threads: int | None = None,
    force: bool = False,
    on_event: OnEvent | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Every stage in order, by ``invar-learn``, skipping the finished ones; returns the summary of each.

    :param recipe: a file, or the name of a built-in recipe
    :param inputs: instrument files
    :param out: the directory that all results go to: ``data``, ``run``, ``embeddings``, ``clusters.parquet``, ``report.html``, ...
    """
    given = {"input": listed(inputs), "out": out, "set": set, "threads": threads, "force": force, **options}
    return call(["run"], [recipe], on_event=on_event, **given)


def evaluate(
    source: Any,
    *,
    labels: str | os.PathLike[str] | Mapping[str, str] | None = None,
    label_column: str | None = None,
    clusters: str | os.PathLike[str] | None = None,
    against: Any = None,
    column: str | None = None,
    drop_bad_rows: bool = False,
    seed: int | None = None,
    threads: int | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Measures embeddings: uniformity, rank, what they give away and, with labels, neighbours and clusters.

    :param source: embeddings
    :param labels: a tab-separated file with the columns ``id`` and a label, or a dict of them
    :param label_column: which of its columns; without ``labels`` a column of ``source``
    :param clusters: clusters to score against the labels
    :param against: other embeddings of the same samples, as those of ``embed(moved=True)``
    :param options: ``probe=["detector"]``, ``no_probe=True``, ``kmeans_runs=5``: see ``invar evaluate --help``
    """
    work = Work()
    path = path_of(source, work)
    if isinstance(labels, Mapping):
        labels = _written(labels, label_column or "label", work)
    against = None if against is None else path_of(against, work, like=path)
    given = {"labels": labels, "label_column": label_column, "clusters": clusters, "against": against, "seed": seed}
    given.update({"threads": threads, **options_of(source, column, drop_bad_rows), **options})
    return call(["evaluate"], [path], on_event=on_event, **given)


def report(
    result: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    title: str | None = None,
    force: bool = False,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Path | str:
    """Writes a result of :func:`run` as one HTML page, and returns its path, or URL."""
    call(["report"], [result], on_event=on_event, out=out, title=title, force=force, **options)
    return named(out)


def listed(paths: Paths) -> list[Any]:
    """The paths, which may be one."""
    return [paths] if is_path(paths) else list(paths)  # type: ignore[arg-type]


def _written(labels: Mapping[str, str], column: str, work: Work) -> str:
    path = work.file("labels.tsv")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"id\t{column}\n")
        file.writelines(f"{name}\t{label}\n" for name, label in labels.items())
    return path
