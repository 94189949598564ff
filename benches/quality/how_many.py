#!/usr/bin/env python3
"""How many clusters `invar cluster` finds with nothing given, on sets of which the number is known. Prints a row for each set, then
how many are exact and the mean ARI, of the sets that the rule was chosen on and of others.

    how_many.py OUT [--demo DIRECTORY] [--method METHOD]

--demo: what `make demo` left (default: demo-output); its reads and grains make twelve sets. INVAR: the program (default
target/release/invar). METHOD: auto (default), kmeans, leiden.

* chosen on: reads, grains and scikit-learn's digits, all classes and five random subsets of each, every second one uneven; eight
  kinds of synthetic sets, twice: Gaussians that overlap or not, curved patches with noise, clusters of clusters, one cloud, 90/7/3 %;
* others: wine and breast cancer of scikit-learn; clusters of unequal widths and sizes, heavy tails, arcs, 8 % noise, a ball.
"""

import argparse
import csv
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn import datasets
from sklearn.metrics import adjusted_rand_score

HERE = Path(__file__).parent
TRUTH = HERE / "../../test-data/reads/mock-community/truth.tsv"
MOST = 2500


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("f4")


def gaussians(rng, n, k, dim, width, weights=None):
    """Around random directions; `width` is one for all or one a cluster."""
    centres = unit(rng.normal(size=(k, dim)))
    label = rng.choice(k, n, p=None if weights is None else np.asarray(weights) / np.sum(weights))
    width = np.broadcast_to(width, k)[label][:, None]
    return unit(centres[label] + width * rng.normal(size=(n, dim)) / np.sqrt(dim)), label


def patches(rng, n, k, dim, spread, unequal, shared, noise=0.0):
    """Curved pieces of ten dimensions whose directions have something in common."""
    weights = rng.lognormal(0, unequal, k)
    centres = unit(shared * rng.normal(size=(k, 8)) @ rng.normal(size=(8, dim)) + 0.7 * rng.normal(size=(k, dim)))
    label = rng.choice(k, n, p=weights / weights.sum())
    x = np.empty((n, dim))
    for cluster in range(k):
        members = np.flatnonzero(label == cluster)
        axes = rng.normal(size=(10, dim)) / np.sqrt(dim) * np.geomspace(1, 0.3, 10)[:, None]
        z = rng.normal(size=(len(members), 10))
        bent = np.tanh(z @ rng.normal(size=(10, 10)) * 0.5) @ axes[::-1]
        rest = rng.normal(size=(len(members), dim)) * 0.15 / np.sqrt(dim)
        x[members] = centres[cluster] + spread * (z @ axes + 0.25 * bent) + rest
    lost = rng.random(n) < noise
    x[lost] = rng.normal(size=(lost.sum(), dim))
    return unit(x), np.where(lost, -1, label)


def textures(rng):
    """Four compact clusters, and an elongated one of two fifths of the rows."""
    centres = unit(rng.normal(size=(5, 64)))
    label = np.sort(rng.choice(5, 532, p=[0.15, 0.15, 0.15, 0.15, 0.4]))
    x = centres[label] + 0.25 * rng.normal(size=(532, 64)) / 8
    last = label == 4
    x[last] += 0.5 * rng.beta(0.7, 0.7, size=(last.sum(), 4)) @ unit(rng.normal(size=(4, 64)))
    return unit(x), label


def nested(rng):
    """Four directions, three clusters around each."""
    around = np.concatenate([unit(s + 0.88 * rng.normal(size=(3, 128)) / np.sqrt(128)) for s in unit(rng.normal(size=(4, 128)))])
    label = rng.integers(0, 12, 2500)
    return unit(around[label] + 0.5 * rng.normal(size=(2500, 128)) / np.sqrt(128)), label


def cloud(rng):
    x = unit(rng.normal(size=(1, 128))) + 0.6 * rng.normal(size=(2000, 128)) * np.geomspace(3, 0.3, 128) / np.sqrt(128)
    return unit(x), np.zeros(2000, int)


def subsets(name, x, label):
    """All classes, and five random choices of some."""
    kept = label >= 0
    x, label = unit(x[kept]), label[kept]
    step = max(1, len(x) // 2000)
    yield f"{name}, all", x[::step], label[::step]
    rng, classes = np.random.default_rng(5), np.unique(label)
    for trial in range(5):
        chosen = rng.choice(classes, int(rng.integers(2, len(classes))), replace=False)
        rows = np.flatnonzero(np.isin(label, chosen))
        if trial % 2:
            shares = np.minimum(1, rng.lognormal(-0.7, 0.8, len(chosen)))
            of_class = [rng.permutation(np.flatnonzero(label == c)) for c in chosen]
            rows = np.sort(np.concatenate([of[: max(25, int(len(of) * share))] for of, share in zip(of_class, shares)]))
        yield f"{name}, {len(chosen)}{' uneven' if trial % 2 else ''} ({trial})", x[rows][:2000], label[rows][:2000]


def embedded(directory, labels):
    """Vectors of EMB, and the number of each row's label."""
    table = pa.concat_tables([pq.read_table(part) for part in sorted(Path(directory).glob("*.parquet"))])
    x = np.array(table["embedding"].combine_chunks().flatten(), "f4").reshape(len(table), -1)
    found = labels(table)
    names = sorted({name for name in found if name is not None})
    return x, np.array([-1 if name is None else names.index(name) for name in found])


def chosen_on(demo):
    if (demo / "reads/embeddings").is_dir():
        with open(TRUTH) as file:
            truth = {row[0]: row[1] for row in csv.reader(file, delimiter="\t")}
        yield from subsets("reads", *embedded(demo / "reads/embeddings", lambda t: [truth[i] for i in t["id"].to_pylist()]))
    if (demo / "micrographs/embeddings").is_dir():
        yield from subsets("grains", *embedded(demo / "micrographs/embeddings", lambda t: t["class"].to_pylist()))
    x, label = datasets.load_digits(return_X_y=True)
    yield from subsets("digits", x - x.mean(0), label)
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        yield f"textures ({seed})", *textures(rng)
        yield f"like reads ({seed})", *patches(rng, MOST, 10, 128, 0.6, 0.4, 0.6)
        yield f"15 that overlap ({seed})", *gaussians(rng, MOST, 15, 128, 1.6)
        yield f"26 Gaussians ({seed})", *gaussians(rng, MOST, 26, 128, 1.0)
        yield f"40 patches, 2 % noise ({seed})", *patches(rng, MOST, 40, 128, 0.45, 0.9, 0.5, 0.02)
        yield f"4 x 3 ({seed})", *nested(rng)
        yield f"one cloud ({seed})", *cloud(rng)
        yield f"90, 7, 3 % ({seed})", *gaussians(rng, 2000, 3, 128, 1.0, [90, 7, 3])


def others():
    for name, load in (("wine", datasets.load_wine), ("breast cancer", datasets.load_breast_cancer)):
        x, label = load(return_X_y=True)
        yield name, unit((x - x.mean(0)) / x.std(0)), label
    rng = np.random.default_rng(77)
    yield "6 of unequal width", *gaussians(rng, 1500, 6, 32, rng.uniform(0.3, 1.2, 6))
    yield "18 of unequal width and size", *gaussians(rng, 4000, 18, 64, rng.uniform(0.4, 1.1, 18), rng.dirichlet(np.full(18, 2)) + 0.01)
    yield "33 of unequal width", *gaussians(rng, 6000, 33, 128, rng.uniform(0.4, 1.1, 33))
    centres, label = unit(rng.normal(size=(9, 48))), rng.integers(0, 9, 3000)
    yield "9 of heavy tails", unit(centres[label] + 0.35 * rng.standard_t(3, size=(3000, 48)) / np.sqrt(48)), label
    ends, label, t = unit(rng.normal(size=(16, 64))), rng.integers(0, 8, 2500), rng.uniform(0, 0.9, 2500)[:, None]
    arcs = np.cos(t) * ends[label] + np.sin(t) * ends[label + 8] + 0.35 * rng.normal(size=(2500, 64)) / 8
    yield "8 arcs", unit(arcs), label
    x, label = gaussians(rng, 3000, 7, 64, 0.7)
    lost = rng.random(3000) < 0.08
    x[lost] = unit(rng.normal(size=(lost.sum(), 64)))
    yield "7, 8 % noise", x, np.where(lost, -1, label)
    yield "a ball", unit(rng.normal(size=(3000, 16))), np.zeros(3000, int)
    yield "2 that touch", *gaussians(rng, 1000, 2, 16, 1.0)


def found(x, out, method):
    table = {"id": [f"s{i}" for i in range(len(x))], "embedding": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])}
    pq.write_table(pa.table(table), out / "set.parquet")
    program = os.environ.get("INVAR", "target/release/invar")
    command = [program, "cluster", "set.parquet", "--out", "clusters.parquet", "--method", method, "--json", "--force"]
    answer = json.loads(subprocess.run(command, cwd=out, check=True, capture_output=True, text=True).stdout)
    return answer["method"], pq.read_table(out / "clusters.parquet")["cluster"].to_numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--demo", type=Path, default=HERE / "../../demo-output")
    parser.add_argument("--method", default="auto")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    os.environ["INVAR"] = str(Path(os.environ.get("INVAR", HERE / "../../target/release/invar")).resolve())
    for title, sets in (("chosen on", chosen_on(args.demo)), ("others", others())):
        print(f"\n| {title} | rows | clusters | found | ARI | by |\n|---|---|---|---|---|---|")
        rows = []
        for name, x, label in sets:
            by, clusters = found(x, args.out, args.method)
            kept = label >= 0
            number, true = len(np.unique(clusters[clusters >= 0])), len(np.unique(label[kept]))
            rows.append((number == true, adjusted_rand_score(label[kept], clusters[kept])))
            print(f"| {name} | {len(x)} | {true} | {number} | {rows[-1][1]:.3f} | {by} |", flush=True)
        exact = sum(is_exact for is_exact, _ in rows)
        print(f"| **exact** | | {len(rows)} | {exact} | {np.mean([ari for _, ari in rows]):.3f} | |")


main()
