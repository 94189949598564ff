#!/usr/bin/env python3
"""Time commands against each other and print one Markdown table.

    measure.py [--rounds 3] [--title TEXT] < COMMANDS

One line of standard input a command: NAME<TAB>SETUP<TAB>COMMAND, both run by `sh -c`; the setup (may be empty) is not timed. The
first command is the one that is judged: the column `ratio` is its wall time over that of the row's command, so 0.50 means that it
takes half the time of that one. The commands take turns, round after round, so that other work on the machine falls on all of
them; the fastest round of each counts. Peak memory is the largest resident set of any process of the command in any round (from
wait4; never below the 14 MiB or so of this script, from which the command is started).
A command that fails ends the measurement. Warm page cache: each command has one unmeasured run first, unless --cold.
"""

import argparse
import os
import subprocess
import sys
import time


def run(command):
    """(wall s, CPU s, peak MiB) of one run."""
    start = time.perf_counter()
    child = subprocess.Popen(["sh", "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    message = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall_s = time.perf_counter() - start
    if status:
        sys.exit(f"failed ({os.waitstatus_to_exitcode(status)}): {command}\n{message.decode(errors='replace')[-2000:]}")
    return wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--title", default="command")
    parser.add_argument("--cold", action="store_true", help="no unmeasured run first")
    args = parser.parse_args()
    commands = [line.rstrip("\n").split("\t") for line in sys.stdin if line.strip()]
    best = {}
    for number in range(args.rounds + (not args.cold)):
        for name, setup, command in commands:
            if setup:
                subprocess.run(["sh", "-c", setup], check=True)
            measured = run(command)
            if number or args.cold:
                before = best.get(name, measured)
                best[name] = (*min(before[:2], measured[:2]), max(before[2], measured[2]))
    judged_s = best[commands[0][0]][0]
    print(f"| {args.title} | wall s | CPU s | peak MiB | ratio |\n|---|---:|---:|---:|---:|")
    for name, (wall_s, cpu_s, peak_mib) in best.items():
        print(f"| {name} | {wall_s:.2f} | {cpu_s:.2f} | {peak_mib:.0f} | {judged_s / wall_s:.2f} |")
    print(flush=True)


if __name__ == "__main__":
    main()
