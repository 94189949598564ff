#!/usr/bin/env python3
"""Make a small community of contigs: six invented genomes, their depth in three samples, the assembly graph, and the truth.

    make.py [--check]

Writes `contigs.fa.gz`, `depth.txt`, `assembly_graph.gfa.gz`, `contigs.paths` and `truth.tsv` beside itself; with `--check` compares them
with what is there instead. Python alone; all randomness is from `random.Random(SEED)`.

1. genome: a Markov chain of order 2, whose probabilities are drawn around a GC content of its own (normal, sigma 0.35 of the logarithm);
   two genomes have nearly the same chain, as congeners do, and differ in depth
2. contigs: pieces of log-normal length (median 4 kb, sigma 0.9, at least 500 bp), on a random strand
3. depth: log-normal abundance of a genome in a sample (median 8 x, sigma 0.8); the mean of a contig is a Poisson count of reads of
   150 bases, over its length; the variance is the mean, times 1 to 1.5
4. graph: neighbours on the genome are linked, overlap 55 bp; a contig in four is two segments, which the file of paths (as SPAdes
   writes it) joins; one contig is in no graph, and one segment in no contig
"""

import argparse
import gzip
import io
import math
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED = 20_251_129
GENOMES = [("alpha", 0.35, 90_000), ("beta", 0.38, 60_000), ("gamma", 0.50, 90_000), ("delta", 0.50, 80_000), ("epsilon", 0.62, 70_000), ("zeta", 0.66, 50_000)]
CONGENERS = ("gamma", "delta")
SAMPLES = ["S1", "S2", "S3"]
READ_BP, OVERLAP_BP, MIN_BP = 150, 55, 500
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def reverse(letters):
    return letters.translate(COMPLEMENT)[::-1]


def chain(rng, gc, base=None):
    """Cumulated probabilities of the next base after each pair; near those of `base`, if it is given."""
    after = {}
    for pair in (a + b for a in "ACGT" for b in "ACGT"):
        if base is None:
            weights = [math.exp(rng.gauss(0, 0.35)) * (gc if base_ in "CG" else 1 - gc) for base_ in "ACGT"]
        else:
            weights = [weight * math.exp(rng.gauss(0, 0.04)) for weight in base[pair]]
        after[pair] = [weight / sum(weights) for weight in weights]
    return after


def genome(rng, after, length):
    letters = "AC"
    out = []
    for _ in range(length):
        base = rng.choices("ACGT", after[letters])[0]
        out.append(base)
        letters = letters[1] + base
    return "".join(out)


def poisson(rng, mean):
    if mean > 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def community():
    rng = random.Random(SEED)
    chains = {}
    contigs = []  # genome, letters
    links = []  # numbers of contigs that follow each other, as (number, strand)
    for name, gc, length in GENOMES:
        base = chains.get(CONGENERS[0]) if name == CONGENERS[1] else None
        chains[name] = chain(rng, gc, base)
        letters, start, before = genome(rng, chains[name], length), 0, None
        while start < length - MIN_BP:
            size = max(MIN_BP, round(math.exp(rng.gauss(math.log(4_000), 0.9))))
            end = length if length - start - size < MIN_BP else start + size
            piece = letters[max(0, start - OVERLAP_BP) : end]
            is_reverse = rng.random() < 0.5
            contigs.append((name, reverse(piece) if is_reverse else piece))
            here = (len(contigs) - 1, is_reverse)
            if before is not None:
                links.append((before, here))
            before, start = here, end
    order = list(range(len(contigs)))
    rng.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    contigs = [contigs[old] for old in order]
    links = [((place[a], s), (place[b], t)) for (a, s), (b, t) in links]
    depths = {name: [max(1.0, math.exp(rng.gauss(math.log(8), 0.8))) for _ in SAMPLES] for name, _, _ in GENOMES}
    return rng, contigs, links, depths


def files():
    rng, contigs, links, depths = community()
    names = [f"NODE_{number + 1}_length_{len(letters)}" for number, (_, letters) in enumerate(contigs)]
    fasta = "".join(f">{name} genome withheld\n{letters}\n" for name, (_, letters) in zip(names, contigs))
    table = ["\t".join(["contigName", "contigLen", "totalAvgDepth"] + [f"{s}.bam{end}" for s in SAMPLES for end in ("", "-var")])]
    for name, (of, letters) in zip(names, contigs):
        reads = [poisson(rng, depth * len(letters) / READ_BP) for depth in depths[of]]
        means = [count * READ_BP / len(letters) for count in reads]
        cells = [f"{value:.5g}" for mean in means for value in (mean, mean * rng.uniform(1, 1.5))]
        table.append("\t".join([name, str(len(letters)), f"{sum(means):.5g}"] + cells))
    segments, paths, ends = [], [], []
    for number, (_, letters) in enumerate(contigs[:-1]):
        half = len(letters) // 2 if number % 4 == 0 else len(letters)
        parts = [letters[:half], letters[max(0, half - OVERLAP_BP) :]] if half < len(letters) else [letters]
        steps = []
        for part in parts:
            segments.append(f"S\t{len(segments) + 1}\t{part}\n")
            steps.append(len(segments))
        paths.append(steps)
        ends.append((steps[0], steps[-1]))
    joined = [f"L\t{a}\t+\t{b}\t+\t{OVERLAP_BP}M\n" for steps in paths for a, b in zip(steps, steps[1:])]
    for (a, s), (b, t) in links:
        if max(a, b) < len(paths):
            last, first = ends[a][0 if s else 1], ends[b][1 if t else 0]
            joined.append(f"L\t{last}\t{'-' if s else '+'}\t{first}\t{'-' if t else '+'}\t{OVERLAP_BP}M\n")
    segments.append(f"S\t{len(segments) + 1}\t{'ACGGTACATTGCA' * 10}\n")
    graph = "H\tVN:Z:1.0\n" + "".join(segments + joined)
    told = ""
    for name, steps in zip(names, paths):
        told += f"{name}\n{','.join(f'{step}+' for step in steps)}\n"
        told += f"{name}'\n{','.join(f'{step}-' for step in steps[::-1])}\n"
    truth = "id\tgenome\n" + "".join(f"{name}\t{of}\n" for name, (of, _) in zip(names, contigs))
    return {
        "contigs.fa.gz": fasta, "depth.txt": "\n".join(table) + "\n", "assembly_graph.gfa.gz": graph, "contigs.paths": told,
        "truth.tsv": truth,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what is there")
    check = parser.parse_args().check
    for name, text in files().items():
        path, text = HERE / name, text.encode()
        if check:
            found = path.read_bytes()
            if (gzip.decompress(found) if name.endswith(".gz") else found) != text:
                sys.exit(f"{path}: differs")
            continue
        if name.endswith(".gz"):
            packed = io.BytesIO()
            with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9, mtime=0) as file:
                file.write(text)
            text = packed.getvalue()
        path.write_bytes(text)


if __name__ == "__main__":
    main()
