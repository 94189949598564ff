"""Search among many rows by cosine with held-out queries, beside faiss by inverted lists, on the same values and threads.

    cargo build --release -p invar-cluster --example search_values
    python benches/peers/search.py target/release/examples/search_values --rows 1000000

Needs numpy, scipy, scikit-learn and faiss-cpu. The two sets of graph.py, 128 dimensions; the last rows of each are the queries
and not in the base. recall@10 is against faiss' exact search, over the first 1,000 queries. faiss is asked with more lists looked
into until it finds as many as Invar. Wall seconds mean something on an idle machine only; CPU seconds are in brackets.
"""

import argparse
import os
import subprocess
import tempfile
import time

import numpy as np

from graph import cpu_seconds, gauss, mix

K, JUDGED = 10, 1_000


def ours(program, base, queries, directory):
    names = [os.path.join(directory, name) for name in ("base.f32", "queries.f32", "out")]
    base.tofile(names[0])
    queries.tofile(names[1])
    command = [program, names[0], names[1], str(base.shape[1]), names[2]]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        name, wall, cpu, said = line.split("\t")
        print(f"invar\t{name}\t{float(wall):.3f} s ({float(cpu):.1f})\t{said}", flush=True)
    return np.fromfile(names[2] + ".near", "<u4").reshape(-1, K)


def timed(work):
    wall, cpu = time.perf_counter(), cpu_seconds()
    result = work()
    return result, time.perf_counter() - wall, cpu_seconds() - cpu


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=50_000)
    parser.add_argument("--set", action="append", choices=("mix", "gauss"))
    parser.add_argument("--alone", action="store_true", help="do not time faiss")
    arguments = parser.parse_args()
    import faiss

    for make in (mix, gauss):
        if arguments.set and make.__name__ not in arguments.set:
            continue
        values, _ = make(arguments.rows + arguments.queries)
        base, queries = values[: arguments.rows], values[arguments.rows :]
        print(f"{make.__name__}, {base.shape[0]} x {base.shape[1]}, {len(queries)} queries")
        with tempfile.TemporaryDirectory() as directory:
            found = ours(arguments.program, base, queries, directory)
        truth = faiss.knn(queries[:JUDGED], base, K, metric=faiss.METRIC_INNER_PRODUCT)[1]
        recall = lambda lists: np.mean([len(np.intersect1d(a, b)) for a, b in zip(truth, lists)]) / K
        print(f"invar\trecall@{K} {recall(found):.4f}", flush=True)
        if arguments.alone:
            continue
        flat = faiss.IndexFlatIP(base.shape[1])
        flat.add(base)
        _, wall, cpu = timed(lambda: flat.search(queries[:1], K))
        print(f"faiss\texact one\t{wall:.3f} s ({cpu:.1f})", flush=True)
        del flat
        cells = int(np.sqrt(len(base)))
        index = faiss.index_factory(base.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
        _, wall, cpu = timed(lambda: (index.train(base), index.add(base)))
        print(f"faiss\tbuild\t{wall:.3f} s ({cpu:.1f})\tIVF{cells}", flush=True)
        for depth in (4, 8, 16, 32, 64, 128):
            index.nprobe = depth
            (_, lists), wall, cpu = timed(lambda: index.search(queries, K))
            share = recall(lists)
            rate = f"{len(queries) / wall:.0f} a second"
            print(f"faiss\tnprobe {depth}\t{wall:.3f} s ({cpu:.1f})\t{rate}\trecall@{K} {share:.4f}", flush=True)
            if share >= recall(found):
                break


if __name__ == "__main__":
    main()
