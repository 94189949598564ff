"""Results by URL: from a real server of S3, moto's, and back to it."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import invar
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import READS
from moto.moto_server.threaded_moto_server import ThreadedMotoServer


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator["Bucket"]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield Bucket(boto3.client("s3"))
    server.stop()


class Bucket:
    def __init__(self, client: object) -> None:
        self.client = client
        client.create_bucket(Bucket="bucket")

    def put(self, key: str, file: Path) -> None:
        self.client.put_object(Bucket="bucket", Key=key, Body=file.read_bytes())

    def keys(self) -> list[str]:
        return [found["Key"] for found in self.client.list_objects_v2(Bucket="bucket").get("Contents", [])]


def test_embeddings_and_clusters_by_url(work: Path, bucket: Bucket) -> None:
    run, data = invar.Run("run"), invar.Dataset("data")
    for url in ["s3://bucket/emb.parquet", "s3://bucket/parts"]:
        emb = invar.embed(run, data=data, out=url, threads=2, device="cpu")
        assert np.array_equal(emb.numpy(), invar.read_embeddings("embeddings").numpy())
        assert pa.table(emb) == pa.table(invar.read_embeddings("embeddings"))
        # Whoever names it later gives the directory's slash.
        assert invar.read_embeddings(emb.path).ids == emb.ids
    assert emb.path == "s3://bucket/parts/"

    clusters = invar.cluster(emb, out="s3://bucket/found/clusters.parquet")
    assert clusters.path == "s3://bucket/found/clusters.parquet"
    of_files = invar.cluster("embeddings", out="c.parquet")
    assert np.array_equal(clusters.labels, of_files.labels)
    assert clusters.groups == of_files.groups
    answers = invar.search("s3://bucket/emb.parquet", like=emb.ids[0], k=3, out="s3://bucket/answers.parquet")
    assert pa.table(answers) == pa.table(invar.search("embeddings", like=emb.ids[0], k=3))
    neighbors = [invar.neighbors(source, k=3).indices for source in ["s3://bucket/emb.parquet", "embeddings"]]
    assert np.array_equal(*neighbors)
    # What was made for them is gone with them; what was stored stays.
    assert {"emb.parquet", "found/clusters.parquet", "found/clusters.tsv", "answers.parquet"} < set(bucket.keys())


def test_reads_by_url(work: Path, bucket: Bucket) -> None:
    bucket.put("lane/reads.fastq.gz", READS)
    data = invar.ingest("reads", "s3://bucket/lane/reads.fastq.gz", out="of-url", min_length=5000)
    of_file = invar.Dataset("data")
    assert data.manifest["counts"] == of_file.manifest["counts"]
    (found,), (expected,) = data.manifest["inputs"], of_file.manifest["inputs"]
    assert found["sha256"] == expected["sha256"]
    assert found["path"] == "s3://bucket/lane/reads.fastq.gz"


def test_what_is_not_there_or_not_readable_is_told_as_on_the_command_line(work: Path, bucket: Bucket) -> None:
    with pytest.raises(invar.Usage, match="s3://bucket/none.parquet"):
        invar.read_embeddings("s3://bucket/none.parquet")
    with pytest.raises(invar.Usage, match="a name or password in a URL is not taken") as refused:
        invar.read_embeddings("https://me:secret@host/emb.parquet")
    assert "secret" not in str(refused.value)
    with pytest.raises(invar.Usage, match="s3://bucket/data: a directory of many files is made on a disk"):
        invar.ingest("reads", READS, out="s3://bucket/data")
    (work / "torn.parquet").write_bytes(b"PAR1 and no more")
    bucket.put("torn.parquet", work / "torn.parquet")
    with pytest.raises(invar.BadInput, match="^s3://bucket/torn.parquet: "):
        invar.read_embeddings("s3://bucket/torn.parquet")
    # What another process was to read and refused is no fault of the next command here.
    with pytest.raises(invar.Usage, match="ftp://host/reads.fastq: expected a path or a URL"):
        invar.run("reads/quickstart", "ftp://host/reads.fastq", out="result")
    assert len(invar.cluster("embeddings", out="c.parquet")) == len(invar.read_embeddings("embeddings"))


def test_a_table_of_another_program_by_url(work: Path, bucket: Bucket) -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "vector": [[1.0, 0.0], [0.0, 1.0]]}), work / "theirs.parquet")
    bucket.put("theirs.parquet", work / "theirs.parquet")
    theirs = invar.read_embeddings("s3://bucket/theirs.parquet", column="vector")
    assert theirs.ids == ["a", "b"]
    assert theirs.dim == 2
