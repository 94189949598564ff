"""A small result, made by the module and by the program side by side.

INVAR names the program that the wheels are compared with. Everything runs in a fresh environment; see environment.py.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import invar
import pytest

ROOT = Path(__file__).resolve().parents[3]
READS = ROOT / "test-data/reads/mock-community/reads.fastq.gz"
TRUTH = ROOT / "test-data/reads/mock-community/truth.tsv"
IMAGES = ROOT / "test-data/micrographs/polycrystals/images"
#: Few enough reads that each stage takes a second.
MIN_LENGTH = 5000
#: A short training of a narrow network.
SHORT = {"train.steps": 8, "train.batch_size": 16, "encoder.hidden": [32], "train.checkpoint_every": 4}


@pytest.fixture(scope="session")
def program() -> str:
    """The program that cargo built."""
    return os.environ["INVAR"]


@pytest.fixture(scope="session")
def script() -> str:
    """The program that the wheel installs."""
    return str(Path(sys.executable).with_name("invar"))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with data, run, embeddings and clusters of the first reads of the mock community."""
    home = tmp_path_factory.mktemp("made")
    shutil.copy(READS, home / "reads.fastq.gz")
    with inside(home):
        data = invar.ingest("reads", "reads.fastq.gz", out="data", min_length=MIN_LENGTH)
        run = invar.train("reads/quickstart", data=data, out="run", set=SHORT, threads=2, device="cpu")
        emb = invar.embed(run, data=data, out="embeddings", threads=2, device="cpu")
        invar.cluster(emb, out="clusters.parquet")
    return home


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: with links to what was made."""
    for path in made.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class inside:
    """The current directory, for a while."""

    def __init__(self, path: Path) -> None:
        self.path, self.before = path, Path.cwd()

    def __enter__(self) -> None:
        os.chdir(self.path)

    def __exit__(self, *_: object) -> None:
        os.chdir(self.before)


def said(program: str, *arguments: object) -> tuple[int, str]:
    """Exit code and error of a program, without `error: `."""
    done = subprocess.run([program, *map(str, arguments)], check=False, capture_output=True, text=True)
    return done.returncode, done.stderr.removeprefix("error: ").rstrip("\n")
