"""Slices of real instrument files that Debian packages ship, and the sources of the mock community's genomes."""

import gzip
import importlib.util

from formats import bam, cram, gz, samtools

EXPAT = "Expat (MIT)"


def make(root, packages):
    """Writes root/real; [("valid", index entry)]."""
    entries = []

    def valid(name, data, description, origin, licence, **options):
        file = f"real/{name}"
        (root / file).write_bytes(data)
        recs = options.pop("count")
        entry = {"file": file, "description": description, "reads": recs[0], "bases": recs[1]} | options
        entries.append(("valid", entry | {"origin": origin, "licence": licence}))
        return file

    def lines(package, path, sha256, number):
        with gzip.open(packages.file(package, path, sha256), "rb") as handle:
            return b"".join(handle.readline() for _ in range(number))

    illumina = lines(*GASIC, 4 * 1000)
    valid(
        "illumina-gaii.fastq.gz",
        gz(illumina),
        "1,000 single reads of 72 bp, Illumina GAII, the '+' line repeats the name",
        "first 1,000 reads of SRR059298_subset.fastq.gz, Debian package gasic-examples (SRA SRR059298)",
        "BSD-like (package); SRA, public",
        count=fastq_count(illumina),
    )
    nanopore = lines(*QCAT, 4 * 60)
    valid(
        "nanopore.fastq.gz",
        gz(nanopore),
        "60 reads of Oxford Nanopore, with descriptions",
        "first 60 reads of barcode_1k.fastq.gz, Debian package qcat-examples",
        "MPL-2.0",
        count=fastq_count(nanopore),
    )
    ubam = samtools("import", "--no-PG", "-O", "bam", "-0", "-", data=nanopore)
    valid(
        "nanopore-unmapped.bam",
        ubam,
        "the same 60 reads as unmapped BAM without @SQ, as basecallers write",
        "nanopore.fastq.gz through `samtools import`",
        "MPL-2.0",
        count=fastq_count(nanopore),
    )
    one, two = (lines(*source, 4 * 250) for source in HISEQ)
    second = "real/hiseq-pairs_2.fastq.gz"
    (root / second).write_bytes(gz(two))
    count = [a + b for a, b in zip(fastq_count(one), fastq_count(two))]
    licence = "GPL-3+"
    origin = "first 250 pairs of test1/test2.fastq.gz, Debian package artfastqgenerator-examples"
    # Some of these reads are all N; see dropped_pairs.
    kept, kept_bp, dropped = dropped_pairs(one, two)
    valid(
        "hiseq-pairs_1.fastq.gz",
        gz(one),
        "250 pairs of 76 bp, Illumina HiSeq, names with #0/1 and #0/2",
        origin,
        licence,
        count=(kept, kept_bp),
        dropped=dropped,
        mates=second,
    )
    both = b"".join(x for i in range(250) for x in (record(one, i), record(two, i)))
    valid(
        "hiseq-interleaved.fastq.gz",
        gz(both),
        "the same pairs in turns",
        origin,
        licence,
        count=(kept, kept_bp),
        dropped=dropped,
        pairing="interleaved",
    )
    assert count[0] == 500

    mapped = packages.file(*MPILEUP).read_bytes()
    header = [l for l in mapped.splitlines(True) if l.startswith(b"@")]
    body = [l for l in mapped.splitlines(True) if not l.startswith(b"@")][:300]
    mapped = bam(b"".join(header + body))
    valid(
        "human-chr17.bam",
        mapped,
        "300 records mapped to 4,200 bp of human chromosome 17, pairs, several read groups",
        "first 300 records of dat/mpileup.1.sam, Debian package samtools-test (1000 Genomes Project)",
        EXPAT,
        count=bam_count(mapped),
    )
    reference = packages.file(*EX1_FASTA).read_bytes()
    (root / "real/ex1.fa").write_bytes(reference)
    ex1 = samtools("view", "-h", "--no-PG", "-", data=gzip.decompress(packages.file(*EX1_BAM).read_bytes()))
    ex1 = b"".join(ex1.splitlines(True)[:402])
    made = cram(ex1, reference)
    valid(
        "ex1.cram",
        made,
        "400 short reads mapped to two sequences, CRAM 3.0",
        "first 400 records of ex1.bam, Debian package python-pysam-tests, through samtools",
        EXPAT,
        count=bam_count(bam(ex1)),
        reference="real/ex1.fa",
    )
    return entries


def record(fastq, number):
    return b"".join(fastq.splitlines(True)[4 * number : 4 * number + 4])


def fastq_count(fastq):
    """(reads, bases); refuses reads that ingest would drop, so that the counts need no rule of ours."""
    bases = fastq.splitlines()[1::4]
    assert all(set(b) - set(b"N") for b in bases), "a read is all N"
    return len(bases), sum(map(len, bases))


def dropped_pairs(one, two):
    """(reads kept, bases kept, dropped): a pair with a mate that is all N is left out."""
    kept = kept_bp = no_acgt = mate_dropped = 0
    for a, b in zip(one.splitlines()[1::4], two.splitlines()[1::4], strict=True):
        hidden = [not set(s) - set(b"N") for s in (a, b)]
        no_acgt += sum(hidden)
        mate_dropped += sum(hidden) == 1
        if not any(hidden):
            kept, kept_bp = kept + 2, kept_bp + len(a) + len(b)
    return kept, kept_bp, {k: v for k, v in (("no_acgt", no_acgt), ("mate_dropped", mate_dropped)) if v}


def bam_count(data):
    """(reads, bases) of the primary records, by samtools."""
    fastq = samtools("fastq", "-F", "0x900", "-n", "-", data=data)
    return fastq_count(fastq)


def genome_tables(table):
    """[[genome]]: where the mock community comes from."""
    from make import ROOT

    path = ROOT / "mock-community" / "make.py"
    spec = importlib.util.spec_from_file_location("mock_community", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return "\n".join(
        table("genome", {"species": s, "strain": g, "package": p, "path": f, "sha256": h, "licence": LICENCES[p]})
        for s, g, p, f, h in module.GENOMES
    )


# Licences of the packages, from their copyright files. The sequences themselves are public records of INSDC.
LICENCES = {
    "ragout-examples": "BSD-3-Clause",
    "kleborate-examples": "GPL-3+",
    "kmer-examples": "unrestricted (NCBI)",
    "abacas-examples": "GPL-2+",
    "r-cran-seqinr": "GPL-2+",
    "any2fasta-examples": "GPL-3",
}

# (package, path, sha256)
GASIC = (
    "gasic-examples",
    "usr/share/doc/gasic/examples/reads/SRR059298_subset.fastq.gz",
    "88467b8b8981be8aa7a5811746047e1ec92432d4a92cdb2c4d161e5e9ed34773",
)
QCAT = (
    "qcat-examples",
    "usr/share/doc/qcat/examples/qcat/test/data/barcode_1k.fastq.gz",
    "3e57b21b9815ebc0f68dca2872e8dfdccbc2434761d9f51d8ef10bddea2f6706",
)
HISEQ = [
    (
        "artfastqgenerator-examples",
        "usr/share/doc/artfastqgenerator/examples/test1.fastq.gz",
        "4c7f45bd6a9c13f335eede86e11e07893f156b52d0289cc51320568210d1eaa7",
    ),
    (
        "artfastqgenerator-examples",
        "usr/share/doc/artfastqgenerator/examples/test2.fastq.gz",
        "8e552cacb45a81e3e1d9e880892eaaffcc731f0040b5cce6e0fd94cd9e967304",
    ),
]
MPILEUP = (
    "samtools-test",
    "usr/share/samtools/test/dat/mpileup.1.sam",
    "788830e17b97e633b4be400e7d1b3f4753121dbeb114be0749c4c72a71450cf7",
)
EX1_BAM = (
    "python-pysam-tests",
    "usr/share/doc/python-pysam/tests/pysam_data/ex1.bam.gz",
    "a08185a52ba91eb19f92932b899b6751ac56750432b99eca2f6b6326fcdfbb00",
)
EX1_FASTA = (
    "python-pysam-tests",
    "usr/share/doc/python-pysam/tests/pysam_data/ex1.fa",
    "28f45a98729da0591c4df29a17d68110bfbd0a1b9e5980748d0d96e6b781cbd0",
)
