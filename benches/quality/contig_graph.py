"""What composition, depth and the assembly graph each tell of contigs, and what a graph tells whose links are shuffled.

    contig_graph.py FASTA GRAPH TRUTH OUT --bam BAM [BAM ...] [--seeds 3] [--first 10] [--methods NAME ...] [--min-bin-bp 200000]

GRAPH is GFA or FASTG, plain or gzip. TRUTH is a table with the columns `id` and `species`. Needs numpy and pyarrow. INVAR is the program
(default target/release/invar). OUT keeps what was done; remove it to measure anew. Seeds 0 to 2 are those on which settings were chosen.

Accuracy: of contigs of 500 to 1,500 bp the share whose nearest other contig, of any length, is of their species. Bins: as `invar
evaluate --weight length_bp` counts them. Shuffled: each link keeps its first end and takes the second one of another link, so that ends
have as many links as before. Without links the recipe of the graph sees each contig alone: what its encoder makes of it. CPU seconds are
those of training.
"""

import argparse
import csv
import gzip
import json
import os
import random
import re
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
INVAR = os.environ.get("INVAR", str(HERE.parents[1] / "target/release/invar"))
METHODS = {
    "composition": ("contigs/quickstart", "data", ["source.view.shown=composition"]),
    "depth": ("contigs/quickstart", "data", ["source.view.shown=depth"]),
    "both": ("contigs/quickstart", "data", []),
    "both + graph": ("contigs/graph", "data", []),
    "both + shuffled graph": ("contigs/graph", "shuffled.data", []),
    "both + graph, no links": ("contigs/graph", "unlinked.data", []),
}


def invar(*args):
    done = subprocess.run([INVAR, *map(str, args)], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def read_graph(path):
    """Lines of segments as GFA, and links as (end, end, overlap)."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        lines = file.read().splitlines()
    if not lines[0].startswith(">"):
        rows = [line.split("\t") for line in lines]
        links = [((row[1], row[2]), (row[3], row[4]), row[5]) for row in rows if row[0] == "L"]
        return [line for line in lines if not line.startswith("L")], links
    other = {"+": "-", "-": "+"}
    segments, links, name = {}, {}, None
    for line in lines:
        if not line.startswith(">"):
            segments[name] = segments.get(name, "") + line if name else ""
            continue
        own, *following = re.split("[:,]", line[1:].rstrip(";"))
        ends = [(end.rstrip("'"), "-" if end.endswith("'") else "+") for end in (own, *following)]
        # Each sequence is there in both directions, and so is each link.
        name = ends[0][0] if ends[0][1] == "+" else None
        for end in ends[1:]:
            backwards = ((end[0], other[end[1]]), (ends[0][0], other[ends[0][1]]))
            links[min((ends[0], end), backwards)] = True
    segments.pop(None, None)
    return [f"S\t{name}\t{letters}" for name, letters in segments.items()], [(*link, "*") for link in links]


def unlinked(path, out):
    lines, _ = read_graph(path)
    out.write_text("\n".join(lines) + "\n")
    return out


def shuffled(path, out):
    lines, links = read_graph(path)
    seconds = [second for _, second, _ in links]
    random.Random(1).shuffle(seconds)
    rows = ["\t".join(["L", *first, *second, overlap]) for (first, _, overlap), second in zip(links, seconds, strict=True)]
    out.write_text("\n".join(lines + rows) + "\n")
    return out


def accuracy(table, species):
    """Of short contigs whose nearest neighbour is of their species, among those of known species."""
    x = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
    labels = [species.get(name) for name in table["id"].to_pylist()]
    known = np.flatnonzero([label is not None for label in labels])
    labels, x, bp = np.array(labels, dtype=object)[known], x[known], table["length_bp"].to_numpy()[known]
    short = np.flatnonzero((bp >= 500) & (bp <= 1500))
    cosines = x[short] @ x.T
    cosines[np.arange(len(short)), short] = -2
    return float((labels[cosines.argmax(1)] == labels[short]).mean()), len(short)


def measure(method, seed, args, species):
    recipe, data, settings = METHODS[method]
    stem = args.out / f"{method.replace(' ', '_')}.{seed}"
    log, embeddings, clusters = Path(f"{stem}.log"), Path(f"{stem}.parquet"), Path(f"{stem}.clusters.parquet")
    if not clusters.exists():
        log.unlink(missing_ok=True)
        common = ["--seed", seed, "--log", log, "-q", "--force"]
        settings = [word for setting in settings + args.set for word in ("--set", setting)]
        invar("train", recipe, "--data", args.out / data, "--out", f"{stem}.run", *settings, *common)
        invar("embed", "--model", f"{stem}.run", "--data", args.out / data, "--out", embeddings, "--probe", 0, *common)
        invar("cluster", embeddings, "--out", clusters, "--min-bin-bp", args.min_bin_bp, *common)
    scores = ["--labels", args.truth, "--label-column", "species", "--clusters", clusters, "--weight", "length_bp"]
    bins = json.loads(invar("evaluate", embeddings, *scores, "--no-probe", "--json", "-q"))["bins"]
    table = pq.read_table(embeddings, columns=["id", "length_bp", "embedding"])
    cpu_s = json.loads(log.read_text().splitlines()[0])["cpu_s"]
    found, num_short = accuracy(table, species)
    return [found, bins["num_near_complete"], bins["purity"], bins["completeness"], bins["ari"], cpu_s], num_short


def main():
    parser = argparse.ArgumentParser()
    for name in ("fasta", "graph", "truth", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--bam", nargs="+", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=10)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--min-bin-bp", type=int, default=200_000)
    parser.add_argument("--set", nargs="*", default=[], help="settings of all recipes")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.truth) as file:
        species = {row["id"]: row["species"] for row in csv.DictReader(file, delimiter="\t")}
    for name in sorted({METHODS[method][1] for method in args.methods}):
        changed = {"shuffled.data": shuffled, "unlinked.data": unlinked}.get(name)
        graph = changed(args.graph, args.out / name.replace("data", "gfa")) if changed else args.graph
        invar("ingest", "contigs", args.fasta, "--bam", *args.bam, "--gfa", graph, "--min-length", 500, "-q", "--out", args.out / name)
    print(f"{'':22} {'1-NN short':16} near-complete  purity  completeness  ARI    training CPU s")
    for method in args.methods:
        rows, num_short = zip(*(measure(method, seed, args, species) for seed in range(args.first, args.first + args.seeds)), strict=True)
        mean, deviation = np.mean(rows, 0), np.std(rows, 0)
        nearest = f"{mean[0]:.3f} +- {deviation[0]:.3f}"
        print(f"{method:22} {nearest:16} {mean[1]:13.1f}  {mean[2]:.3f}   {mean[3]:.3f}        {mean[4]:.3f}  {mean[5]:.0f}", flush=True)
    print(f"{num_short[0]} contigs of 500 to 1,500 bp; {args.seeds} seeds from {args.first}")


if __name__ == "__main__":
    main()
