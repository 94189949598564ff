#!/usr/bin/env python3
"""The measurement behind train.sh, which says what is compared."""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

PEER = Path(__file__).resolve().parent / "peers"
EMBED_WINDOWS = 20_000


def timed(command):
    """Wall seconds of a command that must succeed."""
    start = time.perf_counter()
    subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def peer(script, *arguments):
    """The JSON a peer prints."""
    command = [sys.executable, PEER / script, "--json", *arguments]
    made = subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE)
    return json.loads(made.stdout)


def keep_min(times, name, seconds):
    times[name] = min(times.get(name, seconds), seconds)


def measure_training(args, data, run):
    """{name: seconds}; `invar train` first."""
    times = {}
    for _ in range(args.rounds):
        shutil.rmtree(run, ignore_errors=True)
        keep_min(times, "invar train", timed([args.invar, "train", args.recipe, "--data", data, "--out", run, "-q"]))
        for precision in ([], ["--bf16"]):
            for workers in (0, 1, 2):
                made = peer(
                    "train_torch.py", "--reads", args.reads, "--steps", args.steps, "--workers", workers, *precision
                )
                keep_min(times, f"PyTorch + NumPy, {made['precision']}, {workers} workers", made["seconds"])
    return times


def waited_share(run):
    """The share of the run's time that its metrics say was spent waiting for data, if they do."""
    path = run / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    waited = [v for row in rows for k, v in row.items() if "wait" in k and isinstance(v, (int, float))]
    return f"{waited}"[:200] if waited else "not stated"


def windows_fastq(path):
    """Random windows of 2 kb as FASTA, for embedding."""
    import numpy as np

    rng = np.random.default_rng(3)
    bases = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, (EMBED_WINDOWS, 2000))]
    path.write_bytes(b"".join(b">w%d\n%s\n" % (i, row.tobytes()) for i, row in enumerate(bases)))


def measure_embedding(args, run):
    """{name: windows/s}; `invar embed` first, as a whole command."""
    fasta, data, out = args.out / "windows.fasta", args.out / "windows", args.out / "windows.parquet"
    windows_fastq(fasta)
    shutil.rmtree(data, ignore_errors=True)
    timed([args.invar, "ingest", "reads", fasta, "--out", data, "-q"])
    rates = {}
    for _ in range(max(3, args.rounds)):
        for name in (out,):
            shutil.rmtree(name, ignore_errors=True) if name.is_dir() else name.unlink(missing_ok=True)
        seconds = timed([args.invar, "embed", "--model", run, "--data", data, "--out", out, "-q"])
        rates["invar embed"] = max(rates.get("invar embed", 0), EMBED_WINDOWS / seconds)
        for bf16 in ([], ["--bf16"]):
            for workers in (0, 2):
                made = peer("train_torch.py", "--embed", "--windows", EMBED_WINDOWS, "--workers", workers, *bf16)
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
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    data, run = args.out / "data", args.out / "run"
    if not data.exists():
        timed([args.invar, "ingest", "reads", args.reads, "--out", data, "-q"])
    times = measure_training(args, data, run)
    own = times["invar train"]
    print("| training, 600 steps of 512 pairs | s | ratio |\n|---|---:|---:|")
    for name, seconds in times.items():
        print(f"| {name} | {seconds:.1f} | {own / seconds:.2f} |")
    print(f"\nwaiting for data, from metrics.jsonl: {waited_share(run)}\n", flush=True)
    rates = measure_embedding(args, run)
    own = rates["invar embed"]
    print("| embedding, windows of 2 kb | windows/s | invar / this |\n|---|---:|---:|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.0f} | {own / rate:.2f} |")


if __name__ == "__main__":
    main()
