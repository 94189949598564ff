#!/usr/bin/env python3
"""What federated training is worth: sites alone, FedAvg, FedAvg with a bank of keys, and all samples in one place.

    federation.py reads GENOMES WORK [--seeds 5] [--set KEY=VALUE ...]
    federation.py surfaces IMAGES WORK [--seeds 5] [--set KEY=VALUE ...]

INVAR is the program (default target/release/invar). Reads: the species of GENOMES (species.tsv), the largest first, are dealt out to four
sites, four each where there are 16; a site has 800 reads of 10 kb, and the figures are of 60 fresh fragments of 2 kb a species. Surfaces:
the images of IMAGES, named CLASS_NUMBER.jpg, are dealt out by class to three sites, two thirds of each class; each site has a light of
its own (gamma 0.7, 1 and 1.4), and the figures are of the last third, under another (1.15). All ways to train take as many steps. The
recipe of surfaces has no bank: --set federation.keys=64 gives it one.

Accuracy and ARI are those of `invar evaluate`: nearest neighbour, and k-means with the true number of classes. Needs numpy, Pillow.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
INVAR = os.environ.get("INVAR", str(HERE.parents[1] / "target/release/invar"))
# Settings of `invar federate simulate`, by name.
WAYS = {
    "FedAvg, no bank": ["--set", "federation.keys=0"],
    "FedAvg + bank": [],
    "bank 3 rounds stale": ["--stale", "3"],
    "bank 10 rounds stale": ["--stale", "10"],
    "one site lost in every other round": ["--lost", "0.01"],
}


def invar(*words):
    done = subprocess.run([INVAR, *map(str, words)], text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stderr}")
    return done.stdout


def reads(genomes, work, seed):
    """Data of each site, and data and truth of the fragments."""
    with open(HERE / "species.tsv") as file:
        rows = [row for row in csv.DictReader((line for line in file if line[0] != "#"), delimiter="\t")]
    species = {}
    for row in rows:
        path = Path(genomes) / row["file"]
        if path.exists() and path.stat().st_size > 100_000:
            species.setdefault(row["species"], []).append(path)
    order = sorted(species, key=lambda name: -max(path.stat().st_size for path in species[name]))
    sites = [order[site::4] for site in range(4)]
    fragments = work / "fragments"
    for number, names in enumerate([*sites, order]):
        out = work / (f"site-{number + 1}" if number < 4 else "all")
        if (out / "mixture.json").exists():
            continue
        chosen = out / "genomes"
        chosen.mkdir(parents=True, exist_ok=True)
        for name in names:
            for path in species[name]:
                (chosen / path.name).unlink(missing_ok=True)
                (chosen / path.name).symlink_to(path.resolve())
        words = ["--seed", seed * 10 + number, "--reads", 800 if number < 4 else 64, "--read-bp", 10_000, "--fragments-per-species", 60]
        subprocess.run([sys.executable, HERE / "make_mixture.py", chosen, out, *map(str, words)], check=True, capture_output=True)
    data = []
    for number in range(4):
        data.append(work / f"data-{number + 1}")
        if not data[-1].exists():
            invar("ingest", "reads", work / f"site-{number + 1}/train.fastq.gz", "--out", data[-1], "-q")
    if not fragments.exists():
        invar("ingest", "reads", work / "all/frag_2kb.fastq.gz", "--out", fragments, "-q")
    return data, fragments, work / "all/frag_2kb.truth.tsv", "species"


def surfaces(images, work, seed):
    """As `reads`."""
    import random

    from PIL import Image

    classes = {}
    for path in sorted(Path(images).glob("*.jpg")):
        classes.setdefault(path.stem.rsplit("_", 1)[0], []).append(path)
    names = sorted(classes)
    random.Random(seed).shuffle(names)
    places = [(work / f"images-{number + 1}", names[number::3], gamma) for number, gamma in enumerate((0.7, 1.0, 1.4))]
    truth, test = work / "truth.tsv", work / "images-test"
    lines = ["id\tclass"]
    for name in names:
        paths = list(classes[name])
        random.Random(f"{seed} {name}").shuffle(paths)
        third = len(paths) // 3
        for number, path in enumerate(paths):
            if number < third:
                to, gamma = test, 1.15
                lines.append(f"{path.stem}#1\t{name}")
            else:
                to, gamma = next((place, gamma) for place, own, gamma in places if name in own)
            to.mkdir(parents=True, exist_ok=True)
            picture = Image.open(path).convert("L")
            picture.point([round(255 * (value / 255) ** gamma) for value in range(256)]).save(to / f"{path.stem}.png")
    truth.write_text("\n".join(lines) + "\n")
    data = []
    for place in [*(place for place, _, _ in places), test]:
        data.append(work / place.name.replace("images", "data"))
        if not data[-1].exists():
            invar("ingest", "micrographs", place, "--whole-image", "--out", data[-1], "-q")
    return data[:-1], data[-1], truth, "class"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("domain", choices=["reads", "surfaces"])
    parser.add_argument("source")
    parser.add_argument("work")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--only", nargs="*", help="only these ways")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    recipe = {"reads": "reads/federated", "surfaces": "micrographs/federated"}[args.domain]
    settings = [word for setting in args.set for word in ("--set", setting)]
    found = {}

    def measure(way, seed, model, sets):
        data, test, truth, column = sets
        out = Path(args.work) / "embedded"
        invar("embed", "--model", model, "--data", test, "--out", out, "-q", "--force", "--probe", "0")
        scores = json.loads(invar("evaluate", out, "--labels", truth, "--label-column", column, "--json", "-q"))
        ari, nearest = scores["kmeans"]["ari"], scores["recall_at_1"]
        found.setdefault(way, {}).setdefault(seed, []).append((ari, nearest))
        print(f"  seed {seed} {way}: ARI {ari:.3f}, 1-NN {nearest:.3f}", flush=True)

    for seed in range(args.first, args.first + args.seeds):
        work = Path(args.work) / f"{args.domain}-{seed}"
        work.mkdir(parents=True, exist_ok=True)
        sets = {"reads": reads, "surfaces": surfaces}[args.domain](args.source, work, seed)
        places = [word for data in sets[0] for word in ("--data", data)]
        begin = work / "begin"
        common = ["--seed", seed, "--force", *settings]
        invar("federate", "init", recipe, *places, "--out", begin, *common, "-q")
        facts = json.loads((begin / "global.json").read_text())["federation"]
        steps = ["--set", f"train.steps={facts['rounds'] * facts['local_steps']}"]
        wanted = lambda way: args.only is None or way in args.only
        if wanted("no training"):
            measure("no training", seed, begin, sets)
        if wanted("each site alone"):
            for number, data in enumerate(sets[0]):
                invar("train", recipe, "--data", data, "--out", work / "alone", *common, *steps, "-q")
                measure("each site alone", seed, work / "alone", sets)
        for way, words in WAYS.items():
            if wanted(way):
                out = work / way.replace(" ", "-").replace(",", "")
                invar("federate", "simulate", recipe, *places, "--out", out, *common, *words, "-q")
                measure(way, seed, out, sets)
        if wanted("centralised"):
            invar("train", recipe, *places, "--out", work / "central", *common, *steps, "-q")
            measure("centralised", seed, work / "central", sets)
    print("\n| | ARI | 1-NN |\n|---|---|---|")
    for way, of_seeds in found.items():
        means = [[statistics.mean(run[figure] for run in runs) for runs in of_seeds.values()] for figure in range(2)]
        spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in means]
        print(f"| {way} | {statistics.mean(means[0]):.3f} +- {spread[0]:.3f} | {statistics.mean(means[1]):.3f} +- {spread[1]:.3f} |")


if __name__ == "__main__":
    main()
