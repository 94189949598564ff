"""Opens DIRECTORY/emb.parquet and DIRECTORY/emb as their users would, and compares every value with what was written."""

import pathlib
import sys

import duckdb
import numpy
import pandas
import polars
import pyarrow.compute
import pyarrow.csv
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
    for name in ("emb.parquet", "emb", "half.parquet"):
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

assert pyarrow.parquet.read_schema(DIRECTORY / "half.parquet").field("embedding").type.value_type == pyarrow.float16()

# What people do with text in pyarrow; of its type `string_view` most of it fails.
table = pyarrow.parquet.read_table(DIRECTORY / "emb")
assert table.schema.field("id").type == pyarrow.string(), table.schema
assert table.schema.field("embedding").type == pyarrow.list_(pyarrow.field("item", pyarrow.float32()), DIM), table.schema
assert pyarrow.parquet.read_table(DIRECTORY / "emb", filters=[("id", "==", "read7")]).num_rows == 1
assert table.sort_by([("id", "descending")])["id"][0].as_py() == "read9"
assert table.filter(pyarrow.compute.starts_with(table["id"], "read1")).num_rows == 11
assert table.group_by("source").aggregate([("length_bp", "max")]).num_rows == 2
facts = pyarrow.table({"id": ["read3", "read4"], "species": ["a", "b"]})
assert table.drop(["embedding"]).join(facts, "id", join_type="inner").num_rows == 2
pyarrow.csv.write_csv(table.drop(["embedding"]), DIRECTORY / "facts.csv")
print("pyarrow text: as pyarrow's own")
