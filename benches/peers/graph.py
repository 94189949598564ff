"""What Invar makes of the graph of nearest neighbours, beside its peers, on the same values and threads.

    cargo build --release -p invar-cluster --example graph_values
    python benches/peers/graph.py target/release/examples/graph_values --rows 50000 --stage umap

Needs numpy, scipy and scikit-learn, and of the peers those that are asked for: umap-learn (umap),
hdbscan (hdbscan: use --rows 20000, the exact peer takes minutes), faiss-cpu (--faiss).
Two sets of 128 dimensions at unit length: `mix`, 40 unequal curved patches of ten dimensions and 2 % noise, and `gauss`, 50
Gaussians of all dimensions. CPU seconds count: on a busy machine wall time says little.

umap: `kept` is the share of the 15 nearest rows that are among the 15 nearest places, `global` the rank correlation of the
distances between the means of the true groups before and after. The time is with the search for neighbours.
"""

import argparse
import os
import resource
import subprocess
import tempfile
import warnings

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

K = 15


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def gauss(n, k=50, dim=128, seed=0):
    rng = np.random.default_rng(seed)
    centers, labels = unit(rng.normal(size=(k, dim))), rng.integers(0, k, n)
    return unit(centers[labels] + rng.normal(size=(n, dim)) * 1.05 / np.sqrt(dim)), labels


def mix(n, k=40, dim=128, seed=1):
    """Correlated centres, groups of lognormal size, each a patch of ten dimensions bent by a tanh; noise is labelled -1."""
    rng, inner = np.random.default_rng(seed), 10
    share = rng.lognormal(0, 0.9, k)
    base = rng.normal(size=(8, dim))
    centers = unit(rng.normal(size=(k, 8)) @ base * 0.5 + rng.normal(size=(k, dim)) * 0.7)
    labels = rng.choice(k, n, p=share / share.sum())
    x = np.empty((n, dim), np.float32)
    for group in range(k):
        members = np.flatnonzero(labels == group)
        axes = rng.normal(size=(inner, dim)) / np.sqrt(dim) * np.geomspace(1, 0.3, inner)[:, None]
        at = rng.normal(size=(len(members), inner))
        bent = np.tanh(at @ rng.normal(size=(inner, inner)) * 0.5)
        rough = rng.normal(size=(len(members), dim)) * 0.15 / np.sqrt(dim)
        x[members] = centers[group] + 0.45 * (at @ axes) + 0.1125 * (bent @ axes[::-1]) + rough
    noise = rng.random(n) < 0.02
    x[noise] = rng.normal(size=(noise.sum(), dim))
    labels[noise] = -1
    return unit(x), labels


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def ours(program, values, stages, directory):
    """CPU seconds, what is said and the bytes of each stage."""
    source, out = os.path.join(directory, "values.f32"), os.path.join(directory, "out")
    values.tofile(source)
    command = [program, source, str(values.shape[1]), out, *stages]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line.split("\t") for line in text.splitlines()]
    read = lambda stage: open(f"{out}.{'knn' if stage == 'neighbors' else stage}", "rb").read()
    return {stage: (float(cpu), said, read(stage)) for stage, _, cpu, said in lines}


def judge_map(values, labels, near, places):
    found = NearestNeighbors(n_neighbors=K + 1).fit(places).kneighbors(places, return_distance=False)[:, 1:]
    kept = np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, near)]) / K
    groups = np.unique(labels[labels >= 0])
    means = lambda of: np.array([of[labels == group].mean(0) for group in groups])
    order = spearmanr(pdist(means(values)), pdist(means(places))).statistic
    return f"kept {kept:.4f}, global {order:.3f}"


def compare_umap(own, values, labels):
    import umap

    near = np.frombuffer(own["neighbors"][2], "<u4").reshape(-1, K)
    places = np.frombuffer(own["umap"][2], "<f4").reshape(-1, 2)
    cpu = own["neighbors"][0] + own["umap"][0]
    print(f"umap\tinvar\t{cpu:.1f} CPU s\t{judge_map(values, labels, near, places)}", flush=True)
    warnings.simplefilter("ignore")  # it has one thread where it has a seed
    umap.UMAP(random_state=1, n_epochs=2).fit(values[:5_000])  # compiles; up to 4,096 rows it is another search
    before = cpu_seconds()
    places = umap.UMAP(random_state=1).fit_transform(values)
    peer = cpu_seconds() - before
    print(f"umap\tumap-learn, seed\t{peer:.1f} CPU s\t{judge_map(values, labels, near, places)}")
    print(f"umap\tinvar / umap-learn\t{cpu / peer:.3f}", flush=True)


def compare_hdbscan(own, values, labels):
    import hdbscan

    cpu = own["hdbscan"][0]
    found = np.frombuffer(own["hdbscan"][2], "<i4")
    print(f"hdbscan\tinvar\t{cpu:.1f} CPU s\tARI to the truth {adjusted_rand_score(labels, found):.4f}", flush=True)
    before = cpu_seconds()
    # The package does not count the row itself among the samples.
    model = hdbscan.HDBSCAN(min_cluster_size=50, min_samples=9, algorithm="prims_kdtree", approx_min_span_tree=False)
    exact = model.fit(values.astype(np.float64)).labels_
    peer = cpu_seconds() - before
    print(f"hdbscan\thdbscan, exact\t{peer:.1f} CPU s\tARI to the truth {adjusted_rand_score(labels, exact):.4f}")
    print(f"hdbscan\tinvar / hdbscan\t{cpu / peer:.3f}\tARI of the two {adjusted_rand_score(exact, found):.4f}", flush=True)


def compare_neighbors(own, values):
    """faiss by inverted lists, searched deeper until its recall is that of Invar."""
    import faiss

    cpu, said, found = own["neighbors"]
    near = np.frombuffer(found, "<u4").reshape(-1, K)
    probed = np.random.default_rng(0).choice(len(values), 500, replace=False)
    cosines = values[probed] @ values.T
    cosines[np.arange(500), probed] = -2
    exact = np.argpartition(-cosines, K, axis=1)[:, :K]
    recall = lambda lists: np.mean([len(np.intersect1d(a, b)) for a, b in zip(exact, lists)]) / K
    print(f"neighbors\tinvar\t{cpu:.1f} CPU s\trecall@{K} {recall(near[probed]):.4f}, by itself: {said}", flush=True)
    cells = int(np.sqrt(len(values)))
    for depth in (4, 8, 16, 32):
        before = cpu_seconds()
        index = faiss.index_factory(values.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(values)
        index.add(values)
        index.nprobe = depth
        lists = index.search(values, K + 1)[1]
        peer = cpu_seconds() - before
        other = [[row for row in lists[at] if row != at][:K] for at in probed]
        share = recall(other)
        print(f"neighbors\tfaiss IVF{cells}, nprobe {depth}\t{peer:.1f} CPU s\trecall@{K} {share:.4f}", flush=True)
        if share >= recall(near[probed]):
            break


COMPARISONS = {"umap": compare_umap, "hdbscan": compare_hdbscan}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--stage", action="append", choices=COMPARISONS)
    parser.add_argument("--faiss", action="store_true", help="the graph of nearest neighbours beside faiss")
    arguments = parser.parse_args()
    stages = arguments.stage or []
    for make in (mix, gauss):
        values, labels = make(arguments.rows)
        print(f"{make.__name__}, {values.shape[0]} x {values.shape[1]}")
        with tempfile.TemporaryDirectory() as directory:
            own = ours(arguments.program, values, stages, directory)
        if arguments.faiss:
            compare_neighbors(own, values)
        for stage in stages:
            COMPARISONS[stage](own, values, labels)


if __name__ == "__main__":
    main()
