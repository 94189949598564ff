#!/usr/bin/env python3
"""Cut a labelled community of reads and fresh fragments from a directory of genomes.

    make_mixture.py GENOMES_DIR OUT [--seed 1] [--species-table species.tsv]

The protocol of the quality figures, in one place:

* **Labels**: one per species (`species.tsv`, keyed by file name): genomes of ANI >= 95 % share a label. A species with several
  genomes draws from each with the same probability.
* **Training reads** (`train.fastq.gz`): `--reads` reads of `--read-bp`. `--abundance even` gives every species the same number of
  *reads* (not the same coverage: a phage of 48 kb gets as many reads as a bacterium of 5 Mb); `log-normal` draws the species'
  weights as exp(sigma z), as in the CAMI challenges, with at least one read a species.
* **Fragments** (`frag_1kb.fastq.gz`, ...): a fresh, independent draw from the same genomes, `--fragments-per-species` of each
  length, always even. No fragment is a read of the training set, but the genomes are the same: the claim under test is
  "train on the sample you want to cluster, without labels".
* **Each read**: uniform over the positions where it fits inside one sequence of the genome (no wrapping round the origin),
  either strand with probability 1/2, then errors: per template base a substitution (2 %, to one of the other three bases), an
  insertion of one random base behind it (1.5 %) or its deletion (1.5 %). The length after errors is left as it falls.
* **Names** (`train_000017`, `f1kb_0003`) are given after shuffling and say nothing. The truth is in `train.truth.tsv`,
  `frag_1kb.truth.tsv`, ...: id, species, genome, sequence, start, end (1-based, inclusive, on the forward strand), strand.
* Qualities are constant, Q13 (`.`): the Phred value of a 5 % error.

The same arguments and numpy version give byte-identical files. `mixture.json` records the arguments and the counts.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

import numpy as np

BASES = np.frombuffer(b"ACGT", dtype=np.uint8)
CODE = np.full(256, 255, dtype=np.uint8)  # ASCII -> 0..3; anything else 255
for _code, _pair in enumerate(("Aa", "Cc", "Gg", "Tt")):
    for _char in _pair:
        CODE[ord(_char)] = _code


class Genome:
    """One FASTA file: sequences coded 0..3 (255 = not A, C, G, T), with their names."""

    def __init__(self, path):
        self.file = path.name
        self.names, self.codes = [], []
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as handle:
            for entry in handle.read().split(b">")[1:]:
                header, _, body = entry.partition(b"\n")
                self.names.append(header.split()[0].decode())
                self.codes.append(CODE[np.frombuffer(body.replace(b"\n", b"").replace(b"\r", b""), dtype=np.uint8)])
        self.length_bp = sum(len(c) for c in self.codes)

    def draw(self, rng, length_bp):
        """A window of `length_bp` without unknown bases: (sequence number, start). Uniform over the starts that fit."""
        starts = np.array([max(0, len(c) - length_bp + 1) for c in self.codes], dtype=np.float64)
        if starts.sum() == 0:
            sys.exit(f"{self.file}: no sequence of {length_bp} bp")
        for _ in range(100_000):
            sequence = int(rng.choice(len(starts), p=starts / starts.sum()))
            start = int(rng.integers(int(starts[sequence])))
            if self.codes[sequence][start : start + length_bp].max() < 4:
                return sequence, start
        sys.exit(f"{self.file}: hardly a stretch of {length_bp} bp without unknown bases")


def add_errors(rng, template, substitution, insertion, deletion):
    """The template (codes 0..3) as an instrument would read it; each error falls on a template base independently."""
    u = rng.random(len(template))
    read = template.copy()
    substituted = u < substitution
    read[substituted] = (read[substituted] + rng.integers(1, 4, substituted.sum(), dtype=np.uint8)) % 4
    inserted = (u >= substitution) & (u < substitution + insertion)
    deleted = (u >= substitution + insertion) & (u < substitution + insertion + deletion)
    copies = np.ones(len(template), dtype=np.int64) + inserted - deleted
    out = np.repeat(read, copies)
    behind = np.cumsum(copies)[inserted] - 1  # the second copy of an insertion's base is the inserted one
    out[behind] = rng.integers(0, 4, len(behind), dtype=np.uint8)
    return out


def write_reads(out, stem, prefix, rng, draws, length_bp, errors):
    """`draws`: (species, genome) per read, already shuffled. Writes OUT/stem.fastq.gz and OUT/stem.truth.tsv."""
    digits = len(str(len(draws)))
    bases = 0
    with (
        open(out / f"{stem}.fastq.gz", "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=1, mtime=0) as fastq,
        open(out / f"{stem}.truth.tsv", "w") as truth,
    ):
        truth.write("id\tspecies\tgenome\tsequence\tstart\tend\tstrand\n")
        for number, (species, genome) in enumerate(draws):
            sequence, start = genome.draw(rng, length_bp)
            template = genome.codes[sequence][start : start + length_bp]
            reverse = rng.random() < 0.5
            if reverse:
                template = 3 - template[::-1]
            read = BASES[add_errors(rng, template, *errors)].tobytes()
            bases += len(read)
            name = f"{prefix}_{number:0{digits}d}"
            fastq.write(b"@" + name.encode() + b"\n" + read + b"\n+\n" + b"." * len(read) + b"\n")
            truth.write(
                f"{name}\t{species}\t{genome.file}\t{genome.names[sequence]}\t{start + 1}\t{start + length_bp}"
                f"\t{'-' if reverse else '+'}\n"
            )
    return {"reads": len(draws), "bases": bases}


def species_counts(rng, species, reads, abundance, sigma):
    """Reads per species, summing to `reads`."""
    if abundance == "even":
        weights = np.ones(len(species))
    else:
        weights = np.exp(sigma * rng.standard_normal(len(species)))
    exact = weights / weights.sum() * reads
    counts = np.maximum(1, np.floor(exact).astype(int))
    order = np.argsort(-(exact - np.floor(exact)), kind="stable")
    for i in range(reads - counts.sum()):  # largest remainders
        counts[order[i % len(order)]] += 1
    return counts


def shuffled_draws(rng, community, counts):
    """One (species, genome) per read in random order; each genome of a species with the same probability."""
    draws = []
    for (species, genomes), count in zip(community, counts):
        draws += [(species, genomes[i]) for i in rng.integers(len(genomes), size=count)]
    return [draws[i] for i in rng.permutation(len(draws))]


def load_community(directory, table, only):
    """[(species, [genome, ...])] in the order of the species' names."""
    label = {}
    for line in table.read_text().splitlines():
        if line and not line.startswith("#") and not line.startswith("file\t"):
            file, species = line.split("\t")
            label[file] = species
    files = sorted(p for p in directory.iterdir() if p.name.removesuffix(".gz").endswith((".fna", ".fa", ".fasta")))
    unlabelled = [p.name for p in files if p.name not in label]
    if unlabelled:
        sys.exit(f"{table}: no species for {', '.join(unlabelled)}")
    names = sorted({label[p.name] for p in files})
    unknown = set(only or []) - set(names)
    if unknown:
        sys.exit(f"no genome of {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return [(s, [Genome(p) for p in files if label[p.name] == s]) for s in names if not only or s in only]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("genomes", type=Path, help="directory of FASTA files (.fna, .fa, .fasta, also .gz)")
    parser.add_argument("out", type=Path)
    parser.add_argument("--species-table", type=Path, default=Path(__file__).with_name("species.tsv"))
    parser.add_argument("--only", nargs="+", metavar="SPECIES", help="use these species only (names of the table)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reads", type=int, default=20_000)
    parser.add_argument("--read-bp", type=int, default=10_000)
    parser.add_argument("--abundance", choices=["even", "log-normal"], default="even")
    parser.add_argument("--sigma", type=float, default=1.0, help="of the log-normal abundance")
    parser.add_argument("--fragment-kb", type=int, nargs="+", default=[1, 2, 5])
    parser.add_argument("--fragments-per-species", type=int, default=100)
    parser.add_argument("--substitution", type=float, default=0.02)
    parser.add_argument("--insertion", type=float, default=0.015)
    parser.add_argument("--deletion", type=float, default=0.015)
    return parser.parse_args()


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    community = load_community(args.genomes, args.species_table, args.only)
    errors = (args.substitution, args.insertion, args.deletion)
    # One stream a file: the fragments do not change with the number of training reads.
    streams = np.random.default_rng(args.seed).spawn(2 + len(args.fragment_kb))
    counts = species_counts(streams[0], community, args.reads, args.abundance, args.sigma)
    summary = {
        "arguments": {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k != "out"},
        "numpy": np.__version__,
        "species": {s: {"reads": int(n), "genomes": [g.file for g in gs]} for (s, gs), n in zip(community, counts)},
    }
    draws = shuffled_draws(streams[1], community, counts)
    summary["train"] = write_reads(args.out, "train", "train", streams[1], draws, args.read_bp, errors)
    even = [args.fragments_per_species] * len(community)
    for kb, stream in zip(args.fragment_kb, streams[2:]):
        draws = shuffled_draws(stream, community, even)
        summary[f"frag_{kb}kb"] = write_reads(args.out, f"frag_{kb}kb", f"f{kb}kb", stream, draws, 1000 * kb, errors)
    (args.out / "mixture.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(
        f"{len(community)} species: "
        + ", ".join(
            f"{k} {v['reads']} reads, {v['bases']} bp"
            for k, v in summary.items()
            if isinstance(v, dict) and "bases" in v
        )
    )


if __name__ == "__main__":
    main()
