"""Invar's k-means beside scikit-learn's on the same values, same k, restarts and threads.

    cargo build --release -p invar-cluster --example kmeans_values
    python benches/peers/kmeans_sklearn.py target/release/examples/kmeans_values

Needs numpy and scikit-learn. Two sets of 200,000 x 128 around 50 centres: far apart, and overlapping at unit length as
embeddings do. Prints seconds, the ratio, inertia, ARI against the truth, and that of the two programs to each other.
"""

import argparse
import os
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


def ours(program, values, k, restarts, seed):
    with tempfile.TemporaryDirectory() as directory:
        source, labels = os.path.join(directory, "values.f32"), os.path.join(directory, "labels.i32")
        values.tofile(source)
        out = subprocess.run(
            [program, source, str(values.shape[1]), str(k), str(restarts), str(seed), labels],
            check=True, capture_output=True, text=True,
        ).stdout.split()
        return float(out[0]), float(out[1]), int(out[2]), np.fromfile(labels, dtype=np.int32)


def theirs(values, k, restarts, seed):
    start = time.perf_counter()
    model = KMeans(k, n_init=restarts, random_state=seed).fit(values)
    return time.perf_counter() - start, model.inertia_, model.n_iter_, model.labels_


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=3)
    arguments = parser.parse_args()
    print("set\tprogram\tseconds\tinertia\titerations\tARI")
    for name, spread, unit in [("apart", 1.0, False), ("overlapping", 0.25, True)]:
        values, truth = gaussians(arguments.rows, arguments.dim, arguments.k, spread, unit, seed=1)
        results = {
            "scikit-learn": theirs(values, arguments.k, arguments.restarts, 0),
            "invar": ours(arguments.program, values, arguments.k, arguments.restarts, 0),
        }
        for program, (seconds, inertia, iterations, labels) in results.items():
            score = adjusted_rand_score(truth, labels)
            print(f"{name}\t{program}\t{seconds:.2f}\t{inertia:.6g}\t{iterations}\t{score:.4f}")
        (peer, _, _, peer_labels), (own, _, _, own_labels) = results["scikit-learn"], results["invar"]
        agreement = adjusted_rand_score(peer_labels, own_labels)
        print(f"{name}\tratio of times {own / peer:.3f}, ARI between the two {agreement:.4f}")


if __name__ == "__main__":
    main()
