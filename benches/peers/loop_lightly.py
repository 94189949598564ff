#!/usr/bin/env python3
"""The whole training loop of `encoder.type = "resnet"` as users of lightly write it: images, transforms, loader, network, loss.

    loop_lightly.py IMAGES [--how lightly|torchvision] [--size nano] [--side 64] [--batch 64] [--steps 30] [--threads 2] [--workers 2]

IMAGES is a directory of 8-bit pictures, each of which is opened when it is asked for, as torchvision's ImageFolder and LightlyDataset do.
`lightly`: its SimCLRTransform with rotation and its NTXentLoss, as its users run them (PIL in, no noise, no disc: less work a view
than Invar's). `torchvision`: the views of `views_torchvision.py` by PIL, and InfoNCE.
The network is that of `resnet_torch.py`, AdamW is fused. Prints pairs a second after a warm-up of five steps.
Needs torch, torchvision, Pillow and lightly.
"""

import argparse
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from resnet_torch import Net
from torch.utils.data import DataLoader, Dataset
from views_torchvision import Views, disc, log_uniform, uniform


class Pictures(Dataset):
    """Lightly's two views of a picture."""

    def __init__(self, paths, side):
        from lightly.transforms import SimCLRTransform

        self.paths = paths
        self.transform = SimCLRTransform(
            input_size=side, cj_sat=0, cj_hue=0, min_scale=0.5, random_gray_scale=0, hf_prob=0, gaussian_blur=0.5,
            sigmas=(0.3, 0.7), rr_prob=1.0, rr_degrees=180, normalize=None,
        )

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return torch.stack(self.transform(Image.open(self.paths[index]).convert("L")))


class Discs(Views):
    """Views as Invar's, by PIL and torchvision."""

    def __init__(self, paths, side):
        self.paths = paths
        self.how, self.size, self.large, self.visible = "pil", side, False, disc(side)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        picture = np.asarray(Image.open(self.paths[index]).convert("L"))
        return torch.stack([self.view(picture), self.view(picture)])

    def view(self, picture):
        diameter = min(picture.shape) * log_uniform(0.7, 1.0)
        return self.augment(self.turn_pil(picture, diameter, uniform(-180, 180)))


def info_nce(first, second, temperature):
    scores = first @ second.T / temperature
    same = torch.arange(len(scores))
    return (F.cross_entropy(scores, same) + F.cross_entropy(scores.T, same)) / 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images")
    parser.add_argument("--how", choices=["lightly", "torchvision"], default="lightly")
    parser.add_argument("--size", default="nano")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    paths = sorted(path for path in pathlib.Path(args.images).iterdir() if path.suffix in {".jpg", ".png", ".tif"})
    dataset = (Pictures if args.how == "lightly" else Discs)(paths, args.side)
    loader = DataLoader(
        dataset, args.batch, shuffle=True, drop_last=True, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    net = Net(1, args.size, dim=64)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    if args.how == "lightly":
        from lightly.loss import NTXentLoss

        loss_of = NTXentLoss(temperature=0.5)
    else:
        loss_of = lambda first, second: info_nce(first, second, 0.5)  # noqa: E731
    done, start = -5, 0.0
    while done < args.steps:
        for views in loader:
            first, second = net(torch.cat([views[:, 0], views[:, 1]])).chunk(2)
            optimizer.zero_grad(set_to_none=True)
            loss_of(first, second).backward()
            optimizer.step()
            done += 1
            if done == 0:
                start = time.perf_counter()
            if done >= args.steps:
                break
    print(f"{args.steps * args.batch / (time.perf_counter() - start):.1f}")


if __name__ == "__main__":
    main()
