#!/usr/bin/env python3
"""Make the specimen corpus, the small real files, and ../index.toml.

    make.py [--cache DIR]

`specimens.py` holds the hand-made files (each one valid or invalid in one way), `real.py` the slices of instrument files that
Debian packages ship. This script writes them and the index. Needs Python 3.11, samtools (BAM and CRAM are made by it and not by
us, so that a test against them is a test against the field's own implementation), zstd, xz, bzip2, and Debian 12's apt for the
real files (see ../debian.py). Byte-identical when remade with the same samtools, zlib and zstd.
"""

import argparse
import shutil
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]
import real
import specimens
from debian import Packages

HEADER = """\
# The specimens of reads: what `invar ingest reads` must accept, and what it must refuse.
# Written by corpus/make.py.
#
# [[genome]]   where the genomes of mock-community come from; licence: of the Debian package, from its copyright file
# [[valid]]    file, description, origin, licence
#              reads, bases: rows and bases in the dataset, with default settings and the options below
#              dropped: reason -> records left out (the names of the ingest counts)
#              warning: what is said of it; nothing of the others
# [[invalid]]  file, description, origin, licence
#              error: the ErrorKind, by name
#              record: number of the record the message must name, 1-based, where it is known
# options      mates: the R2 file · pairing = "interleaved" · reference: the FASTA for CRAM. Paths are relative to this file.
# Counts were taken by the scripts from what they wrote or, for real files, by samtools; never by Invar itself.
"""


def toml_value(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, int):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def table(kind, entry):
    return f"[[{kind}]]\n" + "".join(f"{k} = {toml_value(v)}\n" for k, v in entry.items() if v not in (None, {}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("target/debian-packages"), help="where packages are kept")
    args = parser.parse_args()
    for directory in ("valid", "invalid"):
        shutil.rmtree(HERE / directory, ignore_errors=True)
        (HERE / directory).mkdir()
    shutil.rmtree(ROOT / "real", ignore_errors=True)
    (ROOT / "real").mkdir()
    entries = real.make(ROOT, Packages(args.cache)) + specimens.make(ROOT)
    tables = [real.genome_tables(table)] + [table(kind, entry) for kind, entry in entries]
    index = HEADER + "\n" + "\n".join(tables)
    parsed = tomllib.loads(index)
    for entry in parsed["valid"] + parsed["invalid"]:
        for key in ("file", "mates", "reference"):
            assert key not in entry or (ROOT / entry[key]).is_file(), entry
    listed = {
        entry[key]
        for entry in parsed["valid"] + parsed["invalid"]
        for key in ("file", "mates", "reference")
        if key in entry
    }
    made = {str(p.relative_to(ROOT)) for d in (HERE / "valid", HERE / "invalid", ROOT / "real") for p in d.iterdir()}
    assert made <= listed, made - listed
    (ROOT / "index.toml").write_text(index)
    print(f"{len(parsed['valid'])} valid, {len(parsed['invalid'])} invalid")


if __name__ == "__main__":
    main()
