#!/usr/bin/env python3
"""The usual short script for groups of long reads: canonical 5-mers, UMAP, HDBSCAN (as NanoCLUST and DTR-phage-pipeline do).

    reads_umap.py READS.fastq.gz TRUTH.tsv [--k 5] [--min-cluster-size 50] [--neighbours 15] [--seed 1]

UMAP of the frequencies to two dimensions (15 neighbours, min_dist 0.1: the defaults of umap-learn), HDBSCAN on these with clusters of
50 reads or more. Prints a row of the table of benches/quality/delivered.py: what HDBSCAN leaves out is a group of its own each.
Needs umap-learn and hdbscan beside benches/requirements.txt.
"""

import argparse
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "quality"))
import hdbscan
import umap
from delivered import score_groups
from kmers_sklearn import canonical_counts, read_fastq


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reads", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--min-cluster-size", type=int, default=50)
    parser.add_argument("--neighbours", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    ids, sequences = read_fastq(arguments.reads)
    counts = canonical_counts(sequences, arguments.k).astype("float32")
    del sequences
    counts /= counts.sum(axis=1, keepdims=True).clip(1)
    plane = umap.UMAP(n_neighbors=arguments.neighbours, random_state=arguments.seed).fit_transform(counts)
    groups = hdbscan.HDBSCAN(min_cluster_size=arguments.min_cluster_size).fit_predict(plane)
    species, found, *figures = score_groups(ids, groups, arguments.truth)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    text = [f"{figure:.3f}" for figure in figures]
    text += [f"{usage.ru_utime + usage.ru_stime:.0f}", f"{usage.ru_maxrss / 1024:.0f}"]
    print("| " + " | ".join(["5-mers + UMAP + HDBSCAN", "", str(species), str(found), *text]) + " |")


if __name__ == "__main__":
    main()
