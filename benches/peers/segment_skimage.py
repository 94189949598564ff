"""The steps of `invar ingest micrographs` with scikit-image, on the same images: read, smooth, gradient, markers, watershed,
region properties, label TIFF, table. Prints the seconds, without imports, and the grains.

usage: segment_skimage.py OUT IMAGE...   (processes: 2, as many as the cores of the machine that the figures are from)
"""

import csv
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import tifffile
from skimage import filters, io, measure, morphology, segmentation

PROPERTIES = (
    "label bbox area centroid equivalent_diameter_area axis_major_length axis_minor_length eccentricity orientation "
    "perimeter solidity intensity_mean intensity_min intensity_max"
).split()


def one(path: str, out: str) -> int:
    image = io.imread(path)
    grey = image.astype(np.float32)
    if grey.ndim == 3:
        grey = grey[..., :3].mean(axis=2)
    low, high = np.percentile(grey, [1, 99])
    grey = (grey - low) / max(high - low, 1e-9)
    smooth = filters.gaussian(grey, 2.0)
    landscape = np.hypot(*np.gradient(smooth)).astype(np.float32)
    markers = measure.label(morphology.h_minima(landscape, 0.02))
    labels = segmentation.watershed(landscape, markers).astype(np.uint32)
    tifffile.imwrite(Path(out, Path(path).stem + ".tif"), labels, compression="zlib", predictor=True)
    table = measure.regionprops_table(labels, grey, properties=PROPERTIES)
    with open(Path(out, Path(path).stem + ".csv"), "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return len(table["label"])


if __name__ == "__main__":
    out, *images = sys.argv[1:]
    Path(out).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(abs, range(8)))  # the processes are up and have imported everything
        start = time.perf_counter()
        grains = sum(pool.map(one, images, [out] * len(images)))
        print(f"{time.perf_counter() - start:.3f} s, {grains} grains on {len(images)} images")
