"""What the module gives is what the program gives, byte for byte; neighbours are checked against all pairs."""

import gzip
import json
import subprocess
from pathlib import Path

import invar
import numpy as np
import pytest
from conftest import IMAGES, MIN_LENGTH, READS, SHORT, TRUTH, inside


def run(program: str, *arguments: object) -> str:
    return subprocess.run([program, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_ingest_train_and_embed(program: str, made: Path, tmp_path: Path) -> None:
    (tmp_path / "reads.fastq.gz").symlink_to(made / "reads.fastq.gz")
    with inside(tmp_path):
        run(program, "ingest", "reads", "reads.fastq.gz", "--out", "data", "--min-length", MIN_LENGTH)
        sets = [f"--set={key}={json.dumps(value)}" for key, value in SHORT.items()]
        common = ["--threads", 2, "--device", "cpu"]
        run(program, "train", "reads/quickstart", "--data", "data", "--out", "run", *sets, *common)
        run(program, "embed", "--model", "run", "--data", "data", "--out", "embeddings", *common)
    ours, theirs = files(made / "embeddings"), files(tmp_path / "embeddings")
    assert ours == theirs and ours
    shards = [name for name in files(made / "data") if name.endswith(".shard")]
    assert shards and all(files(made / "data")[name] == files(tmp_path / "data")[name] for name in shards)
    model = "model.safetensors"
    assert (made / "run" / model).read_bytes() == (tmp_path / "run" / model).read_bytes()


def test_finetune_and_predict(program: str, made: Path, tmp_path: Path) -> None:
    species = {line.split("\t")[0]: line.split("\t")[1] for line in TRUTH.read_text().splitlines()[1:]}
    known = [name for name in invar.read_embeddings(made / "embeddings").ids if name in species][:60]
    labels = {name: species[name] for name in known}
    (tmp_path / "labels.tsv").write_text("id\tlabel\n" + "".join(f"{name}\t{label}\n" for name, label in labels.items()))
    with inside(tmp_path):
        for name in ["run", "data"]:
            (tmp_path / name).symlink_to(made / name)
        tuned = invar.finetune("finetune/probe", model="run", data="data", labels=labels, out="ours")
        assert tuned.summary["labels"]["columns"][0]["name"] == "label"
        ours = invar.predict(tuned, data="data", out="ours.parquet")
        words = ["--data", "data", "--device", "cpu"]
        run(program, "finetune", "finetune/probe", "--model", "run", "--labels", "labels.tsv", "--out", "theirs", *words)
        run(program, "predict", "--model", "theirs", "--out", "theirs.parquet", *words)
        assert (tmp_path / "ours.parquet").read_bytes() == (tmp_path / "theirs.parquet").read_bytes()
        assert ours.column_names[:4] == ["id", "source", "key", "label"]
        assert set(ours.column("label")) <= set(labels.values())
        # Without a place of its own it lives as long as it is held.
        assert len(invar.predict(tuned, data="data", threshold=0.9)) == len(ours)
        with pytest.raises(invar.BadInput, match="at least two different labels"):
            invar.finetune("finetune/probe", model="run", data="data", labels=dict.fromkeys(labels, "one"), out="bad")


#: Two rounds of a narrow network.
FEDERATED = {
    "federation.rounds": 2,
    "federation.local_steps": 2,
    "federation.keys": 5,
    "train.batch_size": 8,
    "encoder.hidden": [16],
    "encoder.dim": 8,
    "source.view.ks": [3],
}


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[invar.Dataset]:
    """The current directory: with data of two sites, other reads at each."""
    monkeypatch.chdir(tmp_path)
    lines = gzip.decompress(READS.read_bytes()).splitlines(keepends=True)
    made = []
    for number, site in enumerate("ab"):
        Path(f"{site}.fastq").write_bytes(b"".join(lines[160 * number : 160 * (number + 1)]))
        made.append(invar.ingest("reads", f"{site}.fastq", out=site))
    return made


def test_sites_in_one_process_and_apart(program: str, sites: list[invar.Dataset]) -> None:
    recipe, common = "reads/federated", {"set": FEDERATED, "device": "cpu", "threads": 2}
    sets = [f"--set={key}={json.dumps(value)}" for key, value in FEDERATED.items()]
    words = ["--data", "a", "--data", "b", "--out", "theirs"]
    run(program, "federate", "simulate", recipe, *words, *sets, "--device", "cpu")
    events: list[dict] = []
    ours = invar.federate.simulate(recipe, data=sites, out="ours", on_event=events.append, **common)
    assert files(Path("ours")) == files(Path("theirs"))
    assert (ours.facts["round"], [line["round"] for line in ours.rounds]) == (2, [1, 2])
    assert events[-1]["event"] == "progress" and events[-1]["done"] == 2
    # The same rounds, step by step: the names and the states of the sites are those of a simulation.
    last = invar.federate.init(recipe, data=sites[0], out="0", **common)
    for number in (1, 2):
        updates = []
        for site, data in enumerate(sites, 1):
            given = {"site": f"site-{site}", "state": f"state-{site}", "out": f"update-{number}-{site}"}
            updates.append(invar.federate.step(recipe, data=data, global_=last, **given, **common))
        assert [update.facts["site"] for update in updates] == ["site-1", "site-2"]
        before, last = last, invar.federate.merge(updates, global_=last, out=str(number))
    for file in ("model.safetensors", "bank.parquet", "global.json"):
        assert Path("2", file).read_bytes() == Path("ours", file).read_bytes(), file
    assert len(invar.embed(last, data=sites, out="embeddings", device="cpu")) == 80
    # It began with the model of the round before.
    with pytest.raises(invar.BadInput, match="site-1"):
        invar.federate.merge(updates[0], global_=last, out="3")
    words = ["--update", updates[0].path, "--global", before.path, "--members", "a", "--others", "b", "--samples", 20]
    told = json.loads(run(program, "federate", "membership", recipe, *words, *sets, "--device", "cpu", "--json"))
    asked = {"update": updates[0], "global_": before, "members": sites[0], "others": sites[1], "samples": 20}
    assert invar.federate.membership(recipe, **asked, **common) == told
    with pytest.raises(invar.Usage, match="^key\n  because: No such file"):
        address = {"superlink": "http://127.0.0.1:9", "key": "key", "state": "state"}
        invar.federate.client(recipe, data=sites[0], **address, **common)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, []),
        ({"method": "kmeans", "k": 4, "seed": 7}, ["--method", "kmeans", "--k", 4, "--seed", 7]),
        ({"min_cluster_size": 9, "projection": "pca"}, ["--min-cluster-size", 9, "--projection", "pca"]),
        ({"resolution": 0.5, "threads": 1}, ["--resolution", 0.5, "--threads", 2]),
    ],
)
def test_cluster(program: str, work: Path, options: dict, arguments: list) -> None:
    run(program, "cluster", "embeddings", "--out", "theirs.parquet", *arguments)
    found = invar.cluster("embeddings", out="ours.parquet", **options)
    for suffix in ("parquet", "tsv"):
        assert Path(f"ours.{suffix}").read_bytes() == Path(f"theirs.{suffix}").read_bytes()
    assert len(found.groups) >= found.summary["num_clusters"] == len(set(found.labels.tolist()) - {-1})
    # Without a name the file is another, and the rows are the same.
    again = invar.cluster(invar.read_embeddings("embeddings"), **options)
    assert np.array_equal(again.labels, found.labels) and np.array_equal(again.places, found.places)


@pytest.mark.parametrize("method", ["umap", "pca"])
@pytest.mark.parametrize("clusters", ["kmeans", "leiden"])
def test_project(work: Path, method: str, clusters: str) -> None:
    found = invar.cluster("embeddings", clusters, projection=method, seed=5)
    places = invar.project(invar.read_embeddings("embeddings"), method, seed=5)
    assert places.shape == (len(found), 2) and places.dtype == np.float32
    assert np.array_equal(places, found.places)
    assert found.projection == method


def test_search(program: str, work: Path) -> None:
    name = invar.read_embeddings("embeddings").ids[3]
    where = "length_bp > 2000"
    run(program, "search", "embeddings", "--like", name, "--where", where, "--top", 4, "--out", "theirs.parquet")
    found = invar.search("embeddings", k=4, like=name, where=where, out="ours.parquet")
    assert Path("ours.parquet").read_bytes() == Path("theirs.parquet").read_bytes()
    assert found.column("rank").tolist() == [1, 2, 3, 4]


def test_search_for_raw_files(program: str, work: Path) -> None:
    run(program, "search", "embeddings", "--query", "reads.fastq.gz", "--top", 1, "--out", "theirs.parquet")
    found = invar.search("embeddings", ["reads.fastq.gz"], k=1, out="ours.parquet")
    assert Path("ours.parquet").read_bytes() == Path("theirs.parquet").read_bytes()
    assert len(found) == 4000


def test_assign(program: str, work: Path) -> None:
    run(program, "cluster", "embeddings", "--assign", "clusters.parquet", "--out", "theirs.parquet")
    found = invar.assign("clusters.parquet", "embeddings", out="ours.parquet")
    assert Path("ours.parquet").read_bytes() == Path("theirs.parquet").read_bytes()
    # The same from memory, where nothing is said of the model: it is taken to be that of the clusters.
    emb = invar.read_embeddings("embeddings")
    clusters = invar.cluster(emb, seed=1)
    some = invar.assign(clusters, emb.numpy()[5:25])
    assert np.array_equal(some.labels, invar.assign(clusters, emb).labels[5:25])
    assert len(found) == len(emb)


def test_evaluate(program: str, work: Path) -> None:
    told = json.loads(run(program, "evaluate", "embeddings", "--labels", TRUTH, "--json"))
    assert invar.evaluate("embeddings", labels=TRUTH) == told
    labels = dict(line.split("\t")[:2] for line in TRUTH.read_text().splitlines()[1:])
    column = TRUTH.read_text().split("\n")[0].split("\t")[1]
    assert invar.evaluate("embeddings", labels=labels, label_column=column) == told


def test_report_and_the_whole_recipe(program: str, script: str, tmp_path: Path) -> None:
    with inside(tmp_path):
        inputs = sorted(IMAGES.iterdir())[:2]
        small = {"train.steps": 2, "train.batch_size": 8, "train.validation_fraction": 0.2}
        stages = invar.run("micrographs/quickstart", inputs, out="result", set=small, device="cpu", threads=2)
        assert {"ingest", "train", "embed", "cluster", "report"} <= set(stages["stages"])
        run(program, "report", "result", "--out", "theirs.html")
        assert invar.report("result", out="ours.html") == Path("ours.html")
        assert Path("ours.html").read_bytes() == Path("theirs.html").read_bytes()
        run(script, "report", "result", "--out", "script.html")
        assert Path("script.html").read_bytes() == Path("theirs.html").read_bytes()


def all_pairs(vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    nearest = np.argsort(-cosines, axis=1)[:, :k]
    return nearest, np.take_along_axis(cosines, nearest, axis=1)


@pytest.mark.parametrize("exact", [True, False])
def test_neighbors_are_those_of_all_pairs(exact: bool) -> None:
    vectors = np.random.default_rng(1).normal(size=(700, 24)).astype(np.float32)
    indices, cosines, recall = invar.neighbors(vectors, 9, exact=exact)
    expected, expected_cosines = all_pairs(vectors, 9)
    assert indices.shape == cosines.shape == (700, 9) and recall == 1
    assert np.allclose(cosines, expected_cosines, atol=1e-5)
    assert (indices == expected).mean() > 0.999


def test_few_rows() -> None:
    vectors = np.eye(3, dtype="f4")
    assert invar.neighbors(vectors, 9).indices.shape == (3, 2)
    assert invar.neighbors(vectors, 0).indices.shape == (3, 0)
    assert invar.neighbors(vectors[:1]).cosines.shape == (1, 0)
    assert invar.neighbors(vectors[:0]).indices.shape == (0, 0)
    assert invar.project(vectors[:0]).shape == (0, 2)
    assert invar.project(vectors[:1]).tolist() == [[0, 0]]
    assert invar.cluster(vectors[:1]).labels.tolist() == [0]
    assert invar.cluster(vectors[:0], "kmeans", k=2).labels.tolist() == []


def test_many_neighbors_are_nearly_all_found() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(21_000, 16)).astype("f4")
    found = invar.neighbors(vectors, 10)
    exact = invar.neighbors(vectors, 10, exact=True)
    hits = [len(set(a) & set(b)) for a, b in zip(found.indices[::20], exact.indices[::20], strict=True)]
    assert 0.95 < found.recall < 1 and abs(np.mean(hits) / 10 - found.recall) < 0.02
    assert np.array_equal(invar.neighbors(vectors, 10, threads=1).indices, found.indices)
