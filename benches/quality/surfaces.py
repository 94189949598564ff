#!/usr/bin/env python3
"""Score embeddings of surface images whose class is the beginning of the file name (`crazing_12.jpg`), beside hand-made ones.

    benches/quality/surfaces.py IMAGES upright.parquet rotated.parquet

The Parquet files are written by `invar embed` and `invar embed --moved`. Hand-made features: rotation-invariant uniform local
binary patterns at three radii, radially averaged log spectrum and moments of the intensity, standardised, 20 principal
components. Their rotated rows turn every image, once, by the angle that numpy's seed gives, as a user's second scan would.

k-means with the true number of classes (best of 10 starts, mean of 5 seeds), accuracy after Hungarian matching; recall@1: the
share of images whose nearest other image is of their class. Needs numpy, scikit-image, scikit-learn, scipy, polars.
"""

import argparse
import pathlib

import numpy as np
import polars as pl
from scipy.optimize import linear_sum_assignment
from skimage.feature import local_binary_pattern
from skimage.io import imread
from skimage.transform import resize, rotate
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.preprocessing import StandardScaler


def normalise(image):
    low, high = np.percentile(image, [1, 99])
    return np.clip((image - low) / max(high - low, 1e-9), 0, 1)


def disc(image):
    """The largest disc that a turn cannot leave, in a square; what is outside is the mean of the inside."""
    side = min(image.shape)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side].copy()
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    outside = np.hypot(y, x) > side / 2 - 1
    square[outside] = square[~outside].mean()
    return square, ~outside


def hand_made(image):
    square, inside = disc(normalise(image))
    features = []
    levels = (square * 255).astype(np.uint8)
    for radius in (1, 2, 4):
        points = 8 * radius
        pattern = local_binary_pattern(levels, points, radius, "uniform")
        features.append(np.histogram(pattern[inside], bins=points + 2, range=(0, points + 2), density=True)[0])
    side = square.shape[0]
    window = np.hanning(side)[:, None] * np.hanning(side)[None, :]
    power = np.log(np.abs(np.fft.fftshift(np.fft.fft2((square - square.mean()) * window))) ** 2 + 1e-6)
    y, x = np.mgrid[:side, :side] - side // 2
    radius = np.hypot(y, x).astype(int)
    radial = np.bincount(radius.ravel(), power.ravel()) / np.bincount(radius.ravel())
    features.append(radial[1 : side // 2 : 3])
    values = square[inside]
    deviation = values - values.mean()
    features.append([values.mean(), values.std(), (deviation**3).mean(), (deviation**4).mean()])
    return np.concatenate(features)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def scores(x, classes):
    names, truth = np.unique(classes, return_inverse=True)
    accuracy, ari, nmi = [], [], []
    for seed in range(5):
        found = KMeans(len(names), n_init=10, random_state=seed).fit_predict(x)
        table = np.zeros((len(names), len(names)), int)
        np.add.at(table, (truth, found), 1)
        accuracy.append(table[linear_sum_assignment(-table)].sum() / len(truth))
        ari.append(adjusted_rand_score(truth, found))
        nmi.append(normalized_mutual_info_score(truth, found))
    distance = ((x[:, None] - x[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    recall = (truth[distance.argmin(1)] == truth).mean()
    return np.mean(accuracy), np.mean(ari), np.mean(nmi), recall


def class_recall(queries, gallery, classes):
    """Nearest other image of an upright gallery; and how often it is the image itself, when that is allowed."""
    similarity = unit(queries) @ unit(gallery).T
    itself = (similarity.argmax(1) == np.arange(len(classes))).mean()
    np.fill_diagonal(similarity, -np.inf)
    return (classes[similarity.argmax(1)] == classes).mean(), itself


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("embeddings", nargs="*", type=pathlib.Path)
    args = parser.parse_args()

    paths = sorted(p for p in args.images.iterdir() if p.suffix.lower() in {".jpg", ".png", ".tif", ".bmp"})
    classes = np.array([p.stem.rsplit("_", 1)[0] for p in paths])
    images = [imread(p, as_gray=True).astype(float) for p in paths]
    angles = np.random.default_rng(0).uniform(0, 360, len(images))
    turned = [rotate(image, angle, order=3, mode="reflect", preserve_range=True) for image, angle in zip(images, angles)]

    rows = []
    raw = np.array([resize(normalise(image), (32, 32), anti_aliasing=True).ravel() for image in images])
    rows.append(("raw 32 x 32 pixels", raw))
    reducer = None
    for name, pictures in (("hand-made, upright", images), ("hand-made, rotated", turned)):
        features = np.array([hand_made(image) for image in pictures])
        if reducer is None:
            scaler = StandardScaler().fit(features)
            reducer = PCA(20, random_state=0).fit(scaler.transform(features))
        rows.append((name, reducer.transform(scaler.transform(features))))
    for path in args.embeddings:
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        table = pl.concat([pl.read_parquet(file, columns=["source", "embedding"]) for file in files])
        found = {pathlib.Path(source).name: vector for source, vector in table.iter_rows()}
        rows.append((f"invar, {path.stem}", np.array([found[p.name] for p in paths])))

    print(f"{len(paths)} images, {len(set(classes))} classes\n")
    print("| features | accuracy | ARI | NMI | recall@1 |\n|---|---|---|---|---|")
    for name, x in rows:
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in scores(x, classes)) + " |")
    print("| VGG16 pretrained on ImageNet (Cohn & Holm 2021, published) | 0.994 | - | - | - |")
    for label, first, second in (("hand-made", 1, 2), ("invar", 3, 4)):
        if len(rows) > second:
            recall, itself = class_recall(rows[second][1], rows[first][1], classes)
            print(f"\n{label}: rotated query, upright gallery: finds itself {itself:.3f}, class recall@1 {recall:.3f}")


if __name__ == "__main__":
    main()
