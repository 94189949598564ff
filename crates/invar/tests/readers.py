"""Opens a result of `invar run` as its users would, and runs the examples of the docs: readers.py INVAR README.md ..."""

import json
import os
import pathlib
import re
import subprocess
import sys

import duckdb
import numpy
import pandas
import polars
import pyarrow.dataset
import pyarrow.parquet

INVAR = pathlib.Path(sys.argv[1])
NUM_ROWS, DIM = 60, 128


def in_duckdb(path):
    return f"'{path}/*.parquet'" if os.path.isdir(path) else f"'{path}'"


def query(sql, *files):
    run = subprocess.run([INVAR, "query", *files, sql, "--format", "json"], check=True, capture_output=True)
    return json.loads(run.stdout)


READERS = {
    "pyarrow": lambda path: pyarrow.parquet.read_table(path).to_pylist(),
    "polars": lambda path: polars.read_parquet(path).to_dicts(),
    "pandas": lambda path: pandas.read_parquet(path).astype(object).replace({numpy.nan: None}).to_dict("records"),
    "duckdb": lambda path: duckdb.sql(f"SELECT * FROM {in_duckdb(path)}").to_arrow_table().to_pylist(),
}


def plain(row):
    """A row with lists for vectors of any kind."""
    return {name: list(map(float, value)) if name == "embedding" else value for name, value in row.items()}


# Every program sees the same rows, which are those that Invar sees.
FILES = {"result/embeddings": "embeddings", "emb.parquet": "emb", "result/clusters.parquet": "clusters"}
for path, name in FILES.items():
    seen = {program: [plain(row) for row in read(path)] for program, read in READERS.items()}
    seen["invar"] = [plain(row) for row in query(f"SELECT * FROM {name}", path)]
    for program, rows in seen.items():
        assert len(rows) == NUM_ROWS, (program, path, len(rows))
        for row, expected in zip(rows, seen["pyarrow"]):
            assert list(row) == list(expected), (program, path)
            for column, value in expected.items():
                # JSON has the shortest digits of the same number.
                same = numpy.allclose(row[column], value, rtol=1e-6, atol=0) if isinstance(value, (float, list)) else row[column] == value
                assert same, (program, path, column, row[column], value)
print(f"{len(READERS)} programs, {len(FILES)} files: the same rows")

# Joined by key, each row meets itself alone.
embeddings = pyarrow.parquet.read_table("result/embeddings")
clusters = pyarrow.parquet.read_table("result/clusters.parquet")
joined = embeddings.drop(["embedding"]).join(clusters, "key", right_suffix="_of_cluster").to_pylist()
assert len(joined) == NUM_ROWS and all(row["id"] == row["id_of_cluster"] for row in joined)
of_polars = polars.read_parquet("result/embeddings").join(polars.read_parquet("result/clusters.parquet"), on="key")
assert of_polars.height == NUM_ROWS and (of_polars["id"] == of_polars["id_right"]).all()
of_duckdb = "SELECT count(*) FROM 'result/embeddings/*.parquet' e JOIN 'result/clusters.parquet' c ON e.key = c.key WHERE e.id = c.id"
assert duckdb.sql(of_duckdb).fetchall() == [(NUM_ROWS,)]
of_invar = "SELECT COUNT(*) AS n FROM embeddings e JOIN clusters c ON e.key = c.key WHERE e.id = c.id"
assert query(of_invar, "result/embeddings", "result/clusters.parquet") == [{"n": NUM_ROWS}]

# Cosines to one row, by numpy in double precision, and by the programs that have a function of them.
vectors = numpy.stack(embeddings["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, DIM)).astype(float)
norms = numpy.linalg.norm(vectors, axis=1)
expected = vectors @ vectors[7] / norms / norms[7]
key = embeddings["key"][7].as_py()
of_one = f"(SELECT embedding FROM {{}} WHERE key = {key})"
of_invar = query(f"SELECT cosine(embedding, {of_one.format('self')}) AS c FROM self", "result/embeddings")
assert numpy.abs([row["c"] for row in of_invar] - expected).max() < 1e-12
for function, cast in [("list_cosine_similarity", ""), ("array_cosine_similarity", f"::FLOAT[{DIM}]")]:
    of_one_cast = of_one.format("'emb.parquet'").replace("SELECT embedding", f"SELECT embedding{cast}")
    rows = duckdb.sql(f"SELECT {function}(embedding{cast}, {of_one_cast}) FROM 'emb.parquet'").fetchall()
    assert numpy.abs(numpy.array(rows)[:, 0] - expected).max() < 1e-5, function
of_pandas = numpy.stack(pandas.read_parquet("result/embeddings")["embedding"])
assert numpy.abs(of_pandas @ of_pandas[7] - expected).max() < 1e-5
print("cosines of 4 programs agree")

# What a filter needs to pass over a row group is in its statistics.
group = pyarrow.parquet.ParquetFile("emb.parquet").metadata.row_group(0)
columns = {group.column(place).path_in_schema: group.column(place) for place in range(group.num_columns)}
for name in ("id", "source", "key", "length_bp", "gc", "component"):
    statistics = columns[name].statistics
    assert statistics is not None and statistics.has_null_count, name
    values = [value for value in embeddings[name].to_pylist() if value is not None]
    assert statistics.null_count == NUM_ROWS - len(values), name
    if values:
        assert statistics.min <= min(values) and max(values) <= statistics.max, (name, statistics)
assert columns["length_bp"].statistics.max == 2500
print("groups are passed over by what is known of them")


# Vectors that other programs wrote: lists of fixed size and not, in three precisions.
def table(vectors, as_list):
    values = pyarrow.array(vectors.reshape(-1))
    lists = pyarrow.FixedSizeListArray.from_arrays(values, vectors.shape[1])
    ids = pyarrow.array([f"a{row}" for row in range(len(vectors))])
    lists = lists.cast(pyarrow.list_(values.type)) if as_list else lists
    return pyarrow.table({"id": ids, "vector": lists})


def invar(*arguments, code=0):
    run = subprocess.run([INVAR, *arguments], capture_output=True, text=True)
    assert run.returncode == code, (arguments, run.stdout, run.stderr)
    return run


generator = numpy.random.default_rng(1)
two_clouds = generator.normal(size=(200, 8)) + 4 * (numpy.arange(200) % 2)[:, None]
for dtype in (numpy.float16, numpy.float32, numpy.float64):
    for as_list in (False, True):
        vectors = two_clouds.astype(dtype)
        pyarrow.parquet.write_table(table(vectors, as_list), "foreign.parquet", row_group_size=70)
        invar("cluster", "foreign.parquet", "--column", "vector", "--k", "2", "--out", "clouds.parquet", "--force")
        found = pandas.read_parquet("clouds.parquet")
        assert list(found["id"]) == [f"a{row}" for row in range(200)]
        assert found["cluster"][::2].nunique() == 1 and found["cluster"].nunique() == 2, (dtype, as_list)
        scored = json.loads(invar("evaluate", "foreign.parquet", "--column", "vector", "--json").stdout)
        assert (scored["num_rows"], scored["dim"]) == (200, 8)
        wide = vectors.astype(float)
        expected = wide @ wide[150] / numpy.linalg.norm(wide, axis=1) / numpy.linalg.norm(wide[150])
        rows = query("SELECT cosine(vector, (SELECT vector FROM self WHERE id = 'a150')) AS c FROM self", "foreign.parquet")
        assert numpy.abs([row["c"] for row in rows] - expected).max() < 1e-12, (dtype, as_list)
        search = ("search", "foreign.parquet", "--column", "vector", "--top", "9", "--json", "--query", "foreign.parquet")
        answers = json.loads(invar(*search, "--where", "id <> 'a3'", "--itself").stdout)["answers"][150 * 9 :][:9]
        expected[3] = -2
        assert [answer["id"] for answer in answers] == [f"a{row}" for row in numpy.argsort(-expected)[:9]]
        assert numpy.abs([answer["cosine"] for answer in answers] - numpy.sort(expected)[:-10:-1]).max() < 1e-6
        assert set(answers[0]) == {"query", "query_key", "rank", "id", "cosine"}
        vectors[77, 3] = numpy.nan
        pyarrow.parquet.write_table(table(vectors, as_list), "foreign.parquet", row_group_size=70)
        told = invar("cluster", "foreign.parquet", "--column", "vector", "--out", "none.parquet", code=3).stderr
        assert "foreign.parquet: column \"vector\", row 77 (id \"a77\"): expected finite numbers, found NaN in place 3" in told
        invar("cluster", "foreign.parquet", "--column", "vector", "--drop-bad-rows", "--out", "clouds.parquet", "--force")
        assert "a77" not in set(pandas.read_parquet("clouds.parquet")["id"])
        invar(*search, code=3)
        answers = json.loads(invar(*search, "--drop-bad-rows").stdout)["answers"]
        assert len(answers) == 199 * 9 and not any("a77" in (answer["id"], answer["query"]) for answer in answers)
        contents = pathlib.Path("foreign.parquet").read_bytes()
        pathlib.Path("cut.parquet").write_bytes(contents[: len(contents) // 2])
        invar("cluster", "cut.parquet", "--column", "vector", "--out", "none.parquet", code=3)
pyarrow.parquet.write_table(table(two_clouds, False).drop_columns("id"), "foreign.parquet")
answers = json.loads(invar("search", "foreign.parquet", "--column", "vector", "--like", "150", "--json").stdout)["answers"]
assert answers[0]["query"] == "150" and len(answers) == 10

# Directories of parts.
whole = table(two_clouds, True)
pyarrow.dataset.write_dataset(whole, "by_pyarrow", format="parquet", max_rows_per_file=60, max_rows_per_group=60)
duckdb.sql("COPY (SELECT * FROM whole) TO 'by_duckdb' (FORMAT parquet, PER_THREAD_OUTPUT)")
os.mkdir("by_polars")
for at in range(0, 200, 50):
    polars.from_arrow(whole)[at : at + 50].write_parquet(f"by_polars/{at:08}.parquet")
pathlib.Path("by_polars/_SUCCESS").touch()
for parts in ("by_pyarrow", "by_duckdb", "by_polars"):
    invar("cluster", parts, "--column", "vector", "--k", "2", "--out", "clouds.parquet", "--force")
    assert list(pandas.read_parquet("clouds.parquet")["id"]) == [f"a{row}" for row in range(200)], parts
    found = json.loads(invar("search", parts, "--column", "vector", "--like", "a150", "--json").stdout)["answers"]
    assert [answer["id"] for answer in found] == [f"a{answer['id']}" for answer in answers], parts
    assert query("SELECT COUNT(*) AS n FROM self", parts) == [{"n": 200}]
print("vectors of other programs are clustered and searched")


# The examples of the docs.
def examples(page):
    """Its blocks of code: (language, text)."""
    return re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


for page in map(pathlib.Path, sys.argv[2:]):
    counts = {"sql": 0, "python": 0, "invar query": 0}
    for language, text in examples(page):
        if language == "sql":
            assert duckdb.sql(text).fetchall(), text
        elif language == "python":
            exec(compile(text, page, "exec"), {})
        elif not language:
            commands = re.findall(r"^invar query (?:.*\\\n)*.*$", text, re.MULTILINE)
            for command in commands:
                environment = {"PATH": f"{INVAR.parent}:{os.environ['PATH']}"}
                run = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True)
                assert run.returncode == 0 and len(run.stdout.splitlines()) >= 1, (command, run.stdout, run.stderr)
            counts["invar query"] += len(commands)
            continue
        else:
            continue
        counts[language] += 1
    print(f"{page.name}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
