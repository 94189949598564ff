"""The hand-made specimens. Each differs from a plain file in one way, which its description names."""

import random
import struct
import zlib
from pathlib import Path

from formats import BGZF_END, bam, bgzf, bgzf_block, containers, cram, decompressed, fasta, fastq, filtered, gz, without_md5

LICENCE = "MIT OR Apache-2.0"
ORIGIN = "made by corpus/specimens.py"


def sequence(length_bp, seed=0):
    """Reproducible bases (`random.Random.random` is frozen across versions of Python)."""
    rng = random.Random(seed)
    return bytes(b"ACGT"[int(4 * rng.random())] for _ in range(length_bp))


def qualities(length_bp, seed=0):
    rng = random.Random(~seed)
    return bytes(33 + int(41 * rng.random()) for _ in range(length_bp))


def records(number, length_bp=60, prefix=b"read"):
    return [(prefix + b"%d" % i, sequence(length_bp + i, i), qualities(length_bp + i, i)) for i in range(1, number + 1)]


def make(root):
    """Writes everything under root/corpus; [("valid" | "invalid", index entry)]."""
    corpus = Corpus(root)
    for chapter in (text, names, sequences, qualities_of_old, fasta_files, compression, mates, alignments, crams):
        chapter(corpus)
    return corpus.entries


class Corpus:
    def __init__(self, root):
        self.root = Path(root)
        self.entries = []

    def write(self, name, data):
        path = f"corpus/{name}"
        (self.root / path).write_bytes(data)
        return path

    def valid(self, name, data, description, reads, bases, dropped=None, **options):
        entry = {"file": self.write(f"valid/{name}", data), "description": description}
        entry |= {"reads": reads, "bases": bases, "dropped": dropped or {}} | options
        self.entries.append(("valid", entry | {"origin": ORIGIN, "licence": LICENCE}))
        return entry["file"]

    def invalid(self, name, data, description, error, record=None, **options):
        self.refuse(self.write(f"invalid/{name}", data), description, error, record, **options)

    def refuse(self, file, description, error, record=None, **options):
        """A file that is refused, or is with these options."""
        entry = {"file": file, "description": description}
        entry |= {"error": error, "record": record} | options
        self.entries.append(("invalid", entry | {"origin": ORIGIN, "licence": LICENCE}))


def total(recs):
    return sum(len(r[1]) for r in recs)


def text(c):
    """Lines, markers, lengths."""
    two, three = records(2), records(3)
    good = fastq(three)
    c.valid("one-read.fastq", fastq(records(1)), "a single read", 1, 61)
    c.valid("two-reads.fastq", fastq(two), "two reads", 2, total(two))
    c.valid("crlf.fastq", fastq(three, b"\r\n"), "lines end in CR LF", 3, total(three))
    c.valid("no-final-newline.fastq", good[:-1], "the last line has no line end", 3, total(three))
    c.valid("blank-lines-at-end.fastq", good + b"\n\n\r\n", "blank lines after the last record", 3, total(three))
    c.valid("blank-lines-at-start.fastq", b"\n\r\n" + good, "blank lines before the first record", 3, total(three))
    repeated = b"".join(b"@%s\n%s\n+%s\n%s\n" % (h, s, h, q) for h, s, q in three)
    c.valid("plus-repeats-name.fastq", repeated, "the '+' line repeats the name", 3, total(three))
    at = [(b"a", sequence(8, 1), b"@@@@@@@@"), (b"b", sequence(8, 2), b"+IIIIII+"), (b"c", sequence(8, 3), b">@+;;;;!")]
    c.valid("quality-begins-with-at.fastq", fastq(at), "quality lines that begin with '@', '+' and '>'", 3, 24)
    empty_read = [two[0], (b"nothing", b"", b""), (b"last", sequence(9), qualities(9))]
    c.valid("zero-length-read.fastq", fastq(empty_read), "the second read has no base", 2, 61 + 9, {"empty": 1})

    c.invalid("empty.fastq", b"", "no byte at all", "empty")
    c.invalid("blank-lines-only.fastq", b"\n\n\r\n", "blank lines and nothing else", "empty")
    h, s, q = three[1]
    around = fastq(three[:1]), fastq(three[2:])
    middle = lambda record: record.join(around)
    c.invalid(
        "quality-too-short.fastq", middle(fastq([(h, s, q[:-2])])), "60 qualities for 62 bases", "length-mismatch", 2
    )
    c.invalid(
        "quality-too-long.fastq", middle(fastq([(h, s, q + b"I")])), "63 qualities for 62 bases", "length-mismatch", 2
    )
    c.invalid("quality-missing.fastq", middle(fastq([(h, s, b"")])), "an empty quality line", "length-mismatch", 2)
    c.invalid("plus-missing.fastq", middle(b"@%s\n%s\n-\n%s\n" % (h, s, q)), "'-' where '+' must be", "bad-marker", 2)
    c.invalid("at-missing.fastq", middle(b"%s\n%s\n+\n%s\n" % (h, s, q)), "a head without '@'", "bad-marker", 2)
    wrapped = b"@%s\n%s\n%s\n+\n%s\n%s\n" % (h, s[:31], s[31:], b"@" + q[1:31], q[31:])
    c.valid("wrapped.fastq", middle(wrapped), "a sequence over two lines, as old Sanger files have", 3, total(three))
    short = b"@%s\n%s\n%s\n+\n%s\n%s\n" % (h, s[:31], s[31:], q[:31], q[31:-1])
    c.invalid("wrapped-too-short.fastq", middle(short), "the same with a quality less", "length-mismatch", 2)
    mark = b"\xef\xbb\xbf"
    c.valid("byte-order-mark.fastq", mark + good, "a byte order mark before the first head", 3, total(three))
    c.invalid("cr-only.fastq", good.replace(b"\n", b"\r"), "lines end in CR alone, as on old Macintoshes", "not-a-read-file")
    utf_16 = good.decode().encode("utf-16")
    c.invalid("utf-16.fastq", utf_16, "text in UTF-16, as Windows calls Unicode", "not-a-read-file")
    blank = fastq(three[:1]) + b"@%s\n%s\n\n+\n%s\n" % (h, s, q)
    c.invalid("blank-line-inside.fastq", blank, "a blank line inside a record", "bad-marker", 2)
    c.invalid(
        "digit-in-sequence.fastq", middle(fastq([(h, s[:9] + b"7" + s[10:], q)])), "a digit at base 10", "bad-base", 2
    )
    c.invalid("gap-in-sequence.fastq", middle(fastq([(h, s[:9] + b"-" + s[10:], q)])), "'-' at base 10", "bad-base", 2)
    c.invalid(
        "space-in-quality.fastq",
        middle(fastq([(h, s, q[:9] + b" " + q[10:])])),
        "a space among the qualities",
        "bad-quality",
        2,
    )
    c.invalid("cut-in-quality.fastq", good[:-20], "the file ends within the qualities", "truncated", 3)
    c.invalid("cut-in-sequence.fastq", good[: -len(three[2][2]) - 15], "the file ends within the bases", "truncated", 3)
    c.invalid("cut-after-head.fastq", fastq(two) + b"@read3\n", "the file ends after a head", "truncated", 3)
    c.invalid("garbage.fastq", random.Random(7).randbytes(3000), "random bytes", "not-a-read-file")
    c.invalid("letter.txt", b"Dear colleague,\nplease find enclosed the reads.\n", "a text file", "not-a-read-file")
    c.invalid("image.fastq", png(), "a PNG image", "not-a-read-file")
    sam = b"@HD\tVN:1.6\n@SQ\tSN:chr\tLN:1000\nr1\t0\tchr\t1\t60\t4M\t*\t0\t0\tACGT\tIIII\n"
    c.invalid("alignments.sam", sam, "SAM text, which also begins with '@'", "not-a-read-file")


def names(c):
    """Heads."""
    heads = [
        b"read1 runid=42 ch=7 start_time=2024-01-01T00:00:00Z",
        b"read2\tBC:Z:ACGT\tRG:Z:one",
        b"HWI-ST745:1:1101:1097:2038#0/1",
        "read-\N{GREEK SMALL LETTER MU}-4".encode(),
        b"read5 ",
        b"x" * 5000,
    ]
    recs = [(h, sequence(40, i), qualities(40, i)) for i, h in enumerate(heads)]
    c.valid(
        "heads.fastq",
        fastq(recs),
        "heads with a description, tags after a tab, UTF-8, a trailing space, 5,000 letters",
        6,
        240,
    )
    twins = [(b"same", sequence(50, i), qualities(50, i)) for i in range(3)]
    c.valid("duplicate-names.fastq", fastq(twins), "three reads of one name", 3, 150)
    nameless = [(b"", sequence(30, 1), qualities(30, 1)), (b" only a description", sequence(30, 2), qualities(30, 2))]
    c.valid("no-names.fastq", fastq(nameless), "heads without a name", 2, 60)


def sequences(c):
    """Letters."""
    two = records(2)
    unknown = (b"unknown", b"N" * 80, b"!" * 80)
    c.valid("all-n.fastq", fastq([two[0], unknown, two[1]]), "the second read is all N", 2, total(two), {"no_acgt": 1})
    c.valid(
        "only-all-n.fastq", fastq([unknown]), "the only read is all N: a dataset without reads", 0, 0, {"no_acgt": 1}
    )
    iupac = b"ACGTRYSWKMBDHVN"
    c.valid(
        "iupac.fastq",
        fastq([(b"iupac", iupac * 4, b"I" * 60)]),
        "every IUPAC letter (those for several bases count as N)",
        1,
        60,
    )
    c.valid(
        "lower-case.fastq", fastq([(b"soft", two[0][1].lower(), two[0][2]), two[1]]), "soft-masked bases", 2, total(two)
    )
    rna = two[0][1].replace(b"T", b"U")
    c.valid("rna.fastq", fastq([(b"rna", rna, two[0][2]), (b"low", rna.lower(), two[0][2])]), "U instead of T", 2, 122)
    runs = b"N" * 30 + sequence(200, 5) + b"N" + sequence(100, 6) + b"n" * 50
    c.valid(
        "n-runs.fastq", fastq([(b"runs", runs, b"I" * len(runs))]), "runs of N at both ends and inside", 1, len(runs)
    )
    unit = sequence(1000, 8)
    long = fastq([(b"long", unit * 1000, b"I" * 1_000_000), (b"short", unit[:50], b"I" * 50)])
    c.valid("megabase.fastq.gz", gz(long), "a read of 1,000,000 bases, then one of 50", 2, 1_000_050)


def qualities_of_old(c):
    """Characters for qualities that no instrument writes any more."""
    recs = lambda lowest: [(h, s, bytes(max(lowest, 104 - i % 41) for i, _ in enumerate(s))) for h, s, _ in records(60)]
    told = "qualities were read as "
    phred_64 = recs(66)
    c.valid(
        "phred-64.fastq",
        fastq(phred_64),
        "qualities from 'B' to 'h', as Illumina 1.5 wrote them",
        60,
        total(phred_64),
        warning=told + "Phred+64",
    )
    solexa = [(h, s, b";" + q[1:]) for h, s, q in phred_64]
    c.valid(
        "solexa.fastq",
        fastq(solexa),
        "qualities from ';' to 'h', as Solexa wrote them",
        60,
        total(solexa),
        warning=told + "Solexa+64",
    )


def fasta_files(c):
    recs = [(b"contig1 first", sequence(150, 1)), (b"contig2", sequence(61, 2)), (b"contig3", sequence(60, 3))]
    c.valid("wrapped.fasta", fasta(recs), "sequences in lines of 60", 3, 271)
    c.valid(
        "one-line.fasta", fasta([(b"long", sequence(1000, 4) * 70)] + recs, 0), "one line of 70,000 bases", 4, 70_271
    )
    c.valid("crlf.fasta", fasta(recs, 60, b"\r\n"), "lines end in CR LF", 3, 271)
    c.valid("no-final-newline.fasta", fasta(recs)[:-1], "the last line has no line end", 3, 271)
    c.valid("blank-lines.fasta", fasta(recs).replace(b">", b"\n\n>") + b"\n", "blank lines between the records", 3, 271)
    c.valid("named.fastq", fasta(recs), "FASTA in a file named .fastq", 3, 271)
    c.valid("byte-order-mark.fasta", b"\xef\xbb\xbf" + fasta(recs), "a byte order mark before the first head", 3, 271)
    blanks = fasta(recs).replace(b"\n", b" \t\n")
    c.valid("trailing-blanks.fasta", blanks, "a space and a tab at the end of every line", 3, 271)
    hollow = b">first\nACGTACGT\n>hollow\n>last\nGGGGCCCC\n"
    c.valid("empty-record.fasta", hollow, "a head without a sequence between two others", 2, 16, {"empty": 1})
    c.valid(
        "empty-last-record.fasta", hollow[: hollow.index(b">last")], "the last head has no sequence", 1, 8, {"empty": 1}
    )
    c.invalid("protein.fasta", b">ok\nACGTACGT\n>protein\nMKRISTTITTTITITTGNGAG\n", "amino acids", "bad-base", 2)
    c.invalid(
        "digits.fasta",
        b">numbered\n        1 acgtacgt acgtacgt\n",
        "numbers and spaces, as GenBank writes sequences",
        "bad-base",
        1,
    )


def compression(c):
    recs = records(400, 100)
    plain, bases = fastq(recs), total(recs)
    half = len(fastq(recs[:200]))
    c.valid("reads.fastq.gz", gz(plain), "gzip", 400, bases)
    c.valid("members.fastq.gz", gz(plain[:half]) + gz(plain[half:]), "gzip in two members", 400, bases)
    inside = gz(plain[: half + 37]) + gz(b"") + gz(plain[half + 37 :])
    c.valid("members-cut-in-record.fastq.gz", inside, "gzip members that end within a record; one is empty", 400, bases)
    c.valid("gzip-named.fastq", gz(fastq(recs[:2])), "gzip in a file not named .gz", 2, total(recs[:2]))
    blocks = bgzf(plain, 4000)
    c.valid("reads.fastq.bgz", blocks, "BGZF in blocks of 4,000 bytes", 400, bases)
    middle = bgzf(plain[:half], 4000) + bgzf(plain[half:], 5000)
    c.valid(
        "empty-block-inside.fastq.bgz", middle, "two BGZF files joined: an end-of-file block in the middle", 400, bases
    )
    frame = lambda data: filtered(["zstd", "-19", "-c", "-q"], data)
    c.valid("reads.fastq.zst", frame(plain), "Zstandard", 400, bases)
    c.valid("frames.fastq.zst", frame(plain[:half]) + frame(plain[half:]), "Zstandard in two frames", 400, bases)
    c.valid("reads.fasta.gz", gz(fasta([(h, s) for h, s, _ in recs])), "FASTA in gzip", 400, bases)

    first, second = plain[: half + 37], plain[half + 37 :]
    c.valid("bgzf-then-gzip.fastq.gz", bgzf(first, 4000) + gz(second), "BGZF, then a member of plain gzip", 400, bases)
    c.valid("gzip-then-bgzf.fastq.gz", gz(first) + bgzf(second, 4000), "a member of plain gzip, then BGZF", 400, bases)
    c.valid("empty-bgzf-then-gzip.fastq.gz", BGZF_END + gz(plain), "BGZF of nothing, then plain gzip", 400, bases)
    no_end = "the BGZF block that marks the end is missing"
    c.valid(
        "no-end.fastq.bgz",
        blocks[: -len(BGZF_END)],
        "BGZF without the block that marks its end",
        400,
        bases,
        warning=no_end,
    )
    c.valid("zeros-after.fastq.gz", gz(plain) + bytes(1000), "zeros after the last member, as tapes have", 400, bases)
    c.valid(
        "garbage-after.fastq.gz",
        gz(plain) + b"not gzip\n",
        "other bytes after the last member",
        400,
        bases,
        warning="are no gzip and were passed over",
    )
    lost = bytearray(blocks)
    lost[len(bgzf_block(plain[:4000]))] ^= 0x55
    c.invalid("lost-header.fastq.bgz", bytes(lost), "BGZF whose second block does not begin as one", "corrupt")

    packed = gz(plain)
    c.invalid("cut.fastq.gz", packed[: len(packed) // 2], "gzip cut in the middle", "truncated")
    c.invalid("cut-in-trailer.fastq.gz", packed[:-4], "gzip without the last four bytes", "truncated")
    c.invalid("cut-in-header.fastq.gz", packed[:5], "five bytes of gzip", "truncated")
    c.invalid(
        "cut-member.fastq.gz", gz(plain[:half]) + gz(plain[half:])[:-30], "gzip cut in its second member", "truncated"
    )
    c.invalid("cut.fastq.bgz", blocks[: len(blocks) // 2], "BGZF cut within a block", "truncated")
    packed = frame(plain)
    c.invalid("cut.fastq.zst", packed[: len(packed) // 2], "Zstandard cut in the middle", "truncated")
    packed = bytearray(gz(plain))
    packed[-8] ^= 0x55
    c.invalid("checksum.fastq.gz", bytes(packed), "gzip with a wrong CRC", "corrupt")
    first = bgzf_block(plain[:4000])
    broken = bytearray(blocks)
    broken[len(first) - 8] ^= 0x55
    c.invalid("checksum.fastq.bgz", bytes(broken), "BGZF with a wrong CRC in its first block", "corrupt")
    c.invalid("empty.fastq.gz", gz(b""), "gzip of nothing", "empty")
    c.invalid("empty.fastq.bgz", BGZF_END, "BGZF of nothing", "empty")
    c.invalid("empty.fastq.zst", frame(b""), "Zstandard of nothing", "empty")
    c.invalid("twice.fastq.gz.gz", gz(gz(fastq(recs[:5]))), "gzip inside gzip", "not-a-read-file")
    c.invalid("reads.fastq.xz", filtered(["xz", "-c"], fastq(recs[:5])), "xz, which is not read", "not-a-read-file")
    c.invalid(
        "reads.fastq.bz2", filtered(["bzip2", "-c"], fastq(recs[:5])), "bzip2, which is not read", "not-a-read-file"
    )
    c.invalid("letter.txt.gz", gz(b"Dear colleague,\n"), "a text file in gzip", "not-a-read-file")


def mates(c):
    one = [(b"pair%d/1" % i, sequence(50, i), qualities(50, i)) for i in range(1, 5)]
    two = [(b"pair%d/2" % i, sequence(45, 90 + i), qualities(45, i)) for i in range(1, 5)]
    second = c.write("valid/slash_2.fastq", fastq(two))
    c.valid("slash_1.fastq", fastq(one), "mates in two files, named /1 and /2", 8, 4 * 95, mates=second)
    casava = lambda recs, n: [(h[:-2] + b" %d:N:0:ACGT" % n, s, q) for h, s, q in recs]
    second = c.write("valid/casava_2.fastq.gz", gz(fastq(casava(two, 2))))
    c.valid(
        "casava_1.fastq",
        fastq(casava(one, 1)),
        "mates named alike, told apart by the description; R2 in gzip",
        8,
        380,
        mates=second,
    )
    both = [r for pair in zip(one, two) for r in pair]
    c.valid("interleaved.fastq", fastq(both), "mates in turns", 8, 380, pairing="interleaved")
    hidden = [one[0], (b"pair2/1", b"N" * 50, b"!" * 50), one[2], one[3]]
    second = c.write("valid/one-mate-all-n_2.fastq", fastq(two))
    c.valid(
        "one-mate-all-n_1.fastq",
        fastq(hidden),
        "one mate is all N: its pair is left out",
        6,
        285,
        {"no_acgt": 1, "mate_dropped": 1},
        mates=second,
    )

    renamed = lambda recs, old, new: [(h.replace(old, new), s, q) for h, s, q in recs]
    for name, ends, description in (
        ("joined", (b"_1:N:0:ACGT", b"_2:N:0:ACGT"), "Casava's comment joined to the name"),
        ("archive", (b".1", b".2"), "names that end in .1 and .2, as archives write them"),
        ("underscore", (b"_1", b"_2"), "names that end in _1 and _2"),
        ("letters", (b"_R1 x", b"_R2 x"), "names that end in _R1 and _R2"),
    ):
        second = c.write(f"valid/{name}_2.fastq", fastq(renamed(two, b"/2", ends[1])))
        c.valid(f"{name}_1.fastq", fastq(renamed(one, b"/1", ends[0])), description, 8, 380, mates=second)

    again = c.write("invalid/first-again.fastq", fastq([(h, s[::-1], q) for h, s, q in one]))
    c.invalid("first-twice.fastq", fastq(one), "first mates in both files, by /1", "mate-mark", 1, mates=again)
    again = c.write("invalid/casava-first-again.fastq", fastq([(h, s[::-1], q) for h, s, q in casava(one, 1)]))
    c.invalid(
        "casava-first-twice.fastq", fastq(casava(one, 1)), "first mates in both files, by 1:N:0", "mate-mark", 1, mates=again
    )
    first = c.write("invalid/swapped_1.fastq", fastq(one))
    c.invalid("swapped_2.fastq", fastq(two), "the second mates are given first", "mate-mark", 1, mates=first)
    copy = c.write("invalid/copy_2.fastq", fastq(renamed(one, b"/1", b"")))
    c.invalid(
        "copy_1.fastq", fastq(renamed(one, b"/1", b"")), "both files are the same bytes", "equal-mate-files", mates=copy
    )
    odd = c.write("invalid/unlike_2.fastq", fastq(renamed(two, b"pair", b"other")))
    c.invalid("unlike_1.fastq", fastq(one), "names that have nothing in common", "mate-mismatch", 1, mates=odd)
    twice = [r for r in one for _ in range(2)]
    c.invalid("interleaved-twice.fastq", fastq(twice), "each first mate twice", "mate-mark", 1, pairing="interleaved")

    second = c.write("invalid/order_2.fastq", fastq([two[0], two[2], two[1], two[3]]))
    c.invalid(
        "order_1.fastq", fastq(one), "R2 in another order from its second record on", "mate-mismatch", 2, mates=second
    )
    second = c.write("invalid/fewer_2.fastq", fastq(two[:3]))
    c.invalid("fewer_1.fastq", fastq(one), "4 first mates, 3 second ones", "mate-count-mismatch", mates=second)
    second = c.write("invalid/more_2.fastq", fastq(two))
    c.invalid("more_1.fastq", fastq(one[:3]), "3 first mates, 4 second ones", "mate-count-mismatch", mates=second)
    c.invalid(
        "interleaved-odd.fastq",
        fastq(both[:-1]),
        "seven records in turns",
        "mate-count-mismatch",
        pairing="interleaved",
    )
    swapped = both[:2] + [both[2], both[5], both[4], both[3]] + both[6:]
    c.invalid(
        "interleaved-order.fastq",
        fastq(swapped),
        "records 3 and 4 are of two fragments",
        "mate-mismatch",
        3,
        pairing="interleaved",
    )


def sam(rows, references=((b"chr1", 5000), (b"chr2", 5000))):
    header = b"@HD\tVN:1.6\tSO:unsorted\n" + b"".join(b"@SQ\tSN:%s\tLN:%d\n" % r for r in references)
    return header + b"".join(b"\t".join(row) + b"\n" for row in rows)


def row(name, flag, bases, quals=None, reference=b"chr1", position=100, cigar=None, mapq=60):
    cigar = b"*" if flag & 4 else cigar or b"%dM" % len(bases)
    place = [b"*", b"0", b"0"] if flag & 4 else [reference, b"%d" % position, b"%d" % mapq]
    return [name, b"%d" % flag, *place, cigar, b"*", b"0", b"0", bases, b"I" * len(bases) if quals is None else quals]


def alignments(c):
    """BAM."""
    s = lambda i: sequence(80, 200 + i)
    kinds = [
        row(b"forward", 0, s(1)),
        row(b"reverse", 16, s(2), qualities(80, 2), position=300),
        row(b"secondary", 256, s(3)),
        row(b"supplementary", 2048, s(4), cigar=b"40H80M"),
        row(b"unmapped", 4, s(5)),
        row(b"other", 0, s(6), reference=b"chr2", position=4000, mapq=3),
        row(b"secondary-without", 256, b"*", b"*", cigar=b"80M"),
        row(b"without", 0, b"*", b"*", cigar=b"80M"),
        row(b"no-qualities", 0, s(7), b"*"),
        row(b"clipped", 0, s(8), cigar=b"10S60M10S"),
    ]
    c.valid(
        "kinds.bam",
        bam(sam(kinds)),
        "forward, reverse, unmapped, clipped, without qualities; secondary, supplementary and SEQ-less ones are dropped",
        6,
        480,
        {"not_primary": 3, "no_sequence": 1},
    )
    c.valid("bam-named.fastq", bam(sam(kinds[:2])), "BAM in a file named .fastq", 2, 160)
    unmapped = sam([row(b"u%d" % i, 4, s(i)) for i in range(3)], ())
    c.valid("unmapped-no-sq.bam", bam(unmapped), "unmapped reads, no @SQ line", 3, 240)
    operations = 70_000
    unit = sequence(1000, 9)
    many = row(b"operations", 0, unit * (operations // 1000), cigar=b"1M1I" * (operations // 2))
    c.valid(
        "long-cigar.bam",
        bam(sam([many, kinds[0]], ((b"chr1", 100_000),))),
        "70,000 CIGAR operations, stored in the CG tag",
        2,
        70_080,
    )
    big = row(b"big", 4, unit * 1000)
    c.valid(
        "megabase.bam",
        bam(sam([big, row(b"small", 4, s(1))], ())),
        "a read of 1,000,000 bases, then one of 80",
        2,
        1_000_080,
    )
    pairs = [
        row(b"near", 99, s(1)),
        row(b"near", 147, s(2), position=300),
        row(b"far", 163, s(3)),
        row(b"orphan", 65, s(4)),
        row(b"single", 0, s(5)),
        row(b"far", 83, s(6), position=400),
        row(b"lost", 77, s(7)),
        row(b"lost", 141, s(8)),
    ]
    c.valid(
        "pairs.bam",
        bam(sam(pairs)),
        "mates side by side, apart (R2 first), unmapped; one without its mate; one unpaired",
        8,
        640,
    )

    good = bam(sam(kinds))
    stream = decompressed(good)
    large = bam(sam([row(b"r%d" % i, 4, sequence(3000, i)) for i in range(60)], ()))
    c.valid(
        "no-end.bam",
        large[: -len(BGZF_END)],
        "BAM without the block that marks its end",
        60,
        180_000,
        warning="the BGZF block that marks the end is missing",
    )
    c.invalid("garbage-after.bam", large + b"not BAM\n", "bytes after the block that marks the end", "corrupt")
    c.invalid("cut-in-block.bam", large[: len(large) // 2], "BAM cut within a BGZF block", "truncated")
    c.invalid("cut-in-record.bam", bgzf(stream[:-70]), "whole BGZF blocks, but the last record is cut", "truncated", 10)
    c.invalid("cut-in-header.bam", bgzf(stream[:20]), "whole BGZF blocks, but the header is cut", "truncated")
    c.invalid("header-only.bam", bam(sam([])), "a header without records", "empty")
    at = stream.index(b"forward\0") - 36  # the record's size, then 32 bytes, then its name
    (size,) = struct.unpack_from("<I", stream, at)
    patched = lambda offset, value: bgzf(stream[: at + offset] + value + stream[at + offset + len(value) :])
    c.invalid(
        "record-too-small.bam",
        patched(0, struct.pack("<I", size - 60)),
        "a record smaller than its own sequence",
        "corrupt",
        1,
    )
    c.invalid("reference-out-of-range.bam", patched(4, struct.pack("<i", 7)), "reference number 7 of 2", "corrupt", 1)
    c.invalid("name-length-zero.bam", patched(12, b"\0"), "a read name of no byte", "corrupt", 1)
    like = [kinds[0], row(b"equal", 0, s(1)[:10] + b"=" + s(1)[11:])]
    c.invalid(
        "equal-sign.bam",
        bam(sam(like)),
        "'=' (as the reference) at base 11: the bases are not in the file",
        "bad-base",
        2,
    )


def crams(c):
    reference = [(b"chr1", sequence(1200, 71)), (b"chr2", sequence(800, 72))]
    fa = fasta(reference)
    rows = []
    for i in range(40):
        name, bases = reference[i % 2]
        start = 11 * i
        rows.append(row(b"r%d" % i, 16 * (i % 3 == 0), bases[start : start + 90], qualities(90, i), name, start + 1))
    rows.append(row(b"lost", 4, sequence(90, 73)))
    rows.sort(key=lambda r: (r[2] == b"*", r[2], int(r[3])))
    alignment = sam(rows, ((b"chr1", 1200), (b"chr2", 800))).replace(b"SO:unsorted", b"SO:coordinate")
    fasta_file = c.write("valid/reference.fa", fa)
    made = cram(alignment, fa)
    reads = c.valid("reads.cram", made, "CRAM 3.0", 41, 41 * 90, reference=fasta_file)
    c.valid("embedded.cram", cram(alignment, fa, ["embed_ref=1"]), "CRAM that carries its reference", 41, 41 * 90)
    c.valid("no-reference.cram", cram(alignment, fa, ["no_ref=1"]), "CRAM stored without a reference", 41, 41 * 90)
    end = made[-38:]
    c.valid("ends.cram", made + end + end, "the container that marks the end, three times", 41, 3690, reference=fasta_file)
    joined = cram(sam([rows[0]], ((b"chr1", 1200), (b"chr2", 800))), fa)
    body = joined[containers(joined)[1] : -len(end)]
    c.valid("end-inside.cram", made + body + end, "one that marks the end before others", 42, 3780, reference=fasta_file)
    over = [row(b"over", 0, reference[1][1][779:] + sequence(9, 74), None, b"chr2", 780, b"30M")]
    over += [row(b"far", 16, reference[1][1][789:] + sequence(79, 75), None, b"chr2", 790, b"11M3000N79M")]
    over = sam(over, ((b"chr1", 1200), (b"chr2", 800)))
    c.valid(
        "overhang.cram", cram(over, fa), "reads that hang over the end of their reference", 2, 120, reference=fasta_file
    )
    c.valid("overhang-embedded.cram", cram(over, fa, ["embed_ref=1"]), "the same, with the reference in the file", 2, 120)
    many = [(b"c%d" % i, sequence(200, 300 + i)) for i in range(40)]
    on_many = sam([row(n, 0, s[50:140], b"*", n, 51) for n, s in many], [(n, 200) for n, _ in many])
    options = ["no_ref=1", "multi_seq_per_slice=1"]
    c.valid(
        "no-reference-many.cram",
        cram(on_many, fasta(many), options),
        "reads of 40 sequences in one slice, without a reference and without qualities",
        40,
        3600,
    )
    c.invalid("version-2.1.cram", cram(alignment, fa, ["version=2.1"]), "CRAM 2.1", "not-a-read-file")
    c.refuse(reads, "CRAM whose reference is not given", "missing-reference")
    part = c.write("invalid/part.fa", fasta(reference[:1]))
    c.refuse(reads, "the FASTA lacks one of the sequences", "missing-reference", reference=part)
    other = c.write("invalid/other.fa", fasta([(b"chr1", sequence(1200, 81)), (b"chr2", sequence(800, 82))]))
    c.refuse(reads, "sequences of the right names with other bases (the MD5 sums differ)", "corrupt", reference=other)
    bare = c.valid("no-md5.cram", without_md5(made), "no MD5 sums in the header", 41, 3690, reference=fasta_file)
    c.refuse(bare, "the same with other bases: the slices tell", "corrupt", 1, reference=other)
    shorter = c.write("invalid/shorter.fa", fasta([(n, s[:-1]) for n, s in reference]))
    c.refuse(bare, "the same with sequences that lack a base", "corrupt", 1, reference=shorter)
    c.invalid("cut.cram", made[: len(made) // 2], "CRAM cut in the middle", "truncated", reference=fasta_file)
    c.invalid(
        "no-end.cram", made[:-38], "CRAM without the container that marks its end", "truncated", reference=fasta_file
    )


def png():
    """The smallest image: one grey pixel."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")
