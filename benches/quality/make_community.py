#!/usr/bin/env python3
"""An assembled metagenome with its truth: reads of genomes in several samples, assembled together and mapped back.

    make_community.py GENOMES_DIR OUT [--samples 5] [--seed 1] [--threads 2] [--cut]

Needs wgsim and samtools (Debian: samtools), megahit and minimap2. An hour on two cores for 20 genomes; started again, it goes on
behind the last file that it finished.

* **Abundance**: the depth of each genome in each sample is log-normal (median `--median-depth`, `--sigma`), cut off at 1 and 30.
* **Reads**: wgsim, 2 x 150 bases, 0.2 % errors, no variants; `--seed` and the sample's and genome's numbers seed it.
* **Assembly** of all samples together: MEGAHIT, k = 41, 69, 97, contigs of 500 bases and more.
* `--cut` takes minutes: contigs are not assembled but cut out of the genomes, log-normal lengths (sigma 1, a median of 800 bases for
  each unit of the genome's depth in all samples, 500 bases at least), 100 bases apart, either strand. Nothing is misassembled, and
  strains are not merged.
* **Truth** (`truth.tsv`: id, species, genome, bp, share): the genome of the best alignment of each contig (minimap2 asm5), and the
  share of its bases that match. Contigs that match less than half of their bases are left out. Strains of a species share what
  is alike, so binners are scored by species (`species.tsv`).
* `contigs.fa`, `S1.bam` ... (sorted, indexed), `abundance.tsv`, and of an assembly `assembly_graph.fastg` (of the last k).
"""

import argparse
import csv
import gzip
import os
import subprocess
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


def shell(command, **options):
    print(f"+ {command}", flush=True)
    subprocess.run(["bash", "-o", "pipefail", "-ec", command], check=True, **options)


def whole(path, make):
    """Runs `make` with a name beside `path`, which `path` becomes when it is whole."""
    if not path.exists():
        beside = path.with_name(f"part-{path.name}")
        make(beside)
        os.replace(beside, path)
    return path


def reference(genome, out):
    """The sequences of a genome, named GENOME|number; how many bases they have."""
    text = gzip.open(genome, "rt").read()
    entries = [entry.partition("\n")[::2] for entry in text.split(">")[1:]]
    sequences = ["".join(body.split()) for _, body in entries]
    name = genome.name.removesuffix(".fna.gz")
    lines = [f">{name}|{number}\n{sequence}\n" for number, sequence in enumerate(sequences)]
    whole(out / f"{name}.fa", lambda path: path.write_text("".join(lines)))
    return sum(map(len, sequences))


def reads(args, depths, bases, sample):
    """The pairs of a sample, of all genomes one after the other."""

    def make(path):
        path.mkdir(exist_ok=True)
        for mate in (1, 2):
            (path / f"{mate}.fq").write_bytes(b"")
        for number, name in enumerate(bases):
            pairs = int(depths[number, sample] * bases[name] / 300)
            seed = args.seed * 10_000 + sample * 100 + number
            shell(
                f"wgsim -N {pairs} -1 150 -2 150 -d 400 -s 50 -e 0.002 -r 0 -R 0 -X 0 -S {seed} "
                f"{args.out}/ref/{name}.fa {path}/a1.fq {path}/a2.fq > /dev/null 2>&1\n"
                f"for m in 1 2; do cat {path}/a$m.fq >> {path}/$m.fq; rm {path}/a$m.fq; done"
            )

    return whole(args.out / f"S{sample + 1}", make)


def truth(args):
    """The genome of the best alignment of each contig."""
    paf = whole(
        args.out / "contigs.paf",
        lambda path: shell(
            f"minimap2 -x asm5 -t {args.threads} --secondary=no <(cat {args.out}/ref/*.fa) {args.out}/contigs.fa "
            f"> {path} 2> /dev/null"
        ),
    )
    best = {}
    for line in paf.read_text().splitlines():
        contig, bp, *rest = line.split("\t")
        genome, matches = rest[3].split("|")[0], int(rest[7])
        if matches > best.get(contig, ("", 0, 0))[2]:
            best[contig] = (genome, int(bp), matches)
    lines = ["id\tspecies\tgenome\tbp\tshare"]
    for contig, (genome, bp, matches) in best.items():
        if matches >= bp / 2:
            lines.append(f"{contig}\t{args.species[genome]}\t{genome}\t{bp}\t{matches / bp:.4f}")
    whole(args.out / "truth.tsv", lambda path: path.write_text("\n".join(lines) + "\n"))


def cut(args, rng, depths, bases):
    """Contigs cut out of the genomes, named in random order, and their truth."""
    pieces = []
    for number, genome in enumerate(bases):
        median = 800 * depths[number].sum()
        for entry in (args.out / f"ref/{genome}.fa").read_text().split(">")[1:]:
            sequence = entry.partition("\n")[2].strip()
            at = 0
            while len(sequence) - at >= 500:
                length = max(500, int(median * np.exp(rng.normal())))
                pieces.append((genome, sequence[at : at + length]))
                at += length + 100
    swap = str.maketrans("ACGT", "TGCA")
    lines, rows = [], ["id\tspecies\tgenome\tbp\tshare"]
    for number, index in enumerate(rng.permutation(len(pieces))):
        genome, sequence = pieces[index]
        if rng.random() < 0.5:
            sequence = sequence.upper()[::-1].translate(swap)
        lines.append(f">c{number:06}\n{sequence}\n")
        rows.append(f"c{number:06}\t{args.species[genome]}\t{genome}\t{len(sequence)}\t1")
    whole(args.out / "truth.tsv", lambda path: path.write_text("\n".join(rows) + "\n"))
    return whole(args.out / "contigs.fa", lambda path: path.write_text("".join(lines)))


def assembled(args, samples):
    """The assembly of all samples, its graph and its truth."""

    def assemble(path):
        mates = [",".join(str(sample / f"{mate}.fq") for sample in samples) for mate in (1, 2)]
        shell(
            f"rm -rf {path}; megahit -1 {mates[0]} -2 {mates[1]} -o {path} -t {args.threads} --k-list 41,69,97 "
            "--no-local --mem-flag 2 --min-contig-len 500 > /dev/null 2>&1"
        )

    assembly = whole(args.out / "megahit", assemble)
    contigs = whole(args.out / "contigs.fa", lambda path: shell(f"cp {assembly}/final.contigs.fa {path}"))
    graph = f"megahit_toolkit contig2fastg 97 {assembly}/intermediate_contigs/k97.contigs.fa"
    whole(args.out / "assembly_graph.fastg", lambda path: shell(f"{graph} > {path}"))
    truth(args)
    return contigs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("genomes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--median-depth", type=float, default=4.0)
    parser.add_argument("--sigma", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cut", action="store_true")
    parser.add_argument("--species-table", type=Path, default=HERE / "species.tsv")
    args = parser.parse_args()
    (args.out / "ref").mkdir(parents=True, exist_ok=True)
    rows = csv.reader((line for line in args.species_table.open() if line[0] != "#"), delimiter="\t")
    args.species = {file.removesuffix(".fna.gz"): label for file, label in rows if file != "file"}
    files = sorted(args.genomes.glob("*.fna.gz"))
    bases = {file.name.removesuffix(".fna.gz"): reference(file, args.out / "ref") for file in files}
    unknown = [name for name in bases if name not in args.species]
    if unknown or not bases:
        parser.error(f"not in {args.species_table}: {unknown}" if unknown else f"no *.fna.gz in {args.genomes}")
    rng = np.random.default_rng(args.seed)
    depths = np.exp(rng.normal(np.log(args.median_depth), args.sigma, (len(bases), args.samples))).clip(1, 30)
    names = [f"S{sample + 1}" for sample in range(args.samples)]
    table = ["\t".join(["genome", "bp", *names])]
    for (name, bp), row in zip(bases.items(), depths):
        table.append("\t".join([name, str(bp), *(f"{depth:.2f}" for depth in row)]))
    whole(args.out / "abundance.tsv", lambda path: path.write_text("\n".join(table) + "\n"))
    samples = [reads(args, depths, bases, sample) for sample in range(args.samples)]
    contigs = cut(args, rng, depths, bases) if args.cut else assembled(args, samples)
    for sample in samples:
        bam = whole(
            sample.with_suffix(".bam"),
            lambda path: shell(
                f"minimap2 -ax sr -t {args.threads} {contigs} {sample}/1.fq {sample}/2.fq 2> /dev/null "
                f"| samtools sort -@ 1 -m 500M -o {path} - 2> /dev/null"
            ),
        )
        whole(bam.with_suffix(".bam.bai"), lambda path: shell(f"samtools index {bam} {path}"))


if __name__ == "__main__":
    main()
