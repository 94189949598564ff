#!/usr/bin/env python3
"""Average nucleotide identity between genomes, by k-mer containment: the evidence behind species.tsv.

    ani.py FASTA...

ANI is estimated as (2 J / (1 + J))^(1/k) from the Jaccard index J of the canonical 21-mers whose hash is below 1/200 of the range
(Mash, Ondov et al. 2016, with a FracMinHash sketch). Prints the pairs above 80 %; species are drawn at 95 %.
"""

import gzip
import itertools
import lzma
import sys
from pathlib import Path

import numpy as np

K, SCALE = 21, 200
CODE = np.full(256, 4, dtype=np.uint64)
for _code, _pair in enumerate(("Aa", "Cc", "Gg", "Tt")):
    for _char in _pair:
        CODE[ord(_char)] = _code


def sketch(path):
    """The hashes of a genome's canonical 21-mers that fall into the sampled part."""
    data = {".gz": gzip.decompress, ".xz": lzma.decompress}.get(path.suffix, bytes)(path.read_bytes())
    kept = []
    for entry in data.split(b">")[1:]:
        codes = CODE[np.frombuffer(b"".join(entry.partition(b"\n")[2].split()), dtype=np.uint8)]
        n = len(codes) - K + 1
        if n <= 0:
            continue
        forward, reverse = np.zeros(n, dtype=np.uint64), np.zeros(n, dtype=np.uint64)
        known = np.ones(n, dtype=bool)
        for i in range(K):
            base = codes[i : i + n]
            known &= base < 4
            forward = forward * np.uint64(4) + base % np.uint64(4)
            reverse += (np.uint64(3) - base % np.uint64(4)) << np.uint64(2 * i)
        kmers = np.minimum(forward, reverse)[known]
        kmers ^= kmers >> np.uint64(33)  # the finalizer of MurmurHash3
        kmers *= np.uint64(0xFF51AFD7ED558CCD)
        kmers ^= kmers >> np.uint64(33)
        kept.append(kmers[kmers < np.uint64(2**64 // SCALE)])
    return np.unique(np.concatenate(kept))


def main():
    paths = [Path(p) for p in sys.argv[1:]]
    if len(paths) < 2:
        sys.exit(__doc__)
    sketches = {path: sketch(path) for path in paths}
    for a, b in itertools.combinations(paths, 2):
        shared = len(np.intersect1d(sketches[a], sketches[b], assume_unique=True))
        jaccard = shared / (len(sketches[a]) + len(sketches[b]) - shared)
        ani = (2 * jaccard / (1 + jaccard)) ** (1 / K)
        if ani > 0.80:
            print(f"{100 * ani:.1f}\t{a.name}\t{b.name}")


if __name__ == "__main__":
    main()
