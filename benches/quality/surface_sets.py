#!/usr/bin/env python3
"""Make sets of surfaces that nothing was tuned on, each class in the name of its files (`crazing_12.png`).

    benches/quality/surface_sets.py OUT --surfaces IMAGES --textures IMAGES

| set | made of | what differs between pictures of a class |
|---|---|---|
| `relit` | the surfaces | gamma 0.85 to 1.15; a crop of 180 x 180 |
| `rescanned` | the surfaces | the same, gain 0.8 to 1.25, blur up to 1 px, noise up to 0.03, turned by any angle (crop of 140 x 140) |
| `exposed` | the surfaces | gamma 0.6 to 1.6, gain 0.6 to 1.4, offset -0.15 to 0.15: brightness tells little of the class |
| `natural` | the textures | crops of 150 x 150, turned by quarters, relit as `rescanned` |
| `synthetic` | random fields | ten spectra, thresholded or not, orientation, position, relit as `rescanned` |

Every set has a seed of its own. Needs numpy, scikit-image, scipy.
"""

import argparse
import pathlib

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.io import imread, imsave
from skimage.transform import rotate
from skimage.util import img_as_float

PICTURES = (".jpg", ".png", ".bmp")


def between(rng, low, high):
    return rng.uniform(low, high)


def ratio(rng, low, high):
    return np.exp(rng.uniform(np.log(low), np.log(high)))


def crop(rng, image, side):
    top, left = (rng.integers(0, extent - side + 1) for extent in image.shape)
    return image[top : top + side, left : left + side]


def relit(rng, image):
    return crop(rng, image, 180) ** ratio(rng, 0.85, 1.15)


def instrument(rng, image):
    image = image ** ratio(rng, 0.85, 1.15)
    image = (image - 0.5) * ratio(rng, 0.8, 1.25) + 0.5
    image = gaussian_filter(image, between(rng, 0.0, 1.0), mode="mirror")
    return image + between(rng, 0.0, 0.03) * rng.standard_normal(image.shape)


def rescanned(rng, image):
    turned = rotate(image, between(rng, 0, 360), order=3, mode="reflect")
    room = (min(image.shape) - 140) // 2
    middle = turned[room : room + 140, room : room + 140]
    return instrument(rng, middle)


def exposed(rng, image):
    image = crop(rng, image, 180) ** ratio(rng, 0.6, 1.6)
    return (image - 0.5) * ratio(rng, 0.6, 1.4) + 0.5 + between(rng, -0.15, 0.15)


def natural(rng, image):
    return instrument(rng, np.rot90(crop(rng, image, 150), rng.integers(4)))


def random_field(rng, kind, side=200):
    """A stationary random texture. `kind` fixes its spectrum and how values are made of it; orientation and phase are drawn."""
    frequency = [0.03, 0.06, 0.12, 0.2, 0.05][kind % 5]
    width = [0.5, 0.25, 0.5, 0.3, 1.0][kind % 5] * frequency
    stretch = [1.0, 1.0, 3.0, 1.0, 4.0][kind % 5]
    f = np.fft.fftfreq(side)
    angle = between(rng, 0, np.pi)
    u = f[None, :] * np.cos(angle) + f[:, None] * np.sin(angle)
    v = (f[:, None] * np.cos(angle) - f[None, :] * np.sin(angle)) * stretch
    power = np.exp(-0.5 * ((np.hypot(u, v) - frequency) / width) ** 2)
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) * power).real
    field /= field.std()
    if kind >= 5:  # Dark spots or lines on bright ground.
        field = 0.8 - 1.6 * (field > 1.0)
    level = between(rng, 0.4, 0.6)
    return np.clip(level + 0.12 * field + 0.02 * rng.standard_normal(field.shape), 0, 1)


def write(directory, name, image):
    directory.mkdir(parents=True, exist_ok=True)
    imsave(directory / f"{name}.png", np.round(np.clip(image, 0, 1) * 255).astype(np.uint8), check_contrast=False)


def pictures(directory):
    paths = sorted(path for path in directory.iterdir() if path.suffix.lower() in PICTURES)
    return [(path.stem, img_as_float(imread(path, as_gray=True))) for path in paths]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--surfaces", type=pathlib.Path)
    parser.add_argument("--textures", type=pathlib.Path)
    args = parser.parse_args()
    if args.surfaces:
        surfaces = pictures(args.surfaces)
        for seed, change in ((1, relit), (2, rescanned), (3, exposed)):
            rng = np.random.default_rng(seed)
            for name, image in surfaces:
                write(args.out / change.__name__, name, change(rng, image))
    if args.textures:
        rng = np.random.default_rng(4)
        for name, image in pictures(args.textures):
            # Homogeneous ones; the smaller pictures there show objects.
            if min(image.shape) >= 512 and image.shape[0] == image.shape[1]:
                for number in range(40):
                    write(args.out / "natural", f"{name}_{number}", natural(rng, image))
    rng = np.random.default_rng(5)
    for kind in range(10):
        for number in range(30):
            write(args.out / "synthetic", f"field{kind}_{number}", instrument(rng, random_field(rng, kind)))


if __name__ == "__main__":
    main()
