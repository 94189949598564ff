#!/usr/bin/env python3
"""The peer of `cargo bench -p invar-micrographs --bench views`: the same views by torchvision, two worker processes.

    views_torchvision.py [--workers 2] [--seconds 8] [--lightly]

What a view is: of a 200 x 200 picture of 8 bits the inscribed disc, of a 2048 x 2048 one of 16 bits a disc of 256 pixels
anywhere; turned by any angle, scaled by 0.9 to 1.1, shown on 64 or 128 pixels; blur (p = 0.3), gamma (0.5), contrast and
brightness (0.8), Poisson (0.3) and Gaussian noise (0.5); outside of the disc the mean.

How: `torch`: one affine_grid and grid_sample (bilinear) from the full-resolution crop, then the antialiased resize, then torchvision's
functional transforms, a thread a worker. `pil` (8 bits only): PIL rotation, antialiased resize with a box, then the same.
The crop of the large picture is cut before it is turned. `--lightly`: lightly's SimCLRTransform with rotation, as its users run it
(PIL in, no Poisson or Gaussian noise, no disc): less work a view. The fair peer is the fastest of them.

Output: views a second, collated batches of 64 pairs, through a DataLoader that is warm; and the processor time a view, of all
processes, which a busy machine disturbs less.
"""

import argparse
import math
import os
import time

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as F


def disc(size):
    middle = (size - 1) / 2
    axis = torch.arange(size) - middle
    distance = (axis[:, None] ** 2 + axis[None, :] ** 2).sqrt()
    return ((size / 2 - distance) / 2).clamp(0, 1)


def uniform(low, high):
    return low + (high - low) * torch.rand(()).item()


def log_uniform(low, high):
    return math.exp(uniform(math.log(low), math.log(high)))


class Views(Dataset):
    """Two views of picture `index`, `[2, 1, size, size]`."""

    def __init__(self, how, large, size):
        generator = np.random.default_rng(1)
        side, num, dtype = (2048, 4, np.uint16) if large else (200, 64, np.uint8)
        self.pictures = [generator.integers(0, np.iinfo(dtype).max + 1, (side, side), dtype) for _ in range(num)]
        self.how, self.size, self.large = how, size, large
        self.visible = disc(size)

    def __len__(self):
        return 1 << 20

    def __getitem__(self, index):
        picture = self.pictures[index % len(self.pictures)]
        return torch.stack([self.view(picture), self.view(picture)])

    def view(self, picture):
        diameter = (256 if self.large else 200) * log_uniform(0.9, 1.1)
        if self.large:
            half = math.ceil(diameter / 2) + 2
            row, column = (int(uniform(half, 2048 - half)) for _ in range(2))
            picture = picture[row - half : row + half, column - half : column + half]
        diameter = min(diameter, picture.shape[0])
        angle = uniform(-180, 180)
        if self.how == "pil":
            view = self.turn_pil(picture, diameter, angle)
        else:
            view = self.turn_torch(picture, diameter, angle)
        return self.augment(view)

    def turn_pil(self, picture, diameter, angle):
        side = picture.shape[0]
        first = (side - diameter) / 2
        turned = Image.fromarray(picture).rotate(angle, Image.Resampling.BILINEAR)
        box = (first, first, side - first, side - first)
        small = turned.resize((self.size, self.size), Image.Resampling.BICUBIC, box=box)
        return torch.from_numpy(np.asarray(small, np.float32) / 255)[None]

    def turn_torch(self, picture, diameter, angle):
        levels = 65535 if self.large else 255
        source = torch.from_numpy(picture.astype(np.float32))[None, None].div_(levels)
        points = round(diameter)
        sin, cos = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        scale = diameter / picture.shape[0]
        theta = torch.tensor([[[scale * cos, -scale * sin, 0.0], [scale * sin, scale * cos, 0.0]]])
        grid = torch.nn.functional.affine_grid(theta, (1, 1, points, points), align_corners=False)
        turned = torch.nn.functional.grid_sample(source, grid, padding_mode="reflection", align_corners=False)
        size = [self.size, self.size]
        return F.resize(turned, size, F.InterpolationMode.BICUBIC, antialias=True)[0]

    def augment(self, view):
        if uniform(0, 1) < 0.3:
            sigma = uniform(0.3, 1.0)
            view = F.gaussian_blur(view, 2 * math.ceil(3 * sigma) + 1, sigma)
        view = view.clamp(0, 1)
        if uniform(0, 1) < 0.5:
            view = F.adjust_gamma(view, log_uniform(0.8, 1.25))
        if uniform(0, 1) < 0.8:
            view = (view - 0.5) * log_uniform(0.8, 1.25) + 0.5
        if uniform(0, 1) < 0.8:
            view = view + uniform(-0.1, 0.1)
        if uniform(0, 1) < 0.3:
            photons = log_uniform(100, 2000)
            view = torch.poisson(view.clamp(min=0) * photons) / photons
        if uniform(0, 1) < 0.5:
            view = view + uniform(0, 0.05) * torch.randn_like(view)
        view = view.clamp(-0.5, 1.5)
        fill = (view * self.visible).sum() / self.visible.sum()
        return fill + self.visible * (view - fill)


class Lightly(Dataset):
    def __init__(self, size):
        from lightly.transforms import SimCLRTransform

        # One size: no random zoom beyond the range of the others.
        self.transform = SimCLRTransform(
            input_size=size, cj_sat=0, cj_hue=0, min_scale=0.8, random_gray_scale=0, hf_prob=0, gaussian_blur=0.3,
            kernel_size=None, sigmas=(0.3, 1.0), rr_prob=1.0, rr_degrees=180, normalize=None,
        )
        generator = np.random.default_rng(1)
        self.pictures = [Image.fromarray(generator.integers(0, 256, (200, 200), np.uint8)) for _ in range(64)]

    def __len__(self):
        return 1 << 20

    def __getitem__(self, index):
        return torch.stack(self.transform(self.pictures[index % len(self.pictures)]))


def cpu_seconds(pids):
    """User and system time of processes, from Linux's /proc."""
    fields = [open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")


def measure(dataset, workers, seconds):
    """`(views a second, microseconds of processor time a view)`."""
    loader = DataLoader(dataset, batch_size=64, num_workers=workers)
    batches = iter(loader)
    for _ in range(2 * max(workers, 1)):
        next(batches)
    pids = [os.getpid(), *(worker.pid for worker in getattr(batches, "_workers", []))]
    start, cpu, num = time.perf_counter(), cpu_seconds(pids), 0
    while time.perf_counter() - start < seconds:
        num += next(batches).shape[0] * 2
    return num / (time.perf_counter() - start), (cpu_seconds(pids) - cpu) / num * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--lightly", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{f'what ({args.workers} workers)':<58} {'views/s':>12} {'CPU us/view':>12}")
    for size in (64, 128):
        cases = [("200 x 200, u8, torch", Views("torch", False, size)), ("200 x 200, u8, pil", Views("pil", False, size))]
        cases.append(("256 in 2048 x 2048, u16, torch", Views("torch", True, size)))
        if args.lightly:
            cases.append(("200 x 200, u8, lightly SimCLRTransform", Lightly(size)))
        for name, dataset in cases:
            rate, cpu = measure(dataset, args.workers, args.seconds)
            print(f"{f'{size} px of {name}':<58} {rate:>12.0f} {cpu:>12.1f}", flush=True)


if __name__ == "__main__":
    main()
