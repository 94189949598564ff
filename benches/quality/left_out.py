#!/usr/bin/env python3
"""Train the recipe for surfaces without one class, and see how that class stands apart. A row for each class.

    benches/quality/left_out.py IMAGES OUT [--recipe micrographs/textures] [--classes NAME...]

IMAGES: pictures whose class is the beginning of the file name (`crazing_12.jpg`). For each class a network is trained on the
pictures of the others, and all pictures are embedded. Of these, by the nearest other picture (largest cosine):

* found: share of the left-out class whose nearest is of that class;
* taken: share of the other pictures whose nearest is of the left-out class, which is wrong;
* recall@1: share of all pictures whose nearest is of their class;
* ARI: k-means with the true number of classes (best of 10 starts, mean of 5 seeds), over all pictures.

Finished runs are kept; remove OUT to measure anew. INVAR (default target/release/invar). Needs numpy, scikit-learn, polars.
"""

import argparse
import os
import pathlib
import subprocess

import numpy as np
import polars as pl
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

HERE = pathlib.Path(__file__).parent
PICTURES = {".jpg", ".png", ".tif", ".bmp"}


def invar(*args):
    program = os.environ.get("INVAR", str(HERE / "../../target/release/invar"))
    subprocess.run([program, *map(str, args), "-q"], check=True, stdout=subprocess.DEVNULL)


def ingested(paths, out):
    if not out.exists():
        invar("ingest", "micrographs", *paths, "--whole-image", "--out", out)
    return out


def embedded(paths, kept, out, recipe):
    """Embeddings of `paths` by a network trained on `kept`."""
    out.mkdir(parents=True, exist_ok=True)
    run, found = out / "run", out / "emb.parquet"
    if not found.exists():
        invar("train", recipe, "--data", ingested(kept, out / "data"), "--out", run, "--force")
        invar("embed", "--model", run, "--data", ingested(paths, out.parent / "all"), "--out", found, "--force")
    table = pl.read_parquet(found, columns=["source", "embedding"])
    rows = {pathlib.Path(source).name: vector for source, vector in table.iter_rows()}
    return np.array([rows[path.name] for path in paths])


def scores(x, classes, left_out):
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = x @ x.T
    np.fill_diagonal(cosine, -np.inf)
    nearest = classes[cosine.argmax(1)]
    names, truth = np.unique(classes, return_inverse=True)
    clusters = [KMeans(len(names), n_init=10, random_state=seed).fit_predict(x) for seed in range(5)]
    ari = np.mean([adjusted_rand_score(truth, found) for found in clusters])
    own = classes == left_out
    return (nearest[own] == left_out).mean(), (nearest[~own] == left_out).mean(), (nearest == classes).mean(), ari


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--recipe", default="micrographs/textures")
    parser.add_argument("--classes", nargs="+")
    args = parser.parse_args()
    paths = sorted(path for path in args.images.iterdir() if path.suffix.lower() in PICTURES)
    classes = np.array([path.stem.rsplit("_", 1)[0] for path in paths])
    print("| left out | found | taken | recall@1 | ARI |\n|---|---|---|---|---|")
    for name in args.classes or sorted(set(classes)):
        kept = [path for path, own in zip(paths, classes) if own != name]
        x = embedded(paths, kept, args.out / name, args.recipe)
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in scores(x, classes, name)) + " |", flush=True)


if __name__ == "__main__":
    main()
