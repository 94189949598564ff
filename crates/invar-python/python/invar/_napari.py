"""Grains for napari: points to click on, and features of the labels that ``invar ingest`` and ``invar paint`` write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _invar
from ._errors import BadInput

if TYPE_CHECKING:
    from ._clusters import Clusters
    from ._tables import Table

#: What a table of grains has.
_GRAIN = ("image", "label", "centroid_y_px", "centroid_x_px")


def label_features(table: Table, image: str, clusters: Clusters | None = None) -> dict[str, Any]:
    """Features of the grains of one image, for the layer of its label map::

        viewer.add_labels(tifffile.imread("data/labels/steel.tif"), features=invar.label_features(emb, "steel", clusters))

    :param table: embeddings of grains, or ``grains.parquet``
    :param image: the image, as the column ``image`` names it
    :param clusters: clusters of these embeddings: adds ``cluster`` and ``probability``
    :returns: columns ``(m,)``, a value a grain: ``index``, its label, and what is known of it
    """
    features = _of_image(table, image, clusters)
    return {"index": features["label"], **features}


def points_layer(table: Table, image: str, clusters: Clusters | None = None) -> tuple[Any, dict[str, Any], str]:
    """The grains of one image as points at their centroids: ``viewer.add_layer(napari.layers.Layer.create(*layer))``.

    :returns: places ``(m, 2)`` as row and column in pixels, the options of the layer with its features, and ``points``;
        with clusters in the colours that ``invar paint`` gives them
    """
    import numpy

    features, rows = _of_image(table, image, clusters), _rows(table, image)
    places = numpy.stack([numpy.asarray(table.column(name))[rows] for name in _GRAIN[2:]], axis=1)
    options: dict[str, Any] = {"name": f"{image} grains", "features": features}
    if clusters is not None:
        options["face_color"] = [_invar.colour(cluster) for cluster in features["cluster"].tolist()]
    return places, options, "points"


def _rows(table: Table, image: str) -> Any:
    import numpy

    missing = [name for name in _GRAIN if name not in table.column_names]
    if missing:
        raise BadInput(f"{table.path}: expected embeddings of grains, found no column {missing[0]!r}")
    images = numpy.asarray(table.column("image"), dtype=object)
    rows = numpy.flatnonzero(images == image)
    if not len(rows):
        known = ", ".join(sorted({str(name) for name in images})[:10])
        raise BadInput(f"{table.path}: no grains of an image {image!r}, there are {known}")
    return rows


def _of_image(table: Table, image: str, clusters: Clusters | None) -> dict[str, Any]:
    import numpy

    rows = _rows(table, image)
    features = {}
    for column in table._info["columns"]:
        if column["data_type"].startswith(("array", "list")):
            continue
        values = table.column(column["name"])
        features[column["name"]] = numpy.asarray(values, dtype=object if isinstance(values, list) else None)[rows]
    if clusters is not None:
        if len(clusters) != len(table):
            raise BadInput(f"{clusters.path}: expected {len(table)} rows, as in {table.path}, found {len(clusters)}")
        features["cluster"] = clusters.labels[rows]
        features["probability"] = numpy.asarray(clusters.column("probability"))[rows]
    return features
