"""The wheels: what is in them, the program that they install, and how they get on with torch."""

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import invar
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import READS, ROOT, said

WHEELS = Path(os.environ["WHEELS"])


def python(code: str, **options) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, **options)
    return done.stdout.strip()


def test_importing_loads_nothing_else() -> None:
    loaded = python("import sys, invar; print(*sys.modules)").split()
    assert "invar" in loaded
    assert not {"numpy", "pandas", "torch", "anndata", "polars", "pyarrow", "napari"} & set(loaded)


def test_what_is_in_the_wheels() -> None:
    module, learn = sorted(WHEELS.glob("invar-*.whl")), sorted(WHEELS.glob("invar_learn-*.whl"))
    assert len(module) == len(learn) == 1
    assert "-cp310-abi3-manylinux_" in module[0].name and "-py3-none-manylinux_" in learn[0].name
    assert module[0].stat().st_size < 40e6
    for wheel in (*module, *learn):
        names = zipfile.ZipFile(wheel).namelist()
        assert not [name for name in names if re.search(r"torch.*\.so|libc10|\.libs/", name)], names
    assert {"invar/py.typed", "invar/_invar.pyi"} <= set(zipfile.ZipFile(module[0]).namelist())
    assert importlib.metadata.requires("invar-learn") == ["torch==2.11.0"]
    assert importlib.metadata.version("invar") == importlib.metadata.version("invar-learn")
    program = Path(invar.__file__).parents[1] / "invar_learn/invar-learn"
    dynamic = subprocess.run(["readelf", "-d", program], check=True, capture_output=True, text=True).stdout
    assert re.findall(r"runpath: \[(.*)\]", dynamic) == ["$ORIGIN/../torch/lib"]


def test_the_script_is_the_program(script: str, program: str, work: Path) -> None:
    for arguments in (
        ["--version"],
        ["info", "embeddings"],
        ["cluster"],
        ["cluster", "nothing", "--out", "x"],
        ["info", "run"],
    ):
        ours = subprocess.run([script, *arguments], check=False, capture_output=True, text=True)
        theirs = subprocess.run([program, *arguments], check=False, capture_output=True, text=True)
        assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    piped = subprocess.run(
        f"{script} query embeddings 'SELECT * FROM self' | head -1",
        shell=True,
        check=False,
        capture_output=True,
        text=True,
    )
    assert piped.stderr == "" and piped.stdout


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signals_reach_the_script_and_what_it_becomes(script: str, work: Path, name: str) -> None:
    arguments = ["train", "reads/quickstart", "--data", "data", "--out", "r", "--device", "cpu", "--events"]
    process = subprocess.Popen([script, *arguments], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    while json.loads(process.stderr.readline())["event"] != "step":
        assert process.poll() is None
    process.send_signal(getattr(signal, name))
    rest = process.stderr.read()
    assert process.wait() == 130
    last = json.loads(rest.splitlines()[-1])
    assert (last["event"], last["text"], last["exit_code"]) == ("error", "interrupted", 130)


def test_ctrl_c_ends_a_command_of_the_script_without_a_traceback(script: str, tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(30_000, 32)).astype(np.float32)
    rows = pa.FixedSizeListArray.from_arrays(vectors.ravel(), 32)
    pq.write_table(pa.table({"embedding": rows}), tmp_path / "e.parquet")
    arguments = ["cluster", "e.parquet", "--out", "c.parquet", "--events"]
    process = subprocess.Popen([script, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    while json.loads(process.stderr.readline())["event"] != "progress":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait() == 130
    # Events and nothing else.
    assert [json.loads(line)["event"] for line in rest.splitlines()][-1] == "error"
    assert not (tmp_path / "c.parquet").exists()


def test_in_the_process_of_torch(work: Path) -> None:
    code = """
import torch, invar, numpy as np
emb = invar.read_embeddings("embeddings")
vectors = torch.from_numpy(emb.numpy().copy())
cosines, nearest = (vectors @ vectors.T - 3 * torch.eye(len(vectors))).topk(4)
found = invar.neighbors(vectors, 4)
assert np.allclose(found.cosines, cosines.numpy(), atol=1e-5)
again = invar.embed("run", data="data", out="again", device="cpu", threads=2)
assert np.array_equal(again.numpy(), emb.numpy())
assert "libtorch_cpu" in open("/proc/self/maps").read()
print("good", torch.__version__)
"""
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    assert python(code, env=environment).startswith("good 2.11.0")


def test_the_program_runs_without_torch_in_its_process() -> None:
    code = """
import invar
invar.read_embeddings([[1.0, 0.0]])
assert "torch" not in open("/proc/self/maps").read()
"""
    python(code)


def test_types() -> None:
    package = Path(invar.__file__).parent
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "--package", "invar"],
        check=False,
        capture_output=True,
        text=True,
        cwd=package.parents[1],
    )
    assert checked.returncode == 0, checked.stdout
    stubs = (package / "_invar.pyi").read_text()
    names = python("from invar import _invar; print(*(name for name in dir(_invar) if name[0] != '_'))").split()
    assert sorted(names) == sorted(set(re.findall(r"^(?:def|class) (\w+)", stubs, re.MULTILINE)))


def test_all_that_is_public_is_described() -> None:
    for module in (invar, invar.federate):
        for name in module.__all__:
            assert (getattr(module, name).__doc__ or "").strip(), name


def test_the_examples_of_the_page_run(tmp_path: Path) -> None:
    page = (ROOT / "docs/python.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) >= 4
    (tmp_path / "reads.fastq.gz").symlink_to(READS)
    for name in ("images", "kinds"):
        (tmp_path / name).symlink_to(ROOT / "test-data/micrographs/polycrystals" / name)
    print(python("\n".join(examples), cwd=tmp_path))


def test_the_recipe_of_the_demo(script: str, tmp_path: Path) -> None:
    """`make demo`, of reads, with a short training."""
    labels = ROOT / "test-data/reads/mock-community/truth.tsv"
    options = ["--labels", labels, "--set=train.steps=6", "--device=cpu"]
    code, text = said(script, "run", "reads/quickstart", "--input", READS, "--out", tmp_path / "result", *options)
    assert code == 0, text
    assert (tmp_path / "result/report.html").stat().st_size > 100_000
    assert invar.read_embeddings(tmp_path / "result/embeddings").dim > 8
