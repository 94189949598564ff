"""How much memory and time a large graph takes: makes one, ingests it, trains, embeds.

    graph_memory.py OUT [--nodes 500000] [--edges 5000000] [--features 64] [--steps 200]

INVAR is the program (default target/release/invar). Nodes are of 50 groups: nine in ten edges stay within, features are those of the
group with noise; one node is joined to 100,000 others. Needs numpy.
"""

import argparse
import json
import os
import subprocess
from pathlib import Path

import numpy as np

INVAR = os.environ.get("INVAR", str(Path(__file__).resolve().parents[1] / "target/release/invar"))
NUM_GROUPS = 50


def make(out, num_nodes, num_edges, num_features):
    draw = np.random.default_rng(20)
    group = draw.integers(NUM_GROUPS, size=num_nodes)
    members = [np.flatnonzero(group == g) for g in range(NUM_GROUPS)]
    centres = draw.normal(size=(NUM_GROUPS, num_features))
    with open(out / "nodes.tsv", "w") as file:
        names = "\t".join(f"f{i}" for i in range(num_features))
        file.write(f"id\tgroup\t{names}\n")
        for first in range(0, num_nodes, 10_000):
            own = group[first : first + 10_000]
            x = centres[own] + draw.normal(size=(len(own), num_features)) * 2
            for node, (g, row) in enumerate(zip(own, x), first):
                values = "\t".join(f"{value:.3f}" for value in row)
                file.write(f"n{node}\tg{g}\t{values}\n")
    with open(out / "edges.tsv", "w") as file:
        file.write("source\ttarget\n")
        hub = min(100_000, num_nodes - 1)
        file.writelines(f"n0\tn{node}\n" for node in range(1, hub + 1))
        for first in range(0, num_edges - hub, 100_000):
            number = min(100_000, num_edges - hub - first)
            a, stays = draw.integers(num_nodes, size=number), draw.random(number) < 0.9
            within = np.array([members[g][int(u * len(members[g]))] for g, u in zip(group[a], draw.random(number))])
            b = np.where(stays, within, draw.integers(num_nodes, size=number))
            file.writelines(f"n{x}\tn{y}\n" for x, y in zip(a, b))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    for name, default in (("nodes", 500_000), ("edges", 5_000_000), ("features", 64), ("steps", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / "edges.tsv").exists():
        make(args.out, args.nodes, args.edges, args.features)
    log = args.out / "log.jsonl"
    log.unlink(missing_ok=True)

    def invar(*words):
        subprocess.run([INVAR, *map(str, words), "--log", str(log), "-q", "--force"], check=True, stdout=subprocess.DEVNULL)

    data, run = args.out / "data", args.out / "run"
    invar("ingest", "graph", args.out / "nodes.tsv", args.out / "edges.tsv", "--features", "f*", "--out", data)
    settings = [word for key in (f"train.steps={args.steps}", "source.view.fanout=10", "source.embed.fanout=32") for word in ("--set", key)]
    invar("train", "graphs/nodes", "--data", data, "--out", run, *settings)
    invar("embed", "--model", run, "--data", data, "--out", args.out / "emb", "--probe", 0)
    for line in log.read_text().splitlines():
        stage = json.loads(line)
        print({key: stage.get(key) for key in ("stage", "elapsed_s", "cpu_s", "peak_memory_bytes", "num_rows")})


if __name__ == "__main__":
    main()
