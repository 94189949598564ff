#!/usr/bin/env python3
"""The measurement behind train.sh, which says what is compared."""

import argparse
import json
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

PEER = Path(__file__).resolve().parent / "peers"
EMBED_WINDOWS = 300_000  # so many that the start of the command, half a second, counts little


def timed(command):
    """Wall seconds of a command that must succeed."""
    start = time.perf_counter()
    subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    print(f"{seconds:.2f} s", *command, file=sys.stderr, flush=True)
    return seconds


def peer(script, *arguments):
    """The JSON a peer prints."""
    command = [sys.executable, PEER / script, "--json", *arguments]
    made = subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE)
    print(script, made.stdout.decode().strip(), file=sys.stderr, flush=True)
    return json.loads(made.stdout)


def keep_min(times, name, seconds):
    times[name] = min(times.get(name, seconds), seconds)


def peer_settings(recipe, steps):
    """The peer's arguments for a recipe; refuses one whose work the peer does not do."""
    recipe = tomllib.loads(recipe.read_text())
    pairs = recipe["source"]["pairs"]
    kinds = pairs["kinds"]
    # The peer draws both windows from one read: which reads overlap is Invar's to find, in its own time.
    kind = kinds[0]
    model = kind.get("error_model", pairs.get("error_model", {"type": "none"}))["type"]
    view, encoder = dict(recipe["source"]["view"]), dict(recipe["encoder"])
    transform, norm = view.pop("transform", "sqrt"), encoder.pop("norm", True)
    encoder.pop("precision", None)  # the peer is measured in both
    for what, found, expected in [
        ("source.view", view, {"type": "kmers", "ks": [6]}),
        ("kinds", {k["type"] for k in kinds} - {"windows", "overlap-walk", "overlap-component"}, set()),
        ("window_bp", {tuple(k["window_bp"]) for k in kinds}, {tuple(kind["window_bp"])}),
        ("encoder", encoder, {"type": "kmer-mlp", "hidden": [512, 512], "dim": 128}),
        ("loss.type", recipe["loss"]["type"], "info-nce"),
        ("error_model is none or ont", model in ("none", "ont"), True),
    ]:
        if found != expected:
            sys.exit(f"the peer does not know this recipe: {what} is {found}, not {expected}")
    train = recipe["train"]
    return [
        *("--window-bp", *kind["window_bp"], "--batch", train["batch_size"], "--steps", steps),
        *("--lr", train["learning_rate"], "--tau", recipe["loss"]["temperature"]),
        *("--transform", transform, "--norm" if norm else "--no-norm"),
        "--no-errors" if model == "none" else "--errors",
    ]


def measure_training(args, data, run):
    """{name: seconds}; `invar train` first."""
    times = {}
    settings = peer_settings(args.recipe, args.steps)
    steps = ["--set", f"train.steps={args.steps}"]
    for _ in range(args.rounds):
        shutil.rmtree(run, ignore_errors=True)
        keep_min(times, "invar train", timed([args.invar, "train", args.recipe, "--data", data, "--out", run, "-q", *steps]))
        for precision in ([], ["--bf16"]):
            for workers in (0, 1, 2):
                made = peer("train_torch.py", "--reads", args.reads, "--workers", workers, *settings, *precision)
                keep_min(times, f"PyTorch + NumPy, {made['precision']}, {workers} workers", made["seconds"])
    return times


def waited_share(run):
    """Which part of the run's time its metrics say the trainer waited for data, or None."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timings = [row["timing"] for row in rows if "timing" in row]
    return sum(t["wait_s"] for t in timings) / timings[-1]["elapsed_s"] if timings else None


def write_windows(path):
    """Random windows of 2 kb as FASTA, for embedding."""
    import numpy as np

    rng = np.random.default_rng(3)
    bases = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, (EMBED_WINDOWS, 2000))]
    path.write_bytes(b"".join(b">w%d\n%s\n" % (i, row.tobytes()) for i, row in enumerate(bases)))


def measure_embedding(args, run, settings):
    """{name: windows/s}; `invar embed` first, as a whole command."""
    fasta, data, out = args.out / "windows.fasta", args.out / "windows", args.out / "windows.parquet"
    write_windows(fasta)
    shutil.rmtree(data, ignore_errors=True)
    timed([args.invar, "ingest", "reads", fasta, "--out", data, "-q"])
    rates = {}
    for _ in range(max(3, args.rounds)):
        if out.is_dir():
            shutil.rmtree(out)
        out.unlink(missing_ok=True)
        seconds = timed([args.invar, "embed", "--model", run, "--data", data, "--out", out, "-q"])
        rates["invar embed"] = max(rates.get("invar embed", 0), EMBED_WINDOWS / seconds)
        for bf16 in ([], ["--bf16"]):
            for workers in (0, 2):
                made = peer(
                    "train_torch.py", *settings, "--embed", "--windows", EMBED_WINDOWS, "--workers", workers, *bf16
                )
                name = f"PyTorch + NumPy, {'bf16' if bf16 else 'f32'}, {workers} workers"
                rates[name] = max(rates.get(name, 0), made["windows_per_s"])
            made = peer("gemm_floor.py", *bf16)
            name = f"matrix products alone, {made['precision']}"
            rates[name] = max(rates.get(name, 0), made["forward_windows_per_s"])
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--invar", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    data, run = args.out / "data", args.out / "run"
    if not data.exists():
        timed([args.invar, "ingest", "reads", args.reads, "--out", data, "-q"])
    times = measure_training(args, data, run)
    own = times["invar train"]
    print("| training | s | ratio |\n|---|---:|---:|")
    for name, seconds in times.items():
        print(f"| {name} | {seconds:.1f} | {own / seconds:.2f} |")
    print(f"\nshare of invar's time that it waited for data (metrics.jsonl): {waited_share(run):.3f}\n", flush=True)
    rates = measure_embedding(args, run, peer_settings(args.recipe, args.steps))
    own = rates["invar embed"]
    print("| embedding, windows of 2 kb | windows/s | invar / this |\n|---|---:|---:|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.0f} | {own / rate:.2f} |")


if __name__ == "__main__":
    main()
