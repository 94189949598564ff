#!/usr/bin/env python3
"""A result of NUMBER made-up reads, for measuring `invar report`: clusters.parquet and embeddings/ as Invar writes them.

    report.py NUMBER DIRECTORY

Columns as of long reads (length, GC, quality, names as UUIDs, keys that count up); 24 uneven, bent clusters in the plane.
Needs numpy and pyarrow.
"""

import json
import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

number, directory = int(sys.argv[1]), pathlib.Path(sys.argv[2])
random = np.random.default_rng(0)
NUM_CLUSTERS = 24
weights = np.sort(random.lognormal(0, 0.8, NUM_CLUSTERS))[::-1]
cluster = random.choice(NUM_CLUSTERS, number, p=weights / weights.sum())
cluster = np.argsort(np.argsort(-np.bincount(cluster, minlength=NUM_CLUSTERS)))[cluster]
centre = random.normal(size=(NUM_CLUSTERS, 2)) * 6
shape = random.normal(size=(NUM_CLUSTERS, 2, 2)) * 0.6
z = random.normal(size=(number, 2))
xy = centre[cluster] + np.einsum("nij,nj->ni", shape[cluster], z) + 0.3 * np.sin(z[:, ::-1] * 2)
length = random.lognormal(8.5, 0.6, number).astype("u4")
gc = np.round((0.3 + 0.01 * cluster + random.normal(size=number) * 0.02) * length) / length
uuid = random.bytes(16 * number).hex()
ids = [f"{u[:8]}-{u[8:12]}-{u[12:16]}-{u[16:20]}-{u[20:]}" for u in (uuid[32 * i : 32 * i + 32] for i in range(number))]
key = np.arange(number) + 8_000_000_000_000_000 - number


def metadata(kind, **extra):
    figures = {"noun": "reads", "figures": []}
    fields = {
        "invar.kind": kind,
        "invar.schema_version": "1",
        "invar.tool_version": "made up",
        "invar.dim": "2",
        "invar.inputs": "[]",
        "invar.extra": json.dumps({"group_figures": figures, **extra}),
    }
    return {name.encode(): value.encode() for name, value in fields.items()}


def write(path, columns, **footer):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns).replace_schema_metadata({**metadata(**footer), b"invar.parts": b"[]"})
    pq.write_table(table, path, compression="zstd")


text = pa.array(ids)
embedding = pa.FixedSizeListArray.from_arrays(pa.array(xy.astype("f4").ravel()), 2)
write(
    directory / "embeddings" / "part-00000.parquet",
    {
        "id": text,
        "source": pa.array(["run.bam"] * number),
        "key": pa.array(key),
        "length_bp": pa.array(length),
        "mean_quality": pa.array(random.normal(14, 2, number).astype("f4")),
        "gc": pa.array(gc.astype("f4")),
        "embedding": embedding,
    },
    kind="embeddings",
)
write(
    directory / "clusters.parquet",
    {
        "id": text,
        "key": pa.array(key),
        "cluster": pa.array(cluster.astype("i4")),
        "probability": pa.array(random.beta(8, 1, number).astype("f4")),
        "distance": pa.array(np.hypot(z[:, 0], z[:, 1]).astype("f4")),
        "x": pa.array(xy[:, 0].astype("f4")),
        "y": pa.array(xy[:, 1].astype("f4")),
    },
    kind="clusters",
    clustering={"method": "kmeans", "parameters": {}, "found": None},
)
