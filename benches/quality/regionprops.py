#!/usr/bin/env python3
"""Checks grain tables against scikit-image's regionprops: regionprops.py PROGRAM MASK[:IMAGE]...

PROGRAM: target/release/examples/regions (cargo build --release -p invar-micrographs --examples).
A mask that is no label image (drawn boundary lines, or more than one channel) is labelled first: connected parts of what is brighter
than mid-grey. A stack gives one mask a plane. Prints the largest error of each measure, relative to the larger of 1 and the value (of
orientation: absolute, radians, where the axes differ), and the two times; fails where one is above 1e-4.
"""
import subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np
import tifffile
from skimage import io, measure

PROPERTIES = {
    "area": "area", "equivalent_diameter": "equivalent_diameter_area", "major": "axis_major_length",
    "minor": "axis_minor_length", "eccentricity": "eccentricity", "orientation": "orientation",
    "perimeter": "perimeter", "solidity": "solidity", "mean": "intensity_mean", "min": "intensity_min",
    "max": "intensity_max",
}


def planes(path):
    data = tifffile.imread(path) if Path(path).suffix in (".tif", ".tiff") else io.imread(path)
    if data.ndim == 3 and data.shape[2] in (3, 4) and data.dtype == np.uint8:
        return [measure.label(data[..., 0] > 127, connectivity=1).astype(np.uint32)]
    if data.dtype == np.uint8 and set(np.unique(data)) <= {0, 255}:
        return [measure.label(data == 0, connectivity=1).astype(np.uint32)]
    return list(data.astype(np.uint32)) if data.ndim == 3 else [data.astype(np.uint32)]


def main():
    program, *masks = sys.argv[1:]
    worst, num_regions, num_masks, seconds, seconds_ours = {}, 0, 0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as tmp:
        for argument in masks:
            for index, mask in enumerate(planes(argument)):
                rng = np.random.default_rng(index)
                image = rng.integers(0, 65536, mask.shape, dtype=np.uint16)
                tifffile.imwrite(f"{tmp}/mask.tif", mask, compression="zlib")
                io.imsave(f"{tmp}/image.png", image, check_contrast=False)
                run = subprocess.run([program, f"{tmp}/mask.tif", f"{tmp}/image.png", "--repeat", "3"], check=True,
                                     capture_output=True, text=True)
                seconds_ours += float(run.stderr.split()[-1])
                lines = [line.split("\t") for line in run.stdout.splitlines()]
                ours = {name: np.array([float(line[i]) for line in lines[1:]]) for i, name in enumerate(lines[0])}
                start = time.perf_counter()
                theirs = measure.regionprops_table(mask.astype(np.int64), image, properties=("label", "bbox", "centroid",
                                                   *PROPERTIES.values()))
                seconds += time.perf_counter() - start
                num_regions, num_masks = num_regions + len(theirs["label"]), num_masks + 1
                assert np.array_equal(ours["label"], theirs["label"]), argument
                for name, column in {"top": "bbox-0", "left": "bbox-1", "bottom": "bbox-2", "right": "bbox-3",
                                     "row": "centroid-0", "column": "centroid-1", **PROPERTIES}.items():
                    a, b = ours[name], theirs[column]
                    error = np.abs(a - b) / np.maximum(1, np.abs(b))
                    if name == "orientation":
                        turn = np.abs(a - b) % np.pi
                        error = np.minimum(turn, np.pi - turn)
                        error[theirs["axis_major_length"] - theirs["axis_minor_length"] < 1e-6] = 0
                    if len(error) and error.max() > worst.get(name, (-1,))[0]:
                        at = error.argmax()
                        worst[name] = (error[at], argument, int(theirs["label"][at]), a[at], b[at])
    for name, (error, mask, label, a, b) in worst.items():
        print(f"{name:20} {error:.2e}   {Path(mask).name} label {label}: {a} beside {b}")
    print(f"{num_regions} regions of {num_masks} masks; scikit-image {seconds:.2f} s, Invar {seconds_ours:.4f} s, "
          f"ratio {seconds / seconds_ours:.0f}")
    sys.exit(any(error > 1e-4 for error, *_ in worst.values()))


main()
