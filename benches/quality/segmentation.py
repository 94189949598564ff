#!/usr/bin/env python3
"""Segmentation beside scikit-image with the same steps.

    segmentation.py PROGRAM grains IMAGES LABELS [KEY=VALUE...]     boundary F1 and region ARI on drawn boundaries (dark lines)
    segmentation.py PROGRAM particles IMAGES LABELS [KEY=VALUE...]  AP at IoU 0.5 and mean IoU on instance masks

PROGRAM: target/release/examples/segment. KEY=VALUE sets a key of the [segment] table for both; --overlays DIR writes pictures.
Boundary F1: a boundary pixel within 3 px of one of the other's counts as met. ARI: over pixels off the drawn lines.
AP: matches over matches, misses and inventions; mean IoU: over true particles, of the best match.
"""
import json, subprocess, sys, tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi
from skimage import filters, io, measure, morphology, segmentation
from sklearn.metrics import adjusted_rand_score

TOLERANCE_PX = 3


def normalized(image):
    """[channels, height, width], 0 and 1 being the 1st and 99th percentile."""
    planes = [image] if image.ndim == 2 else [image[..., c] for c in range(3)]
    planes = planes[:1] if all(np.array_equal(planes[0], p) for p in planes) else planes
    planes = np.stack(planes).astype(np.float32)
    low, high = np.percentile(planes, [1, 99], method="lower")
    return (planes - low) / max(high - low, 1)


def grains_skimage(image, c):
    """gaussian -> sobel -> h-minima -> watershed -> small regions joined to the neighbour of longest boundary."""
    planes = [filters.gaussian(p, c["sigma_px"], mode="nearest") for p in normalized(image)]
    landscape = np.sqrt(sum(filters.sobel(p) ** 2 for p in planes)).astype(np.float64)
    markers = measure.label(morphology.h_minima(landscape, c["min_depth"]), connectivity=1)
    labels = segmentation.watershed(landscape, markers)
    while True:
        sizes = np.bincount(labels.ravel())
        small = [label for label in np.argsort(sizes, kind="stable") if 0 < sizes[label] < c["min_size_px"]]
        if not small or len(np.unique(labels)) < 2:
            return labels
        inside = labels == small[0]
        around = np.concatenate([labels[1:][inside[:-1]], labels[:-1][inside[1:]],
                                 labels[:, 1:][inside[:, :-1]], labels[:, :-1][inside[:, 1:]]])
        around = around[around != small[0]]
        labels[inside] = np.bincount(around).argmax()


def particles_skimage(image, c):
    """gaussian -> Otsu -> holes filled -> distance transform -> h-maxima -> watershed -> small ones dropped."""
    plane = filters.gaussian(normalized(image).mean(0), c["sigma_px"], mode="nearest")
    mask = plane > filters.threshold_otsu(plane)
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if mask.mean() + edge.mean() > 1:
        mask = ~mask
    mask = ndi.binary_fill_holes(mask)
    distance = ndi.distance_transform_edt(mask)
    markers = measure.label(morphology.h_maxima(distance, c["min_neck_px"]), connectivity=1)
    labels = segmentation.watershed(-distance, markers, mask=mask)
    sizes = np.bincount(labels.ravel())
    labels[sizes[labels] < c["min_size_px"]] = 0
    return measure.label(labels, connectivity=1)


def boundary(labels):
    return segmentation.find_boundaries(labels, mode="inner")


def score_grains(labels, truth):
    lines = truth[..., 0] < 128 if truth.ndim == 3 else truth < 128
    ours, theirs = boundary(labels), morphology.skeletonize(lines)
    near = lambda a, b: (ndi.distance_transform_edt(~b)[a] <= TOLERANCE_PX).mean() if a.any() and b.any() else float(a.any() == b.any())
    precision, recall = near(ours, theirs), near(theirs, ours)
    regions = measure.label(~lines, connectivity=1)
    return {"F1": 2 * precision * recall / max(precision + recall, 1e-9), "precision": precision, "recall": recall,
            "ARI": adjusted_rand_score(regions[~lines], labels[~lines])}


def score_particles(labels, truth):
    n, m = int(truth.max()), int(labels.max())
    both = np.zeros((n + 1, m + 1), np.int64)
    np.add.at(both, (truth.ravel(), labels.ravel()), 1)
    union = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    iou = (both / np.maximum(union, 1))[1:, 1:]
    matched = int((iou > 0.5).sum())
    real = np.bincount(truth.ravel(), minlength=n + 1)[1:] > 0
    best = iou.max(1)[real] if m else np.zeros(real.sum())
    return {"AP50": matched / max(int(real.sum()) + m - matched, 1), "IoU": best.mean()}


def main():
    arguments = sys.argv[1:]
    overlays = None
    if "--overlays" in arguments:
        at = arguments.index("--overlays")
        overlays = Path(arguments[at + 1])
        del arguments[at:at + 2]
    program, kind, images, truths, *settings = arguments
    config = ({"method": "watershed", "sigma_px": 2.0, "min_depth": 0.03, "min_size_px": 50} if kind == "grains"
              else {"method": "otsu", "sigma_px": 1.0, "min_neck_px": 1.5, "min_size_px": 30})
    config.update({key: json.loads(value) for key, value in (setting.split("=") for setting in settings)})
    paths = sorted(Path(images).iterdir())
    with tempfile.TemporaryDirectory() as tmp:
        Path(tmp, "config.json").write_text(json.dumps(config))
        subprocess.run([program, f"{tmp}/config.json", tmp, *map(str, paths)], check=True, stdout=subprocess.DEVNULL)
        scores, same = {"Invar": [], "scikit-image": []}, []
        for path in paths:
            image, truth = io.imread(path)[..., :3], io.imread(Path(truths, path.name))
            score = score_grains if kind == "grains" else score_particles
            ours = io.imread(Path(tmp, path.stem + ".tif")).astype(np.int64)
            theirs = (grains_skimage if kind == "grains" else particles_skimage)(image, config)
            same.append(adjusted_rand_score(ours.ravel(), theirs.ravel()))
            scores["Invar"].append(score(ours, truth))
            scores["scikit-image"].append(score(theirs, truth))
            if overlays:
                drawn = segmentation.mark_boundaries(image, ours, color=(1, 0, 0), mode="inner")
                beside = np.hstack([image / 255, drawn, np.broadcast_to((truth if truth.ndim == 2 else truth[..., 0])[..., None]
                                    / max(truth.max(), 1), image.shape)])
                io.imsave(overlays / path.name, (beside * 255).astype(np.uint8), check_contrast=False)
    print(f"{kind}, {len(paths)} images, {config}")
    for name, rows in scores.items():
        print(f"{name:14}" + "".join(f"  {key} {np.mean([row[key] for row in rows]):.4f}" for key in rows[0]))
    print(f"ARI of the two with each other: mean {np.mean(same):.4f}, least {np.min(same):.4f}")


main()
