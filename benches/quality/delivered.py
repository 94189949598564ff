#!/usr/bin/env python3
"""What `invar run reads/quickstart` delivers with nothing given, on communities of known genomes. Prints a row for each.

    delivered.py GENOMES OUT [--half choose|report] [--sets NAME...] [--seed 1]

GENOMES: a directory as make_mixture.py takes it. OUT: where reads and results go; finished ones are kept, so remove it to measure
anew. Settings are chosen by the sets of one half and reported on the other. INVAR (default target/release/invar).

* species, groups: how many have 50 reads or more;
* ARI: adjusted Rand index over all reads; a read without a group is a group of its own;
* purity: share of the reads that are of the commonest species of their group; complete: share that are in the largest group of
  their species; F1 of the two;
* CPU s, MB: user and system time of the whole command, and its largest resident size.
"""

import argparse
import csv
import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from sklearn.metrics import adjusted_rand_score

HERE = Path(__file__).parent
LARGE = 50
ERRORS = {1: (0.004, 0.003, 0.003), 5: (0.02, 0.015, 0.015), 12: (0.048, 0.036, 0.036)}
FIVE = [
    "Akkermansia muciniphila",
    "Corynebacterium glutamicum",
    "Corynebacterium pseudotuberculosis",
    "Helicobacter pylori",
    "Staphylococcus aureus",
]
OTHER_FIVE = [
    "Aquifex aeolicus",
    "Escherichia coli",
    "Salmonella enterica",
    "Methanobacterium sp. AL-21",
    "Enterococcus faecalis",
]


def community(half, reads=10_000, read_kb=10.0, percent=5, sigma=0.0, only=None, cut=None, seed=0):
    """One set: `sigma` 0 is even abundance; `only` species; `cut` halves a genome file, with a gap of 20 kb."""
    return locals()


SETS = {
    "even": community("choose"),
    "log-normal": community("choose", sigma=1.2),
    "five": community("choose", only=FIVE),
    "one": community("choose", only=["Akkermansia muciniphila"]),
    "thin": community("choose", reads=20_000, read_kb=2.5),
    "1 %": community("choose", percent=1),
    "two replicons": community("choose", sigma=1.2, cut="aquifex_VF5.fna.gz"),
    "even, other draw": community("report", seed=10),
    "log-normal, other draw": community("report", sigma=1.2, seed=11),
    "log-normal, third draw": community("report", sigma=1.2, seed=12),
    "other five": community("report", only=OTHER_FIVE, seed=13),
    "another one": community("report", only=["Methanobacterium sp. AL-21"], seed=14),
    "12 %": community("report", percent=12, seed=15),
    "30 kb": community("report", read_kb=30.0, reads=4_000, sigma=1.2, seed=16),
    "other two replicons": community("report", sigma=1.2, cut="mbac_AL21.fna.gz", seed=17),
    "100,000 reads": community("report", reads=100_000, seed=18),
}


def genomes_of(genomes, out, cut):
    """The directory of genomes, or one in which the longest sequence of `cut` is in two pieces."""
    if cut is None:
        return genomes
    from make_mixture import BASES, Genome

    out.mkdir(parents=True, exist_ok=True)
    for path in genomes.iterdir():
        if path.name != cut and not (out / path.name).exists():
            (out / path.name).symlink_to(path.resolve())
    codes = max(Genome(genomes / cut).codes, key=len)
    middle = len(codes) * 2 // 3
    letters = np.append(BASES, np.uint8(ord("N")))[np.minimum(codes, 4)]
    with gzip.open(out / cut, "wb") as file:
        for header, piece in ((b">one\n", letters[: middle - 10_000]), (b">two\n", letters[middle + 10_000 :])):
            file.write(header + piece.tobytes() + b"\n")
    return out


def run(name, made, genomes, out, seed):
    """Makes the reads and runs the command; CPU seconds and MB, or None where it was done before."""
    out = out / name.replace(" ", "_").replace("%", "pc").replace(",", "")
    reads = out / "reads"
    if not (reads / "mixture.json").exists():
        substitution, insertion, deletion = ERRORS[made["percent"]]
        command = [sys.executable, HERE / "make_mixture.py", genomes_of(genomes, out / "genomes", made["cut"]), reads]
        command += ["--seed", seed + made["seed"], "--reads", made["reads"], "--read-bp", int(1000 * made["read_kb"])]
        command += ["--substitution", substitution, "--insertion", insertion, "--deletion", deletion]
        command += ["--fragments-per-species", 1, "--fragment-kb", 1]
        command += ["--abundance", "log-normal", "--sigma", made["sigma"]] if made["sigma"] else []
        command += ["--only", *made["only"]] if made["only"] else []
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    invar = os.environ.get("INVAR", "target/release/invar")
    cost = None
    if not (out / "run" / "clusters.parquet").exists():
        command = [invar, "run", "reads/quickstart", "--input", reads / "train.fastq.gz", "--out", out / "run", "-q"]
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            sys.exit(f"{name}: invar run ended with {os.waitstatus_to_exitcode(status)}")
        cost = (usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
    return out / "run" / "clusters.parquet", reads / "train.truth.tsv", cost


def score(clusters, truth):
    """As `score_groups`, of a CLUSTERS."""
    table = parquet.read_table(clusters, columns=["id", "cluster"])
    return score_groups(table["id"].to_pylist(), table["cluster"].to_numpy(), truth)


def score_groups(names, groups, truth):
    """Species, groups, ARI, purity, completeness and F1; a negative group is none."""
    with open(truth, newline="") as file:
        species_of = {row["id"]: row["species"] for row in csv.DictReader(file, delimiter="\t")}
    species = np.unique([species_of[name] for name in names], return_inverse=True)[1]
    found = np.array(groups, dtype=np.int64)
    alone = found < 0
    found[alone] = found.max() + 1 + np.arange(alone.sum())
    counts = np.zeros((species.max() + 1, found.max() + 1), np.int64)
    np.add.at(counts, (species, found), 1)
    purity, complete = counts.max(0).sum() / len(found), counts.max(1).sum() / len(found)
    sizes = [int((counts.sum(axis) >= LARGE).sum()) for axis in (1, 0)]
    return (*sizes, adjusted_rand_score(species, found), purity, complete, 2 * purity * complete / (purity + complete))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("genomes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--half", choices=["choose", "report"])
    parser.add_argument("--sets", nargs="+", choices=list(SETS))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    columns = ["set", "half", "species", "groups", "ARI", "purity", "complete", "F1", "CPU s", "MB"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for name, made in SETS.items():
        if (arguments.half or made["half"]) != made["half"] or name not in (arguments.sets or SETS):
            continue
        clusters, truth, cost = run(name, made, arguments.genomes, arguments.out, arguments.seed)
        species, groups, *figures = score(clusters, truth)
        text = [f"{seconds:.0f}" for seconds in cost] if cost else ["-", "-"]
        cells = [name, made["half"], str(species), str(groups), *(f"{figure:.3f}" for figure in figures), *text]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
