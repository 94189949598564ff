#!/usr/bin/env python3
"""The network of `encoder.type = "transformer"`, defaults, in PyTorch eager: training steps on random bases, timed.

    transformer_torch.py --length 512 --batch 64 --steps 20 --threads 2

A step is what Invar's trainer does: both strands of two views a pair through the network, symmetric InfoNCE, backward,
clip, fused AdamW. Beside `cargo bench -p invar-train --bench step -- transformer 512 64 20 2`. Needs torch.
"""

import argparse
import json
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, DEPTH, HEADS, PATCH, DIM = 128, 4, 4, 8, 128


def rotary(positions):
    half = WIDTH // HEADS // 2
    angles = torch.outer(torch.arange(positions).float(), torch.exp(torch.arange(half) * (-math.log(10_000) / half)))
    angles = torch.cat([angles, angles], 1)
    return angles.cos(), angles.sin()


def turn(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(WIDTH, 1e-6), nn.RMSNorm(WIDTH, 1e-6)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp_in, self.mlp_out = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x, attend, cos, sin):
        rows, positions, _ = x.shape
        split = self.qkv(self.norm1(x)).view(rows, positions, 3, HEADS, WIDTH // HEADS)
        q, k, v = (split.select(2, part).transpose(1, 2) for part in range(3))
        y = F.scaled_dot_product_attention(turn(q, cos, sin), turn(k, cos, sin), v, attn_mask=attend)
        x = x + self.out(y.transpose(1, 2).reshape(rows, positions, WIDTH))
        return x + self.mlp_out(F.gelu(self.mlp_in(self.norm2(x))))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(4, WIDTH, PATCH, PATCH)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm, self.out = nn.RMSNorm(WIDTH, 1e-6), nn.Linear(WIDTH, DIM)

    def forward(self, ids, lengths):
        # Sequences of one length have no padding: the reverse complement is a flip.
        ids, lengths = torch.cat([ids, 3 - ids.flip(1)]), torch.cat([lengths, lengths])
        x = self.stem(F.one_hot(ids, 4).transpose(1, 2).float()).transpose(1, 2).contiguous()
        positions = x.shape[1]
        mask = (torch.arange(positions) < (lengths / PATCH).ceil().unsqueeze(1)).float()
        attend, (cos, sin) = mask.bool().view(-1, 1, 1, positions), rotary(positions)
        for block in self.blocks:
            x = block(x, attend, cos, sin)
        pooled = (self.norm(x) * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
        forward, backward = pooled.chunk(2)
        return F.normalize(self.out((forward + backward) * 0.5), dim=1)


def train(args):
    torch.manual_seed(1)
    net = Net()
    ids = torch.randint(4, (2 * args.batch, args.length))
    lengths = torch.full((2 * args.batch,), args.length)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, betas=(0.9, 0.99), fused=True)
    labels = torch.arange(args.batch)
    times, cpu = [], 0.0
    for step in range(args.steps + 3):
        start, cpu_start = time.perf_counter(), time.process_time()
        q, k = net(ids, lengths).chunk(2)
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
    parser.add_argument("--length", type=int, default=512, help="bases of a view")
    parser.add_argument("--batch", type=int, default=64, help="pairs")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(json.dumps(train(args)))


if __name__ == "__main__":
    main()
