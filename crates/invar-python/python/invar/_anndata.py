"""Embeddings for scanpy and what else takes AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import BadInput

if TYPE_CHECKING:
    import anndata

    from ._clusters import Clusters
    from ._tables import Embeddings, Table


def to_anndata(embeddings: Embeddings, clusters: Clusters | None) -> anndata.AnnData:
    """As :meth:`Embeddings.to_anndata`."""
    import anndata
    import pandas

    vectors, keys = embeddings.numpy(), embeddings.keys
    columns = _facts(embeddings)
    # Names repeat, as those of mates do; keys do not.
    index = embeddings.ids if keys is None else [str(key) for key in keys]
    frame = pandas.DataFrame(columns, index=pandas.Index(index, dtype=str))
    found = anndata.AnnData(obs=frame, obsm={"X_invar": vectors.copy()})
    provenance = embeddings.provenance or {}
    found.uns["invar"] = {name: str(provenance[name]) for name in ("model_sha256", "seed") if provenance.get(name)}
    if clusters is not None:
        _add(found, embeddings, clusters)
    return found


def _facts(embeddings: Embeddings) -> dict[str, Any]:
    """The columns without the vectors, as long as these are."""
    import numpy

    dropped = embeddings.dropped
    kept = numpy.setdiff1d(numpy.arange(len(embeddings)), numpy.asarray(dropped, dtype=int)) if dropped else None
    columns = {}
    for name in embeddings.column_names:
        if name == embeddings.vector_column:
            continue
        column = embeddings.column(name)
        if kept is not None:
            column = [column[row] for row in kept]
        columns[name] = _storable(column)
    return columns


def _storable(column: Any) -> Any:
    """A column as an h5ad file can hold it: with nulls it cannot be a list of objects."""
    import pandas

    values = [value for value in column if value is not None] if isinstance(column, list) else []
    if not isinstance(column, list) or (values and len(values) == len(column)):
        return column
    dtypes = {bool: "boolean", int: "Int64", float: "Float64"}
    kind = type(values[0]) if values else str
    return pandas.array(column, dtype=dtypes[kind]) if kind in dtypes else pandas.Categorical(column)


def _add(found: anndata.AnnData, embeddings: Embeddings, clusters: Clusters) -> None:
    import pandas

    if _names(clusters) != _names(embeddings) and not embeddings.dropped:
        raise BadInput(f"{clusters.path}: the clusters are not those of {embeddings.path}: cluster again")
    if len(clusters) != found.n_obs:
        raise BadInput(f"{clusters.path}: expected {found.n_obs} rows, as in {embeddings.path}, found {len(clusters)}")
    labels = pandas.Series(clusters.labels, index=found.obs_names)
    order = [str(label) for label in sorted(set(clusters.labels.tolist()))]
    found.obs["cluster"] = pandas.Categorical(labels.astype(str), categories=order)
    found.obs["probability"] = clusters.column("probability")
    found.obsm[f"X_{clusters.projection}"] = clusters.places


def _names(table: Table) -> list[Any]:
    """What tells the rows apart."""
    name = "key" if "key" in table.column_names else "id"
    return list(table.column(name)) if name in table.column_names else list(range(len(table)))
