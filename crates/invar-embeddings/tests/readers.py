"""Opens DIRECTORY/emb.parquet and DIRECTORY/emb as their users would, and compares every value with what was written."""

import pathlib
import sys

import duckdb
import numpy
import pandas
import polars
import pyarrow.parquet

NUM_ROWS, DIM = 25, 4
DIRECTORY = pathlib.Path(sys.argv[1])


def duckdb_table(path):
    files = path / "*.parquet" if path.is_dir() else path
    return duckdb.sql(f"SELECT * FROM read_parquet('{files}') ORDER BY length_bp").to_arrow_table().to_pylist()


READERS = {
    "pyarrow": lambda path: pyarrow.parquet.read_table(path).to_pylist(),
    "polars": lambda path: polars.read_parquet(path).to_dicts(),
    "pandas": lambda path: pandas.read_parquet(path, dtype_backend="pyarrow").to_dict("records"),
    "duckdb": duckdb_table,
}

for program, read in READERS.items():
    for name in ("emb.parquet", "emb"):
        rows = read(DIRECTORY / name)
        assert len(rows) == NUM_ROWS, (program, name, len(rows))
        for number, row in enumerate(rows):
            assert list(row) == ["id", "source", "length_bp", "embedding"], (program, name, list(row))
            source = None if pandas.isna(row["source"]) else row["source"]
            assert (row["id"], source) == (f"read{number}", "a.fastq" if number % 5 else None), (program, name, row)
            assert row["length_bp"] == number, (program, name, row)
            expected = numpy.eye(DIM)[number % DIM]
            assert numpy.array_equal(numpy.asarray(row["embedding"], float), expected), (program, name, row)
        print(f"{program} {name}: as written")
