#!/usr/bin/env python3
"""Synthetic polycrystals: images of grains whose kind is known and whose orientation is random.

A grain is a cell of a Voronoi tessellation. It has one of five textures, turned by an angle of its own, on a grey level of
its own (which says nothing of the texture); boundaries are etched dark; shot noise, 16 bits, a pixel size in ImageJ's tags.

    python3 make.py            write images/, labels/, kinds/ and truth.tsv beside this script
    python3 make.py --check    make them in memory and compare with what is there

Needs Python 3.11 with numpy and tifffile. Licence of what it writes: as Invar.
"""

import argparse
import io
import pathlib
import sys

import numpy as np
import tifffile

SEED = 20_261_124
NUM_IMAGES = 6
SIDE_PX = 512
GRAINS_PER_IMAGE = 72
PIXEL_SIZE_UM = 0.25
KINDS = ["lamellae", "twins", "precipitates", "needles", "plain"]


def voronoi(rng):
    """Label map [SIDE, SIDE] from 1, and the distance of each pixel to the nearest boundary (about, pixels)."""
    # Seeds keep a distance from each other, so that no grain is a sliver.
    points = []
    while len(points) < GRAINS_PER_IMAGE:
        p = rng.uniform(0, SIDE_PX, 2)
        if all(np.hypot(*(p - q)) > 0.62 * SIDE_PX / GRAINS_PER_IMAGE**0.5 for q in points):
            points.append(p)
    points = np.array(points)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    # Slightly wavy boundaries: distances are taken from a warped plane.
    waves = [(rng.uniform(0.01, 0.03, 2), rng.uniform(0, 2 * np.pi)) for _ in range(8)]
    wy = sum(np.sin(k[0] * 6 * y + k[1] * 6 * x + phase) for k, phase in waves[:4])
    wx = sum(np.sin(k[0] * 6 * y + k[1] * 6 * x + phase) for k, phase in waves[4:])
    plane = np.stack([y + wy, x + wx], -1)[..., None, :]
    squared = ((plane - points) ** 2).sum(-1)
    order = np.argpartition(squared, 1, axis=-1)
    first, second = order[..., 0], order[..., 1]
    d1, d2 = np.take_along_axis(squared, order[..., :2], -1).transpose(2, 0, 1)
    apart = np.hypot(*(points[first] - points[second]).transpose(2, 0, 1))
    return first + 1, (d2 - d1) / (2 * apart)


def texture(kind, rng, angle, shape):
    """A texture of mean about 0 and standard deviation about 1, turned by `angle`."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(float)
    y, x = y - height / 2, x - width / 2
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    phase = rng.uniform(0, 2 * np.pi, 4)
    if kind == "lamellae":
        period = rng.uniform(6.5, 8.5)
        wobble = 1.2 * np.sin(v / 14 + phase[1])
        return 1.4 * np.tanh(2 * np.sin(2 * np.pi * (u + wobble) / period + phase[0]))
    if kind == "twins":
        period = rng.uniform(6.5, 8.5)
        turned = u * np.cos(np.pi / 3) + v * np.sin(np.pi / 3)
        first, second = np.sin(2 * np.pi * u / period + phase[0]), np.sin(2 * np.pi * turned / period + phase[1])
        return 1.3 * (first + second)
    if kind == "precipitates":
        period = rng.uniform(9.0, 11.0)
        waves = [np.cos(2 * np.pi * (u * np.cos(a) + v * np.sin(a)) / period + p) for a, p in zip((0, 1.0472, 2.0944), (0, 0, 0))]
        return 1.6 * np.maximum(sum(waves), 0.4) - 1.25
    if kind == "needles":
        field = np.zeros(shape)
        half = max(shape) / 2 + 8
        for _ in range(int(4 * half * half / 70)):
            cu, cv = rng.uniform(-half, half, 2) * 1.42
            du, dv = u - cu, v - cv
            field = np.maximum(field, np.exp(-((du / 1.3) ** 2)) * (np.abs(dv) < rng.uniform(4, 8)))
        return 2.0 * field - 0.9
    # Plain: a weak isotropic mottle.
    noise = rng.normal(size=shape)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    radius = np.hypot(fy, fx)
    smooth = np.fft.ifft2(np.fft.fft2(noise) * np.exp(-((radius * 12) ** 2))).real
    return 0.6 * smooth / (smooth.std() + 1e-9)


def image(rng):
    """Pixels [SIDE, SIDE] u16, label map, and the kind and angle of each grain."""
    labels, distance = voronoi(rng)
    grey = np.zeros((SIDE_PX, SIDE_PX))
    grains = []
    for label in range(1, GRAINS_PER_IMAGE + 1):
        kind = int(rng.integers(len(KINDS)))
        angle = rng.uniform(0, 2 * np.pi)
        level, contrast = rng.uniform(0.42, 0.62), rng.uniform(0.055, 0.085)
        rows, columns = np.nonzero(labels == label)
        box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        inside = labels[box] == label
        values = level + contrast * texture(KINDS[kind], rng, angle, inside.shape)
        grey[box][inside] = values[inside]
        grains.append((label, kind, np.degrees(angle)))
    grey *= 1 - 0.85 * np.exp(-((distance / 1.5) ** 2))
    # Light falls off a little to one side, and electrons are counted.
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX - 0.5
    a = rng.uniform(0, 2 * np.pi)
    grey *= 1 + 0.12 * (np.cos(a) * x + np.sin(a) * y)
    counts = rng.poisson(np.clip(grey, 0.02, 1) * 900)
    return (counts * 50).astype(np.uint16), labels, grains


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, compression="zlib", compressionargs={"level": 9}, predictor=True, **options)
    return buffer.getvalue()


def outputs():
    """File name -> bytes."""
    truth = ["id\tkind\tangle_deg"]
    files = {}
    for number in range(NUM_IMAGES):
        rng = np.random.default_rng([SEED, number])
        pixels, labels, grains = image(rng)
        name = f"polycrystal-{number + 1}"
        per_cm = 10_000 / PIXEL_SIZE_UM
        files[f"images/{name}.tif"] = tiff(
            pixels,
            description="ImageJ=1.53t\nunit=micron\n",
            resolution=(per_cm / 10_000, per_cm / 10_000),
            resolutionunit="NONE",
            metadata=None,
            software=None,
        )
        files[f"labels/{name}.tif"] = tiff(labels.astype(np.uint16), metadata=None, software=None)
        kinds = np.zeros(GRAINS_PER_IMAGE + 1, np.uint8)
        for label, kind, angle in grains:
            kinds[label] = kind + 1
            truth.append(f"{name}#{label}\t{KINDS[kind]}\t{angle:.2f}")
        files[f"kinds/{name}.tif"] = tiff(kinds[labels], metadata=None, software=None)
    files["truth.tsv"] = ("\n".join(truth) + "\n").encode()
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    here = pathlib.Path(__file__).parent
    for name, content in outputs().items():
        path = here / name
        if check:
            if path.read_bytes() != content:
                sys.exit(f"{name} differs from what this script makes")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)


if __name__ == "__main__":
    main()
