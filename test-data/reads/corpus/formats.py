"""Writers of the formats the specimens need, plain enough to break on purpose."""

import gzip
import hashlib
import os
import re
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

# The empty block that marks the end of a BGZF file (SAM specification, section 4.1.2).
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def fastq(records, end=b"\n"):
    """FASTQ of (head, bases, qualities) in four lines each."""
    return b"".join(b"@" + h + end + s + end + b"+" + end + q + end for h, s, q in records)


def fasta(records, width=60, end=b"\n"):
    """FASTA of (head, bases), wrapped at `width` (0: one line)."""
    lines = []
    for head, bases in records:
        lines.append(b">" + head)
        step = width or max(1, len(bases))
        lines += [bases[i : i + step] for i in range(0, len(bases), step)]
    return end.join(lines) + end


def gz(data, level=9):
    """One gzip member, without a time."""
    return gzip.compress(data, level, mtime=0)


def bgzf_block(data):
    """One BGZF block of at most 64 KiB."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    header = struct.pack("<4BI2BH2BHH", 31, 139, 8, 4, 0, 0, 255, 6, 66, 67, 2, len(body) + 25)
    return header + body + struct.pack("<II", zlib.crc32(data), len(data))


def bgzf(data, block_bytes=0xFF00, end=True):
    """BGZF; `end` adds the end-of-file block."""
    blocks = [bgzf_block(data[i : i + block_bytes]) for i in range(0, len(data), block_bytes)]
    return b"".join(blocks) + (BGZF_END if end else b"")


def filtered(command, data, **environment):
    """What a program makes of `data`."""
    return subprocess.run(command, input=data, capture_output=True, check=True, env=os.environ | environment).stdout


def samtools(*arguments, data=b"", **environment):
    return filtered(["samtools", *arguments], data, **environment)


def bam(sam):
    """BAM by samtools, of SAM text."""
    return samtools("view", "-b", "--no-PG", "-", data=sam)


def cram(sam, reference, options=()):
    """CRAM 3.0 by samtools. It finds the reference by its MD5 sum; given a FASTA it would write the path of this machine."""
    with tempfile.TemporaryDirectory() as directory:
        for entry in reference.split(b">")[1:]:
            name, _, body = entry.partition(b"\n")
            bases = b"".join(body.split()).upper()
            md5 = hashlib.md5(bases).hexdigest()
            (Path(directory) / md5).write_bytes(bases)
            line = rb"(@SQ\tSN:%s\tLN:\d+)" % re.escape(name.split()[0])
            sam = re.sub(line, rb"\1\tM5:" + md5.encode(), sam)
        options = [f"--output-fmt-option={o}" for o in ("version=3.0", *options)]
        made = samtools("view", "-C", "--no-PG", *options, "-", data=sam, REF_PATH=f"{directory}/%s", REF_CACHE="")
        assert samtools("view", "-H", "--no-PG", "-", data=made).count(b"UR:") == 0
        return made


def without_md5(made):
    """CRAM without the sums of its references in the header."""
    with tempfile.TemporaryDirectory() as directory:
        header = re.sub(rb"\tM5:[0-9a-f]+", b"", samtools("view", "-H", "--no-PG", "-", data=made))
        (Path(directory) / "header").write_bytes(header)
        (Path(directory) / "in.cram").write_bytes(made)
        return samtools("reheader", "--no-PG", f"{directory}/header", f"{directory}/in.cram")


def containers(made):
    """Where the containers of CRAM 3 begin, that of the header first."""
    starts, at = [], 26
    while at < len(made):
        starts.append(at)
        (length,) = struct.unpack_from("<i", made, at)
        at += 4
        for kind in "iiiilli":  # reference, start, span, records, counter, bases, blocks
            at += number_bytes(made[at], kind)
        num_slices, at = made[at], at + number_bytes(made[at], "i")
        assert num_slices < 128
        for _ in range(num_slices):
            at += number_bytes(made[at], "i")
        at += 4 + length
    return starts


def number_bytes(first, kind):
    """Length of an ITF8 (i) or LTF8 (l) number, from its first byte."""
    ones = next((n for n in range(8) if not first & 0x80 >> n), 8)
    return 1 + min(ones, 4 if kind == "i" else 8)


def decompressed(data):
    """The stream inside BGZF or gzip."""
    return gzip.decompress(data)
