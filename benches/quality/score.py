#!/usr/bin/env python3
"""Score embeddings against the truth with scikit-learn: an implementation apart from `invar evaluate`, to check it by.

    score.py EMB TRUTH.tsv [--seeds 5] [--label species] [--json]

EMB is a Parquet file, or a directory of part files, with the columns `id` (string) and `embedding` (list of f32).
TRUTH has a column `id` and the label's column. Rows are L2-normalised first. Reported:

* k-means with the true number of labels, `n_init=10` k-means++ starts, once a seed; the mean over the seeds of the adjusted Rand
  index, normalised mutual information (arithmetic mean), homogeneity and completeness;
* `nn1`: the share of reads whose nearest other read (cosine) has the same label;
* `recall10`: the share of reads with at least one of the same label among their ten nearest others (recall@K of metric learning);
* `precision10`: the mean share of the same label among the ten nearest.
"""

import argparse
import json
import os
import sys
from pathlib import Path

# A few thousand rows: threads would wait for each other, and on a busy machine for minutes.
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, completeness_score, homogeneity_score, normalized_mutual_info_score

COLUMNS = ("ari", "nmi", "homogeneity", "completeness", "nn1", "recall10", "precision10")


def score(embeddings, labels, seeds):
    """Scores of embeddings [N, D] with labels [N] (any hashable), as a dict of the names in COLUMNS and `ari_sd`."""
    x = np.asarray(embeddings, dtype=np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    y = np.unique(labels, return_inverse=True)[1]
    clusterings = [KMeans(y.max() + 1, n_init=10, random_state=seed).fit_predict(x) for seed in range(seeds)]
    ari = [adjusted_rand_score(y, c) for c in clusterings]
    neighbours = nearest(x, 10)
    same = y[neighbours] == y[:, None]
    return {
        "ari": float(np.mean(ari)),
        "ari_sd": float(np.std(ari)),
        "nmi": float(np.mean([normalized_mutual_info_score(y, c) for c in clusterings])),
        "homogeneity": float(np.mean([homogeneity_score(y, c) for c in clusterings])),
        "completeness": float(np.mean([completeness_score(y, c) for c in clusterings])),
        "nn1": float(same[:, 0].mean()),
        "recall10": float(same.any(axis=1).mean()),
        "precision10": float(same.mean()),
        "reads": len(y),
        "labels": int(y.max() + 1),
    }


def nearest(x, k):
    """[N, min(k, N - 1)] indices of the nearest other rows by cosine, nearest first; x has rows of unit length."""
    out = np.empty((len(x), min(k, len(x) - 1)), dtype=np.int64)
    for begin in range(0, len(x), 1024):
        similarity = x[begin : begin + 1024] @ x.T
        similarity[np.arange(len(similarity)), np.arange(begin, begin + len(similarity))] = -np.inf
        out[begin : begin + 1024] = np.argsort(-similarity, axis=1, kind="stable")[:, : out.shape[1]]
    return out


def load_truth(path, ids, column="species"):
    """The label of each id, from a table with a header; an id without a label is refused."""
    lines = Path(path).read_text().splitlines()
    header = lines[0].split("\t")
    id_column, label_column = header.index("id"), header.index(column)
    label = {}
    for line in lines[1:]:
        fields = line.split("\t")
        label[fields[id_column]] = fields[label_column]
    missing = [i for i in ids if i not in label]
    if missing:
        sys.exit(f"{path}: no {column} for {len(missing)} of {len(ids)} reads, first {missing[0]}")
    return np.array([label[i] for i in ids])


def load_embeddings(path):
    """(ids, embeddings [N, D]) of a Parquet file or a directory of them."""
    from pyarrow import parquet

    table = parquet.read_table(path, columns=["id", "embedding"])
    column = table["embedding"].combine_chunks()
    if column.null_count:
        sys.exit(f"{path}: {column.null_count} embeddings are null")
    return table["id"].to_pylist(), np.asarray(column.flatten()).reshape(len(table), -1)


def print_scores(results):
    width = max(len(name) for name in results)
    print(" " * width + "".join(f"{c:>14}" for c in COLUMNS))
    for name, result in results.items():
        print(f"{name:<{width}}" + "".join(f"{result[c]:14.3f}" for c in COLUMNS))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--label", default="species", help="the column of TRUTH to score against")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    ids, embeddings = load_embeddings(args.embeddings)
    result = score(embeddings, load_truth(args.truth, ids, args.label), args.seeds)
    if args.json:
        print(json.dumps(result))
    else:
        print_scores({str(args.embeddings): result})


if __name__ == "__main__":
    main()
