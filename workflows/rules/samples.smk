# What the configuration and the sample sheet say, in the words of the rules.
import csv
import shlex
from pathlib import Path

OUT = config["out"]
DOMAIN = config["domain"]
SHARDS = config["shards"]


def sheet_rows(path):
    """The rows of a sample sheet, as `invar ingest` reads them: parted by commas, semicolons or tabs."""
    text = Path(path).read_text(encoding="utf-8-sig")
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = csv.DictReader(text.splitlines(), delimiter=delimiter)
    return [
        {
            (name or "").strip().lower(): (value or "").strip()
            for name, value in row.items()
            if isinstance(value, str)
        }
        for row in rows
    ]


def named_files(path):
    """The samples of a sheet in order, and what may be the files of each: all cells of its rows. Rows are checked by
    `invar ingest`, which knows their lines."""
    files = {}
    for row in sheet_rows(path):
        if any(row.values()):
            validate(row, f"../schemas/{DOMAIN}.schema.yaml")
            cells = [Path(path).parent / cell for cell in row.values() if cell]
            files.setdefault(row["sample"], {}).update(dict.fromkeys(cells))
    return files


def files_of(sample):
    """The files that the sheet names for a sample, where they are there: one that changes is ingested again. Of one that
    is missing, and of a URL, `invar ingest` tells."""
    return [str(file) for file in FILES[sample] if file.is_file()]


def options(words):
    """Options from the configuration, safe for a shell."""
    return shlex.join(str(word) for word in words)


def settings(values):
    """Overrides of the recipe: --set KEY=VALUE of each."""
    return options(
        word for key, value in values.items() for word in ("--set", f"{key}={value}")
    )


FILES = named_files(config["samples"])
SAMPLES = list(FILES)
DATASETS = expand("{out}/datasets/{sample}", out=OUT, sample=SAMPLES)
DATA = options(word for dataset in DATASETS for word in ("--data", dataset))


# What a job of several processes asks Slurm for: nothing of this is asked for one.
TRAIN_RESOURCES = {}
if config["train"]["processes"] > 1:
    TRAIN_RESOURCES |= {
        "tasks": config["train"]["processes"],
        "nodes": config["train"]["nodes"],
        "mpi": config["train"]["launcher"][0],
    }
if config["train"]["gpus"] > 0:
    # The tasks are counted by `tasks` alone.
    TRAIN_RESOURCES |= {"gpu": config["train"]["gpus"], "tasks_per_gpu": 0}


wildcard_constraints:
    sample="[^/]+",
    shard="[0-9]+",
