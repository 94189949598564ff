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
    """The samples of a sheet in order, and what may be the files of each: all cells of its rows, by column, each once. What
    lies in the cells is checked by `invar ingest`."""
    files = {}
    for row in sheet_rows(path):
        if any(row.values()):
            validate(row, f"../schemas/{DOMAIN}.schema.yaml")
            of_sample = files.setdefault(row["sample"], {})
            for column, cell in row.items():
                if cell:
                    file = cell if "://" in cell else str(Path(path).parent / cell)
                    of_sample.setdefault(column, {})[file] = None
    return files


def files_of(sample):
    """The files that the sheet names for a sample, where they are there: one that changes is ingested again. Of one that
    is missing, and of a URL, `invar ingest` tells."""
    cells = [file for files in FILES[sample].values() for file in files]
    return [file for file in dict.fromkeys(cells) if Path(file).is_file()]


def inputs_of(sample):
    """How `invar ingest` is told of a sample: by the sheet, or, of an assembly, by its files."""
    if DOMAIN != "contigs":
        return options(["--sample-sheet", config["samples"], "--sample", sample])
    files = {column: list(files) for column, files in FILES[sample].items()}
    for column, least in {"fasta": 1, "gfa": 0, "paths": 0, "markers": 0}.items():
        found = files.get(column, [])
        if not least <= len(found) <= 1:
            allowed = "one file" if least == 1 else "one file or none"
            raise WorkflowError(
                f"{config['samples']}: column `{column}` of assembly {sample!r}: expected {allowed}, "
                f"found {', '.join(found) or 'none'}"
            )
    words = list(files["fasta"])
    for column in ["bam", "depth", "gfa", "paths", "markers"]:
        if column in files:
            words += [f"--{column}", *files[column]]
    return options(words)


def options(words):
    """Options from the configuration, safe for a shell."""
    return shlex.join(str(word) for word in words)


def settings(values):
    """Overrides of the recipe: --set KEY=VALUE of each."""
    return options(
        word for key, value in values.items() for word in ("--set", f"{key}={value}")
    )


FILES = named_files(config["samples"])
# The smallest genome that is looked for: of contigs alone.
MIN_BIN = (
    options(["--min-bin-bp", config["bins"]["min_bp"]]) if DOMAIN == "contigs" else ""
)
SAMPLES = list(FILES)
DATASETS = expand("{out}/datasets/{sample}", out=OUT, sample=SAMPLES)
DATA = options(word for dataset in DATASETS for word in ("--data", dataset))


# Labels of some samples, those that predictions are compared with, and what is predicted; empty where nobody has any.
LABELS = config.get("labels", {})
TRUTH = [LABELS["truth"]] if "truth" in LABELS else []
PREDICTIONS = f"{OUT}/predictions.parquet" if LABELS else []


def gpus(number):
    """What a job asks Slurm for where it wants GPUs."""
    # The tasks are counted by `tasks` alone.
    return {"gpu": number, "tasks_per_gpu": 0} if number > 0 else {}


# What a job of several processes asks Slurm for: nothing of this is asked for one.
TRAIN_RESOURCES = gpus(config["train"]["gpus"])
if config["train"]["processes"] > 1:
    TRAIN_RESOURCES |= {
        "tasks": config["train"]["processes"],
        "nodes": config["train"]["nodes"],
        "mpi": config["train"]["launcher"][0],
    }


wildcard_constraints:
    sample="[^/]+",
    shard="[0-9]+",
