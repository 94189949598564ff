#!/usr/bin/env python3
"""Speed of segmentation and grain tables beside scikit-image with the same steps: segment.py PROGRAM IMAGE...

PROGRAM: target/release/examples/segment. Both read each image once; only the steps are timed, best of 3, with every core for Invar and
what scikit-image uses. The images are enlarged to a megapixel and more by mirrored repetition.
"""
import json, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi
from skimage import filters, io, measure, morphology, segmentation

SIDE_PX = 1536
TABLE = ("label", "bbox", "area", "centroid", "equivalent_diameter_area", "axis_major_length", "axis_minor_length",
         "eccentricity", "orientation", "perimeter", "solidity", "intensity_mean", "intensity_min", "intensity_max")


def enlarged(path):
    image = io.imread(path)
    image = image[..., :3].mean(2).astype(np.uint8) if image.ndim == 3 else image
    grow = [(0, max(0, SIDE_PX - side)) for side in image.shape]
    return np.pad(image, grow, mode="symmetric")


def watershed(plane, clock):
    smooth = clock("denoise", lambda: filters.gaussian(plane, 2.0, mode="nearest"))
    landscape = clock("gradient", lambda: filters.sobel(smooth))
    markers = clock("markers", lambda: measure.label(morphology.h_minima(landscape, 0.02), connectivity=1))
    return clock("watershed", lambda: segmentation.watershed(landscape, markers))


def otsu(plane, clock):
    smooth = clock("denoise", lambda: filters.gaussian(plane, 1.0, mode="nearest"))
    mask = clock("threshold", lambda: smooth > filters.threshold_otsu(smooth))
    mask = clock("holes", lambda: ndi.binary_fill_holes(mask))
    distance = clock("distance", lambda: ndi.distance_transform_edt(mask))
    markers = clock("markers", lambda: measure.label(morphology.h_maxima(distance, 1.5), connectivity=1))
    return clock("watershed", lambda: segmentation.watershed(-distance, markers, mask=mask))


def main():
    program, *paths = sys.argv[1:]
    for config, steps in (({"method": "watershed", "min_size_px": 0, "min_depth": 0.02}, watershed),
                          ({"method": "otsu", "particles": "bright", "min_size_px": 0}, otsu)):
        with tempfile.TemporaryDirectory() as tmp:
            Path(tmp, "config.json").write_text(json.dumps(config))
            for path in paths:
                image = enlarged(path)
                io.imsave(f"{tmp}/image.png", image, check_contrast=False)
                run = subprocess.run([program, f"{tmp}/config.json", tmp, f"{tmp}/image.png", "--repeat", "3"], check=True,
                                     capture_output=True, text=True)
                _, count, ours, ours_table = run.stdout.strip().split("\t")
                low, high = np.percentile(image, [1, 99])
                plane = (image.astype(np.float32) - low) / (high - low)
                times = {}

                def clock(name, step):
                    best = np.inf
                    for _ in range(2 if name == "markers" else 3):
                        start = time.perf_counter()
                        result = step()
                        best = min(best, time.perf_counter() - start)
                    times[name] = best
                    return result

                labels = steps(plane, clock)
                start = time.perf_counter()
                measure.regionprops_table(labels, image, properties=TABLE)
                table = time.perf_counter() - start
                total, name = sum(times.values()), Path(path).name
                print(f"{config['method']:9} {name}, {image.shape[0]} x {image.shape[1]}, {count} and {labels.max()} regions")
                print("  scikit-image " + ", ".join(f"{step} {seconds:.3f}" for step, seconds in times.items())
                      + f": {total:.3f} s; table {table:.3f} s")
                print(f"  Invar {float(ours):.3f} s, ratio {total / float(ours):.1f}; table {float(ours_table):.3f} s, "
                      f"ratio {table / float(ours_table):.1f}; both {(total + table) / (float(ours) + float(ours_table)):.1f}")


main()
