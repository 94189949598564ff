#!/usr/bin/env python3
"""Print the table of run.sh from the JSON files in its OUT: `table.py OUT`."""

import json
import sys
from pathlib import Path

from score import COLUMNS


def main():
    out = Path(sys.argv[1])
    print("| fragment | method | " + " | ".join(COLUMNS) + " |\n|---|---|" + "---:|" * len(COLUMNS))
    for kb in (1, 2, 5):
        kmers = json.loads((out / f"kmers_{kb}kb.json").read_text())
        rows = {f"canonical 4-mers, {name}": result for name, result in kmers.items()}
        rows["invar"] = json.loads((out / f"invar_{kb}kb.json").read_text())
        for name, result in rows.items():
            print(f"| {kb} kb | {name} | " + " | ".join(f"{result[c]:.3f}" for c in COLUMNS) + " |")
    print("\n`invar evaluate` of the same embeddings:\n")
    for kb in (1, 2, 5):
        print(f"{kb} kb: {(out / f'evaluate_{kb}kb.json').read_text().strip()}")


if __name__ == "__main__":
    main()
