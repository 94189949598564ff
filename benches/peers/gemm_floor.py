#!/usr/bin/env python3
"""What the network's matrix products alone allow: windows/s of an MLP 2080-512-512-128 without anything around it.

    gemm_floor.py [--threads 2] [--batch 512] [--seconds 3] [--json]

* `forward`: three products with bias (`addmm` into a buffer) per batch: the ceiling of `embed`.
* `train`: the products of a training step: forward, and for each layer the gradients of its weights and of its input (the first
  layer needs none of its input): the ceiling of `train`, in windows (a pair is two).
* `gflops`: the rate the products reached.

Best of several runs, since other work on the machine can only slow it.
"""

import argparse
import json
import time

import torch

LAYERS = [(2080, 512), (512, 512), (512, 128)]


@torch.inference_mode()
def rate(step, windows, seconds):
    """Windows per second of the fastest of the runs that fit into `seconds`."""
    step()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(5):
            step()
        best = min(best, (time.perf_counter() - start) / 5)
    return windows / best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=512, help="windows a product")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 instead of f32")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    kind = {"dtype": torch.bfloat16 if args.bf16 else torch.float32}
    weights = [torch.randn(i, o, **kind) / i**0.5 for i, o in LAYERS]
    biases = [torch.randn(o, **kind) for _, o in LAYERS]
    inputs = [torch.randn(args.batch, i, **kind) for i, _ in LAYERS]
    outputs = [torch.zeros(args.batch, o, **kind) for _, o in LAYERS]
    input_grads = [torch.empty(args.batch, i, **kind) for i, _ in LAYERS]
    weight_grads = [torch.empty(i, o, **kind) for i, o in LAYERS]

    def forward():
        for x, w, b, y in zip(inputs, weights, biases, outputs, strict=True):
            torch.addmm(b, x, w, out=y)

    def train():
        forward()
        for layer in (2, 1, 0):
            torch.mm(inputs[layer].T, outputs[layer], out=weight_grads[layer])
            if layer:
                torch.mm(outputs[layer], weights[layer].T, out=input_grads[layer])

    products = sum(2 * i * o for i, o in LAYERS)
    forward_rate = rate(forward, args.batch, args.seconds)
    result = {
        "threads": args.threads,
        "precision": "bf16" if args.bf16 else "f32",
        "batch": args.batch,
        "forward_windows_per_s": round(forward_rate),
        "train_windows_per_s": round(rate(train, args.batch, args.seconds)),
        "forward_gflops": round(forward_rate * products / 1e9, 1),
    }
    print(json.dumps(result) if args.json else "  ".join(f"{k} {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
