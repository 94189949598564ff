#!/usr/bin/env python3
"""The bar: canonical k-mer composition clustered with scikit-learn.

    kmers_sklearn.py READS.fastq.gz TRUTH.tsv [--k 4] [--json]

Canonical k-mer frequencies, (a) L2-normalised and (b) Hellinger (square roots of the frequencies, which are of unit length),
scored as in benches/quality/score.py: k-means with the true number of species, several seeds.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "quality"))
import numpy as np
from score import load_truth, print_scores, score

CODE = np.full(256, 255, dtype=np.uint8)
for _code, _pair in enumerate(("Aa", "Cc", "Gg", "TtUu")):
    for _char in _pair:
        CODE[ord(_char)] = _code


def canonical_columns(k):
    """(column of each of the 4^k codes, number of columns): a k-mer and its reverse complement share one."""
    codes = np.arange(4**k)
    reverse, rest = np.zeros_like(codes), codes.copy()
    for _ in range(k):
        reverse = 4 * reverse + (3 - rest % 4)
        rest //= 4
    canonical, column = np.unique(np.minimum(codes, reverse), return_inverse=True)
    return column, len(canonical)


def canonical_counts(sequences, k):
    """[len(sequences), columns] counts; k-mers that touch anything but A, C, G, T (or U) are left out."""
    column, columns = canonical_columns(k)
    counts = np.zeros((len(sequences), columns))
    for row, sequence in enumerate(sequences):
        codes = CODE[np.frombuffer(sequence, dtype=np.uint8)].astype(np.int64)
        if len(codes) < k:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(codes, k)
        known = (windows < 4).all(axis=1)
        counts[row] = np.bincount(column[windows[known] @ 4 ** np.arange(k)[::-1]], minlength=columns)
    return counts


def read_fastq(path):
    """(ids, sequences) of a four-line FASTQ; the id ends at the first space."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as handle:
        lines = handle.read().split(b"\n")
    return [line[1:].split()[0].decode() for line in lines[0:-1:4]], lines[1::4]


def embed(counts, transform):
    if transform == "l2":
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-12)
    return np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reads", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    ids, sequences = read_fastq(args.reads)
    labels = load_truth(args.truth, ids)
    counts = canonical_counts(sequences, args.k)
    results = {t: score(embed(counts, t), labels, args.seeds) for t in ("l2", "hellinger")}
    if args.json:
        print(json.dumps(results))
    else:
        print_scores({f"canonical {args.k}-mers {name}": result for name, result in results.items()})


if __name__ == "__main__":
    main()
