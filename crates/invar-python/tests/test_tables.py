"""Tables and arrays go in and out: polars, pyarrow, pandas, DuckDB, numpy."""

from pathlib import Path

import duckdb
import invar
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture
def emb(work: Path) -> invar.Embeddings:
    return invar.read_embeddings("embeddings")


def test_four_programs_take_a_table(emb: invar.Embeddings) -> None:
    stored = pq.read_table("embeddings").to_pylist()
    for rows in (
        pl.DataFrame(emb).to_dicts(),
        pa.table(emb).to_pylist(),
        duckdb.sql("SELECT * FROM emb").to_arrow_table().to_pylist(),
    ):
        assert len(rows) == len(stored) == len(emb) > 100
        assert [list(row) for row in rows[:1]] == [list(row) for row in stored[:1]]
        for ours, theirs in zip(rows, stored, strict=True):
            assert {**ours, "embedding": list(ours["embedding"])} == theirs
    frame = pa.table(emb).to_pandas()
    assert frame["id"].tolist() == emb.ids and list(frame.columns) == emb.column_names


def test_clusters_and_answers_are_tables(emb: invar.Embeddings) -> None:
    clusters = invar.cluster(emb)
    assert pl.DataFrame(clusters)["cluster"].to_list() == clusters.labels.tolist()
    joined = pl.DataFrame(emb).join(pl.DataFrame(clusters), on="key")
    assert joined.height == len(emb)
    answers = invar.search(emb, k=3, key=int(emb.keys[0]))
    assert answers.column("rank").tolist() == [1, 2, 3]
    assert duckdb.sql("SELECT max(rank) FROM answers").fetchall() == [(3,)]


def test_a_table_may_be_taken_more_than_once_and_outlives_its_object(emb: invar.Embeddings) -> None:
    assert pa.table(emb).equals(pa.table(emb))
    reader = pa.RecordBatchReader.from_stream(invar.cluster(emb))
    assert sum(batch.num_rows for batch in reader) == len(emb)
    # A capsule that nobody takes is released.
    for _ in range(100):
        emb.__arrow_c_stream__()


def test_numpy_is_not_a_copy(emb: invar.Embeddings) -> None:
    first, second = emb.numpy(), emb.numpy()
    assert first.shape == (len(emb), emb.dim) and first.dtype == np.float32
    assert np.shares_memory(first, second) and not first.flags.writeable
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    del emb, second
    assert np.isfinite(first).all()


def test_every_kind_of_source_gives_the_same(emb: invar.Embeddings) -> None:
    expected = invar.neighbors("embeddings", 4).indices
    table = pa.table(emb)
    with_pandas = table.drop(["embedding"]).to_pandas()
    with_pandas["embedding"] = list(emb.numpy())
    relation = duckdb.sql("SELECT * FROM emb")
    sources = [emb, emb.numpy(), emb.numpy().astype(float), table, pl.DataFrame(emb), with_pandas, relation]
    for source in [*sources, np.asfortranarray(emb.numpy())]:
        assert np.array_equal(invar.neighbors(source, 4).indices, expected), type(source)
    renamed = pl.DataFrame(emb).rename({"embedding": "vector"})
    assert np.array_equal(invar.neighbors(renamed, 4, column="vector").indices, expected)
    labels = invar.cluster(emb, "kmeans", k=3).labels
    for source in (renamed, invar.read_embeddings(renamed, column="vector")):
        column = None if isinstance(source, invar.Embeddings) else "vector"
        assert np.array_equal(invar.cluster(source, "kmeans", k=3, column=column).labels, labels)


def test_in_many_chunks(emb: invar.Embeddings) -> None:
    table = pa.table(emb)
    chunks = pa.concat_tables([table.slice(first, 7) for first in range(0, table.num_rows, 7)])
    assert np.array_equal(invar.read_embeddings(chunks).numpy(), emb.numpy())
    none = invar.read_embeddings(table.slice(0, 0))
    assert len(none) == 0 and none.ids == []


def test_types_of_other_programs() -> None:
    vectors = pa.array([[1.0, 0.0], [0.0, 1.0]], pa.large_list(pa.float64()))
    kinds = pa.array(["a", None]).dictionary_encode()
    columns = {"byte": pa.array([1, None], pa.uint8()), "kind": kinds, "view": pa.array(["x", "y"], pa.string_view())}
    emb = invar.read_embeddings(pa.table({**columns, "embedding": vectors}))
    assert emb.column("byte") == [1, None] and emb.column("kind") == ["a", None] and emb.column("view") == ["x", "y"]
    for frame in (
        pd.DataFrame({"kind": pd.Categorical(["b", "c"])}),
        pl.DataFrame({"kind": ["b", "c"]}, {"kind": pl.Categorical}),
    ):
        table = pa.table(frame).append_column("embedding", vectors)
        assert invar.read_embeddings(table).column("kind") == ["b", "c"]


def test_rows_without_a_vector() -> None:
    frame = pl.DataFrame({"id": ["a", "b", "c"], "n": [1, 2, 3], "embedding": [[1.0, 0.0], None, [0.0, 1.0]]})
    with pytest.raises(invar.BadInput, match=r'row 1 \(id "b"\).*null'):
        invar.read_embeddings(frame)
    kept = invar.read_embeddings(frame, drop_bad_rows=True)
    assert (kept.ids, kept.dropped, kept.numpy().tolist()) == (["a", "c"], [1], [[1, 0], [0, 1]])
    assert kept.to_anndata().obs["n"].tolist() == [1, 3]


def test_what_is_no_table_of_vectors() -> None:
    halves = pa.table({"half": pa.array([1.0], pa.float16()), "embedding": pa.array([[1.0]], pa.list_(pa.float32()))})
    for source, words in [
        (np.zeros(3), r"shape \(n, d\), found \(3,\)"),
        (np.zeros((3, 0)), "shape"),
        ({"a": 1}, "found dict"),
        (["a", "b"], "found list"),
        (pl.DataFrame({"a": [1]}), 'expected one named "embedding", found a'),
        (pl.DataFrame({"v": [[1.0]]}), "--column v"),
        (halves, 'a table in memory: type of column "half": expected text, boolean'),
        (np.array([[1.0, np.inf]]), "row 0.*inf in place 1"),
    ]:
        with pytest.raises(invar.Error, match=words):
            invar.read_embeddings(source)

    # The producer's own error.
    def broken():
        yield pa.record_batch({"embedding": pa.array([[1.0]])})
        raise ValueError("the disk of another program")

    schema = pa.schema({"embedding": pa.list_(pa.float64())})
    with pytest.raises(invar.Error, match="the disk of another program"):
        invar.read_embeddings(pa.RecordBatchReader.from_batches(schema, broken()))


def test_search_by_array_is_search_by_name(emb: invar.Embeddings) -> None:
    by_name = invar.search(emb, k=5, key=emb.keys[:4].tolist(), itself=True)
    by_array = invar.search(emb, emb.numpy()[:4], k=5)
    assert by_name.column("key").tolist() == by_array.column("key").tolist()
    assert by_array.column("query") == ["0"] * 5 + ["1"] * 5 + ["2"] * 5 + ["3"] * 5


def test_anndata(emb: invar.Embeddings, tmp_path: Path) -> None:
    import anndata

    clusters = invar.cluster(emb, "kmeans", k=3)
    data = emb.to_anndata(clusters)
    assert np.array_equal(data.obsm["X_invar"], emb.numpy())
    assert np.array_equal(data.obsm["X_umap"], clusters.places)
    assert data.obs["cluster"].astype(int).tolist() == clusters.labels.tolist()
    assert data.obs["length_bp"].tolist() == emb.column("length_bp").tolist()
    assert data.obs_names.is_unique and data.uns["invar"]["model_sha256"] == emb.provenance["model_sha256"]
    data.write_h5ad(tmp_path / "a.h5ad")
    assert anndata.read_h5ad(tmp_path / "a.h5ad").obs["id"].tolist() == emb.ids
    other = invar.cluster(emb.numpy()[:9], "kmeans", k=2)
    with pytest.raises(invar.BadInput, match="the clusters are not those of"):
        emb.to_anndata(other)


def test_grains_for_napari(tmp_path: Path) -> None:
    from conftest import IMAGES

    data = invar.ingest("micrographs", [min(IMAGES.iterdir())], out=tmp_path / "data")
    grains = pl.read_parquet(tmp_path / "data/grains.parquet")
    vectors = np.random.default_rng(0).normal(size=(grains.height, 4)).astype(np.float32)
    emb = invar.read_embeddings(grains.with_columns(embedding=pl.Series(vectors, dtype=pl.Array(pl.Float32, 4))))
    clusters = invar.cluster(emb, "kmeans", k=2)
    image = grains["image"][0]
    features = invar.label_features(emb, image, clusters)
    assert features["index"].tolist() == grains["label"].to_list()
    assert features["cluster"].tolist() == clusters.labels.tolist()
    assert {len(values) for values in features.values()} == {grains.height} and "embedding" not in features
    places, options, kind = invar.points_layer(emb, image, clusters)
    assert kind == "points" and places.shape == (grains.height, 2)
    orange, blue = "#e69f00", "#56b4e9"  # Okabe and Ito's first two
    assert options["face_color"] == [orange if label == 0 else blue for label in clusters.labels]
    assert places[:, 0].tolist() == grains["centroid_y_px"].to_list()
    assert isinstance(pd.DataFrame(options["features"])["area_px"].iloc[0], np.integer)
    with pytest.raises(invar.BadInput, match="no grains of an image 'steel'"):
        invar.label_features(emb, "steel")
    with pytest.raises(invar.BadInput, match="embeddings of grains"):
        invar.label_features(invar.read_embeddings(vectors), image)
    assert data.manifest["inputs"]


def test_arrays_as_they_lie_in_memory() -> None:
    values = np.arange(24, dtype="f4").reshape(6, 4)
    odd = np.frombuffer(b"?" + values.tobytes(), dtype="f4", offset=1).reshape(6, 4)
    assert not odd.flags.aligned
    for array in (odd, values[::-1][::-1], np.asfortranarray(values), values.astype(">f4"), values.astype("f8")):
        assert np.array_equal(invar.read_embeddings(array).numpy(), values)
    assert len(invar.read_embeddings(values[:0])) == 0
