#!/usr/bin/env python3
"""Bins of an assembly beside MetaBAT2 and SemiBin2, given the same BAM files, scored against the truth.

    bins.py COMMUNITY OUT [--seeds 3] [--semibin PROGRAM] [--metabat PROGRAM] [--label genome]
            [--recipe contigs/quickstart] [--set KEY=VALUE ...]

COMMUNITY is of `make_community.py`, or holds contigs.fa(.gz), S*.bam and truth.tsv (`id`, `species`, `bp`). Peers that are not given are
left out: MetaBAT2 2.15 (Debian: metabat, with jgi_summarize_bam_contig_depths), SemiBin2 2.6 (`--self-supervised`, its fast-naive ORF
finder, CPU). INVAR is the program (default target/release/invar). OUT keeps what was done; remove it to measure anew.

Each species (with `--label genome`, each genome: where strains were not assembled together) counts once: a bin is near complete if it
holds more than 90 % of its assembled bases, and less than 5 % of the bin's bases are of others. Purity and completeness are means by bases; contigs that a program left out count as each on its own. Times
are CPU seconds of all of it from BAM files to bins, as of one command (`invar run`, with its page of results).
"""

import argparse
import csv
import gzip
import json
import os
import resource
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
INVAR = os.environ.get("INVAR", str(HERE.parents[1] / "target/release/invar"))


def call(*words, log):
    """Runs a command; its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(log, "w") as file:
        subprocess.run([str(word) for word in words], check=True, stdout=file, stderr=subprocess.STDOUT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def once(figures, measure):
    """What `measure` returns, kept in a file."""
    if not figures.exists():
        seconds = measure()
        figures.write_text(json.dumps({"cpu_s": seconds}))
    return json.loads(figures.read_text())["cpu_s"]


def invar(args, seed, out):
    settings = [word for setting in args.set for word in ("--set", setting)]
    run, bins = out / "run", out / "bins"

    def measure():
        inputs = [args.contigs, *args.bams]
        seconds = call(INVAR, "run", args.recipe, "--input", *inputs, "--out", run, "--seed", seed, "--force", *settings, log=out / "log")
        return seconds + call(INVAR, "bins", run / "clusters.parquet", "--data", run / "data", "--out", bins, "--force", log=out / "log.bins")

    seconds = once(out / "figures.json", measure)
    table = csv.reader((bins / "contig2bin.tsv").open(), delimiter="\t")
    return {contig: bin for contig, bin in table}, seconds


def metabat(args, seed, out):
    def measure():
        depth = args.metabat.parent / "jgi_summarize_bam_contig_depths"
        seconds = call(depth, "--outputDepth", out / "depth.txt", *args.bams, log=out / "log.depth")
        words = ["-a", out / "depth.txt", "-o", out / "bin", "-m", 1500, "-s", 200000, "-t", 2, "--seed", seed, "--noBinOut", "--saveCls"]
        return seconds + call(args.metabat, "-i", args.contigs, *words, log=out / "log")

    seconds = once(out / "figures.json", measure)
    table = csv.reader((out / "bin").open(), delimiter="\t")
    return {contig: bin for contig, bin in table if bin != "0"}, seconds


def semibin(args, seed, out):
    def measure():
        words = ["--self-supervised", "--orf-finder", "fast-naive", "--engine", "cpu", "-t", 2, "--random-seed", seed]
        return call(args.semibin, "single_easy_bin", "-i", args.contigs, "-b", *args.bams, "-o", out / "out", *words, log=out / "log")

    seconds = once(out / "figures.json", measure)
    rows = list(csv.DictReader((out / "out/contig_bins.tsv").open(), delimiter="\t"))
    # Bins below its least size are in this table, but not among its results.
    kept = {row["filename"].split("SemiBin_")[-1].split(".")[0] for row in csv.DictReader((out / "out/recluster_bins_info.tsv").open(), delimiter="\t")}
    return {row["contig"]: row["bin"] for row in rows if row["bin"] in kept}, seconds


def score(found, truth):
    """Near-complete bins, number of bins, purity, completeness, share of the bases that are binned."""
    of_species, members = Counter(), defaultdict(Counter)
    for contig, (species, bp) in truth.items():
        of_species[species] += bp
        members[found.get(contig, f"alone {contig}")][species] += bp
    near, pure, all_bases = set(), 0, sum(of_species.values())
    best = Counter()
    for name, species in members.items():
        top, bases = species.most_common(1)[0]
        pure += bases
        for one, of in species.items():
            best[one] = max(best[one], of)
        if bases > 0.9 * of_species[top] and bases > 0.95 * sum(species.values()):
            near.add(top)
    binned = sum(bp for contig, (_, bp) in truth.items() if contig in found)
    bins = {found[contig] for contig in truth if contig in found}
    missed = sorted(set(of_species) - near)
    figures = [len(near), len(bins), pure / all_bases, sum(best.values()) / all_bases, binned / all_bases]
    return figures, missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("community", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", default="contigs/quickstart")
    parser.add_argument("--label", default="species")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--metabat", type=Path)
    parser.add_argument("--semibin", type=Path)
    args = parser.parse_args()
    args.contigs = next(args.community.glob("contigs.fa*"))
    args.bams = sorted(args.community.glob("S*.bam"))
    rows = csv.DictReader((args.community / "truth.tsv").open(), delimiter="\t")
    truth = {row["id"]: (row[args.label], int(row["bp"])) for row in rows}
    methods = {"invar": invar} | ({"metabat2": metabat} if args.metabat else {}) | ({"semibin2": semibin} if args.semibin else {})
    print(f"{len(truth)} contigs of {len({label for label, _ in truth.values()})} {args.label}")
    for method, run in methods.items():
        scores, seconds = [], []
        for seed in range(1, args.seeds + 1):
            out = args.out / f"{method}.{seed}"
            out.mkdir(parents=True, exist_ok=True)
            found, cpu_s = run(args, seed, out)
            figures, missed = score(found, truth)
            scores.append(figures)
            seconds.append(cpu_s)
            print(f"  {method} {seed}: missed {', '.join(missed)}")
        near, bins, purity, completeness, binned = np.mean(scores, axis=0)
        each = " ".join(str(figures[0]) for figures in scores)
        print(f"{method:9} near complete {near:.1f} ({each}) in {bins:.1f} bins, purity {purity:.3f}, completeness {completeness:.3f}, binned {binned:.3f}, {np.mean(seconds):.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
