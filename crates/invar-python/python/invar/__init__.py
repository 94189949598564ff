"""Embeddings of sequencing reads and micrographs that ignore what the instrument did by accident.

Every function does what the command ``invar`` of its name does, with the same results, byte for byte, and the same messages.
Options that a function does not name are those of the command, as keywords: ``--min-length 1000`` is ``min_length=1000``.

Where a function takes embeddings it takes a path, what :func:`read_embeddings` returns, any table with
``__arrow_c_stream__`` (polars, pyarrow, pandas, DuckDB) that has vectors in its column ``embedding`` or the one that
``column=`` names, or a numpy array ``(n, d)``. Tables that come out have ``__arrow_c_stream__`` too.

The interpreter's lock is released while a function works, and Ctrl-C stops it. Do not fork after the first call (start
processes by "spawn"): threads are not inherited.
"""

from . import federate
from ._analysis import Neighbors, neighbors, project, search
from ._clusters import Clusters, assign, cluster
from ._errors import BadInput, Error, Failed, Internal, InvarWarning, NotInstalled, Usage, WrongTorch
from ._events import ProgressBar
from ._napari import label_features, points_layer
from ._stages import Dataset, Run, embed, evaluate, finetune, ingest, predict, report, run, train
from ._tables import Embeddings, Table, read_embeddings

__all__ = [
    "BadInput",
    "Clusters",
    "Dataset",
    "Embeddings",
    "Error",
    "Failed",
    "Internal",
    "InvarWarning",
    "Neighbors",
    "NotInstalled",
    "ProgressBar",
    "Run",
    "Table",
    "Usage",
    "WrongTorch",
    "assign",
    "cluster",
    "embed",
    "evaluate",
    "federate",
    "finetune",
    "ingest",
    "label_features",
    "neighbors",
    "points_layer",
    "predict",
    "project",
    "read_embeddings",
    "report",
    "run",
    "search",
    "train",
]
