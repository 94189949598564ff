#!/usr/bin/env python3
"""The peer of the quickstart: the same training in PyTorch and NumPy, written as well as we can.

    train_torch.py [--reads FASTQ] [--workers 0] [--json]            # 600 steps of 512 pairs
    train_torch.py --embed [--windows 20000]                         # windows of 2 kb through the network

What it does: a pair is two windows of one read, each with sequencing errors (--no-errors: none) and on a random strand, as
canonical 6-mer profiles [2080]; layer norm, an MLP 2080-512-512-128; symmetric InfoNCE; AdamW with warm-up and
cosine, gradient clipping.

What is done for speed: reads are kept as one array of codes; a window's 6-mers come from three shift-and-add passes, not six; errors
are drawn with one float32 per base; a worker makes a whole batch at a time (`__getitems__`), so that nothing is stacked or copied
twice; batches cross processes through shared memory. The fair peer is the fastest of --workers 0, 1 and 2.

Output: seconds and pairs/s of the training loop (without reading the FASTQ), the share of it that waited for data, the last losses.
Needs torch and numpy only.
"""

import argparse
import gzip
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

K = 6
SUBSTITUTION, INSERTION, DELETION = 0.02, 0.015, 0.015


def canonical_columns():
    """[4^K] column of each 6-mer code: one for a 6-mer and its reverse complement, 2,080 in all."""
    codes = np.arange(4**K)
    reverse, rest = np.zeros_like(codes), codes.copy()
    for _ in range(K):
        reverse = 4 * reverse + (3 - rest % 4)
        rest //= 4
    return np.unique(np.minimum(codes, reverse), return_inverse=True)[1].astype(np.int64)


COLUMNS = canonical_columns()
NUM_COLUMNS = int(COLUMNS.max()) + 1


def add_errors(rng, window):
    """A copy of `window` (codes 0..3) with substitutions, insertions and deletions."""
    u = rng.random(len(window), dtype=np.float32)
    at = np.flatnonzero(u < SUBSTITUTION + INSERTION + DELETION)
    kind = u[at]
    out = window.copy()
    substituted = at[kind < SUBSTITUTION]
    out[substituted] = (out[substituted] + rng.integers(1, 4, len(substituted), dtype=np.int16)) & 3
    inserted = at[(kind >= SUBSTITUTION) & (kind < SUBSTITUTION + INSERTION)]
    deleted = at[kind >= SUBSTITUTION + INSERTION]
    copies = np.ones(len(window), dtype=np.int64)
    copies[inserted] = 2
    copies[deleted] = 0
    out = np.repeat(out, copies)
    behind = np.cumsum(copies)[inserted] - 1
    out[behind] = rng.integers(0, 4, len(behind), dtype=np.int16)
    return out


def profile(window, transform):
    """[2080] canonical 6-mer features, f32; `transform` as in a recipe. `window`: int16 codes 0..3."""
    two = (window[:-1] << 2) + window[1:]
    four = (two[:-2] << 4) + two[2:]
    six = (four[:-2] << 4) + two[4:]
    counts = np.bincount(COLUMNS[six], minlength=NUM_COLUMNS)
    counts = counts.astype(np.float32)
    if transform == "clr":
        logs = np.log(counts + np.float32(0.5))
        return logs - logs.mean()
    frequencies = counts / max(1, len(six))
    return np.sqrt(frequencies) if transform == "sqrt" else frequencies


class Windows(Dataset):
    """Pairs of windows of reads of equal length; pair i is of read order[i] and depends on the seed and its batch only."""

    def __init__(self, reads, order, args):
        self.reads, self.order, self.args = reads, order, args

    def __len__(self):
        return len(self.order)

    def view(self, rng, read):
        length = int(rng.integers(self.args.window_bp[0], self.args.window_bp[1] + 1))
        start = int(rng.integers(len(read) - length + 1))
        window = read[start : start + length]
        if self.args.errors:
            window = add_errors(rng, window)
        if rng.random() < 0.5:
            window = 3 - window[::-1]
        return profile(window, self.args.transform)

    def __getitems__(self, indices):
        rng = np.random.default_rng((self.args.seed, indices[0]))
        batch = np.empty((2, len(indices), NUM_COLUMNS), dtype=np.float32)
        for row, index in enumerate(indices):
            read = self.reads[self.order[index]]
            batch[0, row] = self.view(rng, read)
            batch[1, row] = self.view(rng, read)
        return batch


def network(norm):
    """`kmer-mlp`: [B, 2080] -> [B, 128]. The input is normalised; with `norm` each hidden layer is too."""
    layers, width = [nn.LayerNorm(NUM_COLUMNS, elementwise_affine=False)], NUM_COLUMNS
    for hidden in (512, 512):
        layers += [nn.Linear(width, hidden), *([nn.LayerNorm(hidden)] if norm else []), nn.ReLU()]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, 128))


def info_nce(a, b, tau):
    """Symmetric InfoNCE of L2-normalised a, b [B, D]."""
    logits = a @ b.T / tau  # [B, B]
    target = torch.arange(len(a))
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def train(args, reads):
    rng = np.random.default_rng(args.seed)
    epochs = math.ceil(args.steps * args.batch / len(reads))
    order = np.concatenate([rng.permutation(len(reads)) for _ in range(epochs)])[: args.steps * args.batch]
    loader = DataLoader(
        Windows(reads, order, args),
        batch_size=args.batch,
        num_workers=args.workers,
        collate_fn=torch.from_numpy,
        prefetch_factor=4 if args.workers else None,
    )
    model = network(args.norm)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01, fused=True)
    warmup = max(1, args.steps // 20)

    def rate(step):
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, args.steps - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    losses, waited_s = [], 0.0
    start = asked = time.perf_counter()
    for views in loader:
        waited_s += time.perf_counter() - asked
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            z = model(views.flatten(0, 1))
        z = functional.normalize(z.float(), dim=1)  # [2B, D]
        loss = info_nce(z[: args.batch], z[args.batch :], args.tau)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
        asked = time.perf_counter()
    seconds = time.perf_counter() - start
    losses = torch.stack(losses)
    return model, {
        "workers": args.workers,
        "precision": "bf16" if args.bf16 else "f32",
        "seconds": round(seconds, 2),
        "pairs_per_s": round(args.steps * args.batch / seconds, 1),
        "waited": round(waited_s / seconds, 3),
        "first_loss": round(losses[0].item(), 4),
        "last_loss": round(losses[-20:].mean().item(), 4),
    }


class Sequences(Dataset):
    """Whole windows to embed, as profiles."""

    def __init__(self, windows, transform):
        self.windows, self.transform = windows, transform

    def __len__(self):
        return len(self.windows)

    def __getitems__(self, indices):
        return np.stack([profile(self.windows[i], self.transform) for i in indices])


@torch.inference_mode()
def embed(args, model, windows):
    """[N, 128] and the seconds it took."""
    loader = DataLoader(
        Sequences(windows, args.transform), batch_size=args.batch, num_workers=args.workers, collate_fn=torch.from_numpy
    )
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
        parts = [functional.normalize(model(x).float(), dim=1) for x in loader]
    return torch.cat(parts), time.perf_counter() - start


CODE = np.zeros(256, dtype=np.int16)
for _code, _char in enumerate(b"ACGT"):
    CODE[_char] = _code


def load_reads(path):
    """A list of int16 code arrays (anything but A, C, G, T reads as A: the bench's reads have none)."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as handle:
        return [CODE[np.frombuffer(line.rstrip(), dtype=np.uint8)] for i, line in enumerate(handle) if i % 4 == 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=Path, help="FASTQ; without it, random reads (the same work, nothing to learn)")
    parser.add_argument("--num-reads", type=int, default=20_000, help="random reads")
    parser.add_argument("--read-bp", type=int, default=10_000, help="of random reads")
    parser.add_argument("--window-bp", type=int, nargs=2, default=[2000, 5000], metavar=("MIN", "MAX"))
    parser.add_argument("--errors", action=argparse.BooleanOptionalAction, default=True, help="5 %% sequencing errors")
    parser.add_argument("--transform", choices=["frequency", "sqrt", "clr"], default="sqrt", help="of the counts")
    parser.add_argument("--norm", action=argparse.BooleanOptionalAction, default=True, help="normalise hidden layers")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--tau", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--workers", type=int, default=0, help="processes of the DataLoader")
    parser.add_argument("--bf16", action="store_true", help="autocast the network to bfloat16")
    parser.add_argument("--embed", action="store_true", help="time embedding instead of training")
    parser.add_argument("--windows", type=int, default=20_000, help="windows to embed, of 2 kb")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    if args.embed:
        windows = rng.integers(0, 4, (args.windows, 2000), dtype=np.int16)
        _, seconds = embed(args, network(args.norm).eval(), windows)
        result = {"workers": args.workers, "seconds": round(seconds, 2), "windows_per_s": round(args.windows / seconds)}
    else:
        if args.reads:
            reads = load_reads(args.reads)
        else:
            reads = list(rng.integers(0, 4, (args.num_reads, args.read_bp), dtype=np.int16))
        _, result = train(args, reads)
    print(json.dumps(result) if args.json else "  ".join(f"{k} {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
