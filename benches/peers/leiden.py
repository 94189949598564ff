"""Communities of the graph of nearest neighbours beside igraph and leidenalg, on the same values and threads.

    cargo build --release -p invar-cluster --example graph_values
    python benches/peers/leiden.py target/release/examples/graph_values --rows 200000

Needs numpy, scipy, scikit-learn, faiss-cpu, igraph and leidenalg. The two sets of graph.py, 128 dimensions,
resolution 1. The peers get the graph of the 15 nearest that Invar found, each edge once and of weight 1; then once
more from the values on: faiss by inverted lists, searched deeper until its recall is 0.97 (or that of Invar, if
less), and igraph. Modularity (igraph's) is of the graph that Invar found for all, ARI of the true groups, noise left
out. Invar's time is from the values on, with the search for 30 neighbours and the clusterings of four halves by which
it says how surely a cluster is found again. CPU seconds count: on a busy machine wall time says little.
"""

import argparse
import random
import tempfile

import faiss
import igraph
import leidenalg
import numpy as np
from sklearn.metrics import adjusted_rand_score

from graph import K, cpu_seconds, gauss, mix, ours

JUDGED = 500


def timed(work):
    before = cpu_seconds()
    result = work()
    return result, cpu_seconds() - before


def graph_of(near):
    rows = np.repeat(np.arange(len(near), dtype=np.int64), near.shape[1])
    ends = np.stack([rows, near.reshape(-1).astype(np.int64)], axis=1)
    ends.sort(axis=1)
    pairs = np.unique(ends[:, 0] * len(near) + ends[:, 1])
    return igraph.Graph(n=len(near), edges=np.stack([pairs // len(near), pairs % len(near)], axis=1))


def of_faiss(values, depth):
    index = faiss.index_factory(values.shape[1], f"IVF{int(np.sqrt(len(values)))},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(values)
    index.add(values)
    index.nprobe = depth
    lists = index.search(values, K + 1)[1]
    # A row that does not find itself, among copies of it, loses the last of the others.
    is_other = lists != np.arange(len(values))[:, None]
    is_other[is_other.all(axis=1), K] = False
    return lists[is_other].reshape(len(values), K)


PEERS = {
    "igraph, 2 rounds": lambda graph: graph.community_leiden("modularity", resolution=1, n_iterations=2),
    "igraph, to the end": lambda graph: graph.community_leiden("modularity", resolution=1, n_iterations=-1),
    "leidenalg, 2 rounds": lambda graph: leidenalg.find_partition(
        graph, leidenalg.RBConfigurationVertexPartition, resolution_parameter=1, n_iterations=2, seed=1
    ),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--slow", action="store_true", help="leidenalg too, which takes minutes")
    parser.add_argument("--set", action="append", choices=("mix", "gauss"))
    arguments = parser.parse_args()
    for make in (mix, gauss):
        if arguments.set and make.__name__ not in arguments.set:
            continue
        values, truth = make(arguments.rows)
        print(f"{make.__name__}, {values.shape[0]} x {values.shape[1]}")
        with tempfile.TemporaryDirectory() as directory:
            own = ours(arguments.program, values, ["leiden"], directory)
        near = np.frombuffer(own["neighbors"][2], "<u4").reshape(-1, K)
        graph, built = timed(lambda: graph_of(near))

        def said(name, labels, seconds, more=""):
            modularity = graph.modularity(labels, resolution=1)
            ari = adjusted_rand_score(truth[truth >= 0], np.asarray(labels)[truth >= 0])
            counts = f"{len(np.unique(labels))} communities, modularity {modularity:.4f}, ARI {ari:.4f}"
            print(f"{name}\t{seconds:.1f} CPU s\t{counts}\t{more}", flush=True)

        labels = np.frombuffer(own["leiden"][2], "<i4")
        said("invar, from values on", labels.tolist(), own["leiden"][0], own["leiden"][1])
        print(f"invar, {K} neighbours alone\t{own['neighbors'][0]:.1f} CPU s\t{own['neighbors'][1]}", flush=True)
        igraph.set_random_number_generator(random.Random(1))
        for name, cluster in PEERS.items():
            if name.startswith("leidenalg") and not arguments.slow:
                continue
            found, seconds = timed(lambda: cluster(graph))
            said(name, found.membership, seconds, f"of the graph that is there; making it {built:.1f}")

        probed = np.random.default_rng(0).choice(len(values), JUDGED, replace=False)
        cosines = values[probed] @ values.T
        cosines[np.arange(JUDGED), probed] = -2
        exact = np.argpartition(-cosines, K, axis=1)[:, :K]
        recall = lambda lists: np.mean([len(np.intersect1d(a, b)) for a, b in zip(exact, lists[probed])]) / K
        print(f"invar\trecall@{K} {recall(near):.4f}", flush=True)
        for depth in (4, 8, 16, 32):
            lists, searched = timed(lambda: of_faiss(values, depth))
            if recall(lists) >= min(recall(near), 0.97):
                break
        print(f"faiss, nprobe {depth}\t{searched:.1f} CPU s\trecall@{K} {recall(lists):.4f}", flush=True)
        theirs, made = timed(lambda: graph_of(lists))
        found, clustered = timed(lambda: PEERS["igraph, 2 rounds"](theirs))
        parts = f"{searched:.1f} + {made:.1f} + {clustered:.1f}"
        said("faiss and igraph", found.membership, searched + made + clustered, parts)


if __name__ == "__main__":
    main()
