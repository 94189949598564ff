"""How well embeddings of nodes tell their classes, beside GRACE in PyTorch Geometric with its own settings.

    nodes.py GRAPHS OUT [--graphs cora citeseer] [--seeds 5] [--first 10] [--neighbors negatives positives] [--peer PYTHON]

GRAPHS holds NAME.nodes.tsv.gz (`id`, `label`, `features`, `split`) and NAME.edges.tsv.gz. PYTHON has torch and torch_geometric; this
one needs numpy, pyarrow and scikit-learn. Without it there is no peer. INVAR is the program (default target/release/invar). OUT keeps
what was done; remove it to measure anew. Seeds 0 to 2 are those on which settings were chosen.

A linear probe on frozen embeddings, as GRACE's: 10 % of the nodes at random, logistic regression, C by five folds of those; seed S
trains with seed S and splits with seed S. Times are CPU seconds of training: of the peer its loop alone, of Invar the whole command.
"""

import argparse
import csv
import gzip
import json
import os
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split

HERE = Path(__file__).resolve().parent
INVAR = os.environ.get("INVAR", str(HERE.parents[1] / "target/release/invar"))


def probe(x, labels, seed):
    warnings.filterwarnings("ignore")
    known = np.array([label != "" for label in labels])
    x, y = x[known], np.array(labels)[known]
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.9, random_state=seed)
    grid = {"C": 2.0 ** np.arange(-4, 10, 2)}
    model = GridSearchCV(LogisticRegression(max_iter=300), grid, cv=5).fit(x_train, y_train)
    return float((model.predict(x_test) == y_test).mean())


def invar(*args):
    subprocess.run([INVAR, *map(str, args)], check=True, stdout=subprocess.DEVNULL)


def ours(graphs, name, seed, neighbors, out):
    data = out / f"{name}.data"
    tables = [graphs / f"{name}.{table}.tsv.gz" for table in ("nodes", "edges")]
    invar("ingest", "graph", *tables, "--out", data, "-q")
    stem = out / f"{name}.invar.{neighbors}.{seed}"
    log, embeddings = Path(f"{stem}.log"), Path(f"{stem}.parquet")
    if not embeddings.exists():
        log.unlink(missing_ok=True)
        common = ["--seed", seed, "--log", log, "-q", "--force"]
        settings = ["--set", f"source.pairs.neighbors={neighbors}"]
        invar("train", "graphs/nodes", "--data", data, "--out", f"{stem}.run", *settings, *common)
        invar("embed", "--model", f"{stem}.run", "--data", data, "--out", embeddings, "--probe", 0, *common)
    stages = [json.loads(line) for line in log.read_text().splitlines()]
    table = pq.read_table(embeddings)
    x = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
    return table["id"].to_pylist(), x, stages[0]["cpu_s"]


def peer(graphs, name, seed, python, out):
    stem = out / f"{name}.grace.{seed}"
    figures = Path(f"{stem}.json")
    if not figures.exists():
        tables = [graphs / f"{name}.{table}.tsv.gz" for table in ("nodes", "edges")]
        command = [python, HERE.parent / "peers/grace_pyg.py", *tables, f"{stem}.npz", "--graph", name, "--seed", seed]
        done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
        figures.write_text(done.stdout.splitlines()[-1])
    found = np.load(f"{stem}.npz")
    return list(found["ids"]), found["embedding"], json.loads(figures.read_text())["cpu_s"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("graphs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--graphs", dest="names", nargs="+", default=["cora", "citeseer"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=10)
    parser.add_argument("--neighbors", nargs="*", default=["negatives", "positives"])
    parser.add_argument("--peer")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        with gzip.open(args.graphs / f"{name}.nodes.tsv.gz", "rt") as file:
            labels = {row["id"]: row["label"] for row in csv.DictReader(file, delimiter="\t")}
        methods = {f"invar, neighbours {role}": lambda seed, role=role: ours(args.graphs, name, seed, role, args.out) for role in args.neighbors}
        if args.peer:
            methods["GRACE, PyTorch Geometric"] = lambda seed: peer(args.graphs, name, seed, args.peer, args.out)
        for method, run in methods.items():
            scores, seconds = [], []
            for seed in range(args.first, args.first + args.seeds):
                ids, x, cpu_s = run(seed)
                scores.append(probe(x, [labels[i] for i in ids], seed))
                seconds.append(cpu_s)
            print(f"{name:9} {method:32} accuracy {np.mean(scores):.4f} +- {np.std(scores):.4f}  training {np.mean(seconds):.1f} CPU s", flush=True)


if __name__ == "__main__":
    main()
