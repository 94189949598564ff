"""The lines of JSON that each stage left (`invar --log`), as one table in the order in which they began."""

import csv
import json
from pathlib import Path

COLUMNS = [
    "stage", "out", "host", "status", "started_unix_s", "elapsed_s", "cpu_s", "peak_memory_bytes", "num_rows", "bytes_in",
    "bytes_out", "exit_code", "error",
]  # fmt: skip


def main(stages, output):
    files = sorted(stages.rglob("*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    lines.sort(key=lambda line: line["started_unix_s"])
    with open(output, "w", newline="") as table:
        writer = csv.DictWriter(table, COLUMNS, delimiter="\t", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)


main(Path(snakemake.output[0]).parent / "stages", snakemake.output[0])  # noqa: F821
