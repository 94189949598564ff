#!/usr/bin/env python3
"""Calls of the module and commands of the program, in turns, three rounds after one that is not counted: python.py PROGRAM

Run by python.sh in a directory with `data`, `run`, `embeddings` and `asked.parquet`. The interpreter is running and the module
imported; the program starts anew each time. Prints the best wall time, the CPU time of that round, and how much of the program's
throughput the module has by either.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import invar

ROUNDS = 3


def main(program: str) -> None:
    def run(*arguments: str) -> Callable[[], object]:
        return lambda: subprocess.run([program, *arguments, "--quiet"], check=True, stdout=subprocess.DEVNULL)

    compare(
        "embed 100,000 reads",
        lambda: invar.embed("run", data="data", out="out", probe=0),
        run("embed", "--model", "run", "--data", "data", "--out", "out", "--probe", "0"),
    )
    compare(
        "15 nearest of 5,000 among 100,000",
        lambda: invar.search("embeddings", "asked.parquet", k=15, out="out.parquet"),
        run("search", "embeddings", "--query", "asked.parquet", "--top", "15", "--out", "out.parquet"),
    )
    compare(
        "Leiden and UMAP of 100,000",
        lambda: invar.cluster("embeddings", "leiden", resolution=1, out="out.parquet").labels,
        run("cluster", "embeddings", "--method", "leiden", "--resolution", "1", "--out", "out.parquet"),
    )
    compare("15 nearest of each of 100,000", lambda: invar.neighbors("embeddings", 15), None)


def compare(title: str, module: Callable[[], object], program: Callable[[], object] | None) -> None:
    best: dict[str, tuple[float, float]] = {}
    for number in range(ROUNDS + 1):
        for name, call in (("module", module), ("program", program)):
            if call is not None:
                measured = timed(call)
                if number:
                    best[name] = min(best.get(name, measured), measured)
    text = ", ".join(f"{name} {wall_s:.2f} s ({cpu_s:.2f} CPU s)" for name, (wall_s, cpu_s) in best.items())
    if program is not None:
        wall, cpu = (best["program"][which] / best["module"][which] for which in (0, 1))
        text += f"; throughput {wall:.2f} by wall time, {cpu:.2f} by CPU time"
    print(f"{title}: {text}", flush=True)


def timed(call: Callable[[], object]) -> tuple[float, float]:
    for path in Path().glob("out*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    cpu, start = sum(os.times()[:4]), time.perf_counter()
    call()
    return time.perf_counter() - start, sum(os.times()[:4]) - cpu


if __name__ == "__main__":
    main(sys.argv[1])
