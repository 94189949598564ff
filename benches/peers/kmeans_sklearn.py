"""Invar's k-means beside scikit-learn's on the same values, same k, restarts and threads.

    cargo build --release -p invar-cluster --example kmeans_values
    python benches/peers/kmeans_sklearn.py target/release/examples/kmeans_values

Needs numpy and scikit-learn. Two sets of 200,000 x 128 around 50 centres: far apart, and overlapping at unit length as
embeddings do. Prints wall and CPU seconds, their ratios, inertia, ARI against the truth, and ARI between the programs.
On a busy machine the CPU seconds count: scikit-learn's OpenMP threads wait for each other.
"""

import argparse
import os
import resource
import subprocess
import tempfile
import time

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score


def gaussians(n, dim, k, spread, unit, seed):
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, spread, (k, dim))
    truth = rng.integers(0, k, n)
    values = (centers[truth] + rng.normal(0, 1, (n, dim))).astype(np.float32)
    if unit:
        values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values, truth


def cpu_seconds(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def ours(program, values, k, restarts, seed):
    with tempfile.TemporaryDirectory() as directory:
        source, labels = os.path.join(directory, "values.f32"), os.path.join(directory, "labels.i32")
        values.tofile(source)
        before = cpu_seconds(resource.RUSAGE_CHILDREN)
        out = subprocess.run(
            [program, source, str(values.shape[1]), str(k), str(restarts), str(seed), labels],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        cpu = cpu_seconds(resource.RUSAGE_CHILDREN) - before
        return float(out[0]), cpu, float(out[1]), int(out[2]), np.fromfile(labels, dtype=np.int32)


def theirs(values, k, restarts, seed):
    start, before = time.perf_counter(), cpu_seconds(resource.RUSAGE_SELF)
    model = KMeans(k, n_init=restarts, random_state=seed).fit(values)
    cpu = cpu_seconds(resource.RUSAGE_SELF) - before
    return time.perf_counter() - start, cpu, model.inertia_, model.n_iter_, model.labels_


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=3)
    arguments = parser.parse_args()
    print("set\tprogram\twall s\tCPU s\tinertia\titerations\tARI")
    for name, spread, unit in [("apart", 1.0, False), ("overlapping", 0.25, True)]:
        values, truth = gaussians(arguments.rows, arguments.dim, arguments.k, spread, unit, seed=1)
        results = {
            "scikit-learn": theirs(values, arguments.k, arguments.restarts, 0),
            "invar": ours(arguments.program, values, arguments.k, arguments.restarts, 0),
        }
        for program, (wall, cpu, inertia, iterations, labels) in results.items():
            score = adjusted_rand_score(truth, labels)
            print(f"{name}\t{program}\t{wall:.2f}\t{cpu:.2f}\t{inertia:.6g}\t{iterations}\t{score:.4f}")
        peer, own = results["scikit-learn"], results["invar"]
        agreement = adjusted_rand_score(peer[-1], own[-1])
        ratios = f"wall {own[0] / peer[0]:.3f}, CPU {own[1] / peer[1]:.3f}"
        print(f"{name}\tinvar / scikit-learn: {ratios}; ARI between the two {agreement:.4f}", flush=True)


if __name__ == "__main__":
    main()
