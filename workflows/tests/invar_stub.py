#!/usr/bin/env python3
"""Stands for `invar federate merge UPDATE... --global GLOBAL --out OUT --skip-refused` in test_flower.py: the files of GLOBAL, and how many updates."""

import shutil
import sys
from pathlib import Path

words = sys.argv[3:]
updates, state, out = words[: words.index("--global")], words[words.index("--global") + 1], words[words.index("--out") + 1]
good = [update for update in updates if "bad" not in (Path(update) / "update.json").read_text()]
for update in set(updates) - set(good):
    print(f"warning: left out: {update}: expected an update, found a bad one", file=sys.stderr)
partial = Path(f"{out}.partial")
shutil.copytree(state, partial)
(partial / "global.json").write_text(f"of {len(good)} updates")
partial.rename(out)
print(f"{len(good)} updates merged")
