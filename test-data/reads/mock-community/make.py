#!/usr/bin/env python3
"""Make the mock community: 4,000 simulated nanopore-like reads of ten bacteria, and the truth about them.

    make.py [--cache DIR] [--check]

Writes `reads.fastq.gz` and `truth.tsv` beside itself; with `--check` compares them with what is there instead. Needs Debian 12's
apt (see ../debian.py) and numpy. All randomness is from `numpy.random.RandomState(SEED)`, whose streams are frozen, and the gzip
header holds no time, so the result is byte-identical (the compressed bytes need the same zlib; `--check` compares the content).

The model, in order, for each read:

1. length: log-normal, median 2,700 bp, sigma 0.45, drawn again until it is within 1,500 to 6,000 bp;
2. place: uniform over the positions where it fits inside one sequence of the genome; strand + or - with probability 1/2;
3. quality: a piecewise constant string, pieces of geometric length (mean 40 bp), each with a quality of BINS;
4. errors: at each template base with the probability its quality states, 10^(-q/10), which is 5 % on average; of the errors 40 %
   are substitutions by another base, 30 % insertions of a random base behind it, 30 % deletions;
5. name: a version-4 UUID, as MinKNOW gives them; the order is shuffled.
"""

import argparse
import gzip
import io
import lzma
import sys
import tarfile
import uuid
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from debian import Packages

SEED = 20_250_101
READS_PER_SPECIES = 400
MEDIAN_BP, SIGMA, MIN_BP, MAX_BP = 2_700, 0.45, 1_500, 6_000
BINS = [(8, 0.14), (12, 0.29), (16, 0.31), (20, 0.26)]  # (quality, share): mean error 5.1 %
PIECE_BP = 40
SUBSTITUTIONS, INSERTIONS = 0.4, 0.3  # of the errors; the rest are deletions

# species, genome (strain), package, path in the package [! member of the archive], sha256 of the packaged file
GENOMES = [
    (
        "Escherichia coli",
        "K-12 MG1655",
        "ragout-examples",
        "usr/share/doc/ragout/examples/E.Coli/references/MG1655-K12.fasta.gz",
        "ae952b2873ef8badc956925a61c5b536d4e40322b4e8b15dde3d8eda7ce3c879",
    ),
    (
        "Klebsiella pneumoniae",
        "NTUH-K2044",
        "kleborate-examples",
        "usr/share/doc/kleborate/examples/data/NTUH-K2044.fna.xz",
        "7112c6a83c876973f637266626b205d615bdd2fd1d4d1d59b7962857274364fa",
    ),
    (
        "Vibrio cholerae",
        "O1 biovar El Tor N16961",
        "ragout-examples",
        "usr/share/doc/ragout/examples/V.Cholerae/references/O1_biovar.fasta.gz",
        "ef8ecca73105608a904c9e81973ef3af472096e349a463fbec324411c6566cc9",
    ),
    (
        "Helicobacter pylori",
        "G27",
        "ragout-examples",
        "usr/share/doc/ragout/examples/H.Pylori/references/G27.fasta.gz",
        "80dd2ad4125b47fa644350cec0bee7bf3956e379bf3e3e97a25e9c17ba297658",
    ),
    (
        "Staphylococcus aureus",
        "N315",
        "ragout-examples",
        "usr/share/doc/ragout/examples/S.Aureus/references/N315.fasta.gz",
        "f00af0fea6d59d4aef1cac64be57a5215739b7c23fae7f6bc0d44e1f9805a0e9",
    ),
    (
        "Mycobacterium tuberculosis",
        "H37Rv",
        "kmer-examples",
        "usr/share/doc/kmer-examples/test_data.tar.gz!GCF_000195955.2_ASM19595v2_genomic.fna",
        "9fb12246d5175e52d6508719a0c4655ce82381c77fdd2a42b606b10343707921",
    ),
    (
        "Mycobacterium leprae",
        "TN",
        "kmer-examples",
        "usr/share/doc/kmer-examples/test_data.tar.gz!GCF_000195855.1_ASM19585v1_genomic.fna",
        "9fb12246d5175e52d6508719a0c4655ce82381c77fdd2a42b606b10343707921",
    ),
    (
        "Streptococcus suis",
        "SC84",
        "abacas-examples",
        "usr/share/doc/abacas-examples/SS_SC84.dna.gz",
        "db0746cebb41474bd2ae8acd477f184b348eed542b24101298fdae4b98595e60",
    ),
    (
        "Chlamydia trachomatis",
        "D/UW-3/CX",
        "r-cran-seqinr",
        "usr/lib/R/site-library/seqinr/sequences/ct.fasta.gz",
        "e1a0e409e5fd73f5f976728a14a7409e5ec8b4e7022c309eacd56f314c43a900",
    ),
    (
        "Leptospira kirschneri",
        "H1",
        "any2fasta-examples",
        "usr/share/doc/any2fasta/examples/test.gbk.gz",
        "321919e452f88665a597b5c31813b7b99ab0f60ce3706e25eadd2309f9e3d93b",
    ),
]


def sequences(packages, package, path, sha256):
    """[(name, ASCII array)] of a FASTA or GenBank file, upper case, in file order."""
    path, _, member = path.partition("!")
    file = packages.file(package, path, sha256)
    data = {".gz": gzip.decompress, ".xz": lzma.decompress}.get(file.suffix, bytes)(file.read_bytes())
    if member:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            data = archive.extractfile(member).read()
    if data.startswith(b"LOCUS"):
        return [genbank(entry) for entry in data.split(b"\n//")[:-1]]
    entries = [entry.partition(b"\n") for entry in data.split(b">")[1:]]
    return [(head.split()[0].decode(), bases(body)) for head, _, body in entries]


def genbank(entry):
    """(accession, bases) of one GenBank record: the sequence follows ORIGIN, with line numbers and spaces."""
    body = entry[entry.index(b"\nORIGIN") + 7 :]
    return entry.split()[1].decode(), bases(bytes(c for c in body if c > ord("9")))


def bases(text):
    return np.frombuffer(b"".join(text.split()).upper(), dtype=np.uint8)


def draw_place(rng, genome, length_bp):
    """(sequence number, start) of a window of `length_bp` with no base but A, C, G, T."""
    starts = np.maximum(0, np.array([len(s) - length_bp + 1 for _, s in genome]))
    while True:
        at = int(rng.random_sample() * starts.sum())
        number = int(np.searchsorted(np.cumsum(starts), at, side="right"))
        start = at - int(starts[:number].sum())
        if np.isin(genome[number][1][start : start + length_bp], ACGT).all():
            return number, start


ACGT = np.frombuffer(b"ACGT", dtype=np.uint8)
CODE = np.zeros(256, dtype=np.int64)
CODE[ACGT] = np.arange(4)


def draw_qualities(rng, length_bp):
    """[length_bp] Phred values."""
    pieces = rng.geometric(1 / PIECE_BP, size=length_bp)  # more than enough
    values, shares = zip(*BINS)
    piece_values = np.array(values)[np.searchsorted(np.cumsum(shares), rng.random_sample(length_bp), side="right")]
    number = int(np.searchsorted(np.cumsum(pieces), length_bp)) + 1
    return np.repeat(piece_values[:number], pieces[:number])[:length_bp]


def add_errors(rng, template, qualities):
    """(bases 0..3, Phred values) as read; the lengths agree."""
    p = 10 ** (-qualities / 10)
    u = rng.random_sample(len(template)) / p  # below 1 at an error, and then uniform
    shift = 1 + (rng.random_sample(len(template)) * 3).astype(np.int64)
    substituted, inserted = u < SUBSTITUTIONS, (u >= SUBSTITUTIONS) & (u < SUBSTITUTIONS + INSERTIONS)
    deleted = (u >= SUBSTITUTIONS + INSERTIONS) & (u < 1)
    read = np.where(substituted, (template + shift) % 4, template)
    copies = 1 + inserted.astype(np.int64) - deleted
    out = np.repeat(read, copies)
    behind = np.cumsum(copies)[inserted] - 1
    out[behind] = (rng.random_sample(len(behind)) * 4).astype(np.int64)
    return out, np.repeat(qualities, copies)


def simulate(rng, species, strain, genome):
    """One read: (FASTQ record, truth row)."""
    length_bp = 0
    while not MIN_BP <= length_bp <= MAX_BP:
        length_bp = int(MEDIAN_BP * np.exp(SIGMA * rng.standard_normal()))
    number, start = draw_place(rng, genome, length_bp)
    name, sequence = genome[number]
    template = CODE[sequence[start : start + length_bp]]
    reverse = rng.random_sample() < 0.5
    if reverse:
        template = 3 - template[::-1]
    read, qualities = add_errors(rng, template, draw_qualities(rng, length_bp))
    identifier = str(uuid.UUID(bytes=rng.bytes(16), version=4))
    record = b"@%s\n%s\n+\n%s\n" % (
        identifier.encode(),
        ACGT[read].tobytes(),
        (qualities + 33).astype(np.uint8).tobytes(),
    )
    truth = (identifier, species, strain, name, start + 1, start + length_bp, "-" if reverse else "+")
    return record, "\t".join(map(str, truth)) + "\n"


def make(packages):
    """(content of reads.fastq, content of truth.tsv)."""
    rng = np.random.RandomState(SEED)
    reads = []
    for species, strain, package, path, sha256 in GENOMES:
        genome = sequences(packages, package, path, sha256)
        reads += [simulate(rng, species, strain, genome) for _ in range(READS_PER_SPECIES)]
    reads = [reads[i] for i in rng.permutation(len(reads))]
    header = "id\tspecies\tgenome\tsequence\tstart\tend\tstrand\n"
    return b"".join(record for record, _ in reads), (header + "".join(row for _, row in reads)).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("target/debian-packages"), help="where packages are kept")
    parser.add_argument("--check", action="store_true", help="compare with the files that are there, write nothing")
    args = parser.parse_args()
    fastq, truth = make(Packages(args.cache))
    fastq_path, truth_path = HERE / "reads.fastq.gz", HERE / "truth.tsv"
    if args.check:
        if gzip.decompress(fastq_path.read_bytes()) != fastq or truth_path.read_bytes() != truth:
            sys.exit("the mock community differs from what this script makes")
        print("identical")
        return
    fastq_path.write_bytes(gzip.compress(fastq, 9, mtime=0))
    truth_path.write_bytes(truth)
    print(f"{fastq.count(b'+' + chr(10).encode())} reads, {fastq_path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
