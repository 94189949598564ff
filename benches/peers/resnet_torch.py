#!/usr/bin/env python3
"""The network of `encoder.type = "resnet"` in PyTorch eager: training steps on random views, timed.

    resnet_torch.py --size tiny --side 64 --batch 64 --steps 20 --threads 2 [--bf16] [--channels-last] [--c4]
    resnet_torch.py --check      the values that crates/invar-nn/tests/images.rs expects

A step is what Invar's trainer does: two views a pair through the network, symmetric InfoNCE, backward, clip, fused
AdamW. Needs torch.
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import nn

SIZES = {
    "nano": ([16, 32, 64, 128], 1, (5, False)),
    "tiny": ([32, 64, 128], 1, (5, False)),
    "small": ([32, 64, 128, 256], 1, (5, False)),
    "resnet18": ([64, 128, 256, 512], 2, (7, True)),
}


class ConvNorm(nn.Module):
    def __init__(self, num_in, num_out, side, stride, norm):
        super().__init__()
        self.kernel = nn.Conv2d(num_in, num_out, side, stride, side // 2, bias=False)
        self.norm = nn.BatchNorm2d(num_out) if norm == "batch" else nn.GroupNorm(8, num_out)

    def forward(self, x):
        return self.norm(self.kernel(x))


class Block(nn.Module):
    def __init__(self, num_in, num_out, stride, norm):
        super().__init__()
        self.first = ConvNorm(num_in, num_out, 3, stride, norm)
        self.second = ConvNorm(num_out, num_out, 3, 1, norm)
        changes = num_in != num_out or stride != 1
        self.shortcut = ConvNorm(num_in, num_out, 1, stride, norm) if changes else None

    def forward(self, x):
        y = self.second(F.relu(self.first(x), inplace=True))
        return F.relu(y + (self.shortcut(x) if self.shortcut else x), inplace=True)


class Net(nn.Module):
    def __init__(self, channels, size, dim=128, norm="batch", pool="mean", input_norm=False, c4=False):
        super().__init__()
        widths, depth, (kernel, self.max_pool) = SIZES[size]
        self.pool, self.input_norm, self.c4 = pool, input_norm, c4
        self.stem = ConvNorm(channels, widths[0], kernel, 2, norm)
        blocks, width = {}, widths[0]
        for stage, to in enumerate(widths):
            for number in range(depth):
                blocks[f"stage{stage}_block{number}"] = Block(width, to, 2 if stage and not number else 1, norm)
                width = to
        self.blocks = nn.ModuleDict(blocks)
        self.out = nn.Linear(width * (2 if pool == "mean-std" else 1), dim)

    def forward(self, x):
        if self.input_norm:
            x = x - x.mean((2, 3), keepdim=True)
            x = x * (x.square().mean((2, 3), keepdim=True) + 1e-4).rsqrt()
        else:
            x = (x - 0.5) * 4
        rows = len(x)
        if self.c4:
            x = torch.cat([x.rot90(turns, (2, 3)) for turns in range(4)])
        x = F.relu(self.stem(x), inplace=True)
        if self.max_pool:
            x = F.max_pool2d(x, 3, 2, 1)
        for block in self.blocks.values():
            x = block(x)
        x = x.float()
        h = x.mean((2, 3))
        if self.pool == "mean-std":
            h = torch.cat([h, (x.var((2, 3), unbiased=False) + 1e-5).sqrt()], 1)
        elif self.pool == "gem":
            h = (x.clamp_min(1e-5) ** 3).mean((2, 3)) ** (1 / 3)
        if self.c4:
            h = h.view(4, rows, -1).mean(0)
        with torch.autocast(x.device.type, enabled=False):
            return F.normalize(self.out(h), dim=1)


def fix_weights(net):
    """Those of `fix_weights` in crates/invar-nn/tests/images.rs."""

    def rust_name(name):
        name = name.replace("blocks.", "").replace("_block", ".block").replace("kernel.weight", "kernel")
        return "trunk." + name

    state = {rust_name(n): t for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    for k, name in enumerate(sorted(state)):
        i = torch.arange(state[name].numel(), dtype=torch.float64)
        if name.endswith("running_mean"):
            values = i.sin() / 10
        elif name.endswith("running_var"):
            values = i.cos() ** 2 + 1
        else:
            values = (i * 0.3 + k).sin() / 4
        state[name].copy_(values.view_as(state[name]))


@torch.no_grad()
def check():
    x = ((torch.arange(144, dtype=torch.float64) * 0.37).sin() / 2 + 0.5).float().view(1, 1, 12, 12)
    for norm, pool, input_norm in [
        ("batch", "mean", False),
        ("batch", "mean-std", True),
        ("group", "gem", False),
        ("group", "mean", True),
    ]:
        net = Net(1, "nano", 4, norm, pool, input_norm).eval()
        fix_weights(net)
        print(norm, pool, input_norm, [round(v, 7) for v in net(x)[0].tolist()])
    for size in SIZES:
        print(size, sum(p.numel() for p in Net(1, size).parameters()))


def train(args):
    torch.manual_seed(1)
    net = Net(1, args.size, norm=args.norm, c4=args.c4)
    views = torch.rand(2 * args.batch, 1, args.side, args.side)
    if args.channels_last:
        net, views = net.to(memory_format=torch.channels_last), views.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, betas=(0.9, 0.99), fused=True)
    labels = torch.arange(args.batch)
    times, cpu = [], 0.0
    for step in range(args.steps + 3):
        start, cpu_start = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            z = net(views)
        q, k = z.chunk(2)
        logits = q @ k.T / 0.1
        loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        loss.item()
        if step >= 3:
            times.append(time.perf_counter() - start)
            cpu += time.process_time() - cpu_start
    times.sort()
    return {
        "views_per_s": round(2 * args.batch * len(times) / sum(times), 1),
        "best_views_per_s": round(2 * args.batch / times[0], 1),
        "median_ms": round(1e3 * times[len(times) // 2], 1),
        "cpu_ms": round(1e3 * cpu / len(times), 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--norm", choices=["batch", "group"], default="batch")
    parser.add_argument("--side", type=int, default=64, help="of a view, in pixels")
    parser.add_argument("--batch", type=int, default=64, help="pairs")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="autocast the network to bfloat16")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--c4", action="store_true", help="average four quarter turns")
    parser.add_argument("--check", action="store_true", help="print values for the tests instead of timing")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.check:
        check()
    else:
        print(json.dumps(train(args)))


if __name__ == "__main__":
    main()
