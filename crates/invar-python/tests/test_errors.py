"""Errors are exceptions with the program's words; Ctrl-C stops what is running, and the lock is free meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import invar
import numpy as np
import pytest
from conftest import READS, said


@pytest.mark.parametrize(
    ("call", "arguments", "error"),
    [
        (lambda: invar.cluster("nothing", out="c.parquet"), ["cluster", "nothing", "--out", "c.parquet"], invar.Usage),
        (
            lambda: invar.cluster("embeddings", "kmeans", k=0, out="c.parquet"),
            ["cluster", "embeddings", "--method=kmeans", "--k=0", "--out", "c.parquet"],
            invar.Usage,
        ),
        (
            lambda: invar.ingest("reads", "bad.fastq", out="d"),
            ["ingest", "reads", "bad.fastq", "--out", "d"],
            invar.BadInput,
        ),
        (
            lambda: invar.ingest("reads", sample_sheet="bad.csv", out="d"),
            ["ingest", "reads", "--sample-sheet", "bad.csv", "--out", "d"],
            invar.BadInput,
        ),
        (
            lambda: invar.search("embeddings", like="nobody", out="s.parquet"),
            ["search", "embeddings", "--like", "nobody", "--out", "s.parquet"],
            invar.Usage,
        ),
        (
            lambda: invar.search("embeddings", k=1, key=1, where="length_bp >", out="s.parquet"),
            ["search", "embeddings", "--key", 1, "--top", 1, "--where", "length_bp >", "--out", "s.parquet"],
            invar.Usage,
        ),
        (
            lambda: invar.assign("clusters.parquet", "made.parquet", out="c.parquet"),
            ["cluster", "made.parquet", "--assign", "clusters.parquet", "--out", "c.parquet"],
            invar.BadInput,
        ),
        (lambda: invar.report("nothing", out="r.html"), ["report", "nothing", "--out", "r.html"], invar.Usage),
        # Those of invar-learn.
        (
            lambda: invar.train("reads/nothing", data="data", out="r"),
            ["train", "reads/nothing", "--data", "data", "--out", "r"],
            invar.Usage,
        ),
        (
            lambda: invar.train("bad.toml", data="data", out="r"),
            ["train", "bad.toml", "--data", "data", "--out", "r"],
            invar.Usage,
        ),
        (
            lambda: invar.embed("run", data="broken", out="e", device="cpu"),
            ["embed", "--model", "run", "--data", "broken", "--out", "e", "--device", "cpu"],
            invar.BadInput,
        ),
    ],
)
def test_words_and_classes_are_the_programs(program: str, work: Path, call, arguments: list, error: type) -> None:
    Path("bad.fastq").write_text("@a\nACGT\n+\nII\n")
    Path("bad.csv").write_text("sample,fastq_1\na,none.fastq\na,\n")
    Path("bad.toml").write_text("seed = 'x'\n")
    Path("broken").mkdir()
    Path("broken/manifest.json").write_text("{")
    import polars as pl

    pl.DataFrame({"id": ["a"], "embedding": [[1.0, 2.0]]}).write_parquet("made.parquet")
    code, text = said(program, *arguments)
    with pytest.raises(invar.Error) as raised:
        call()
    assert (str(raised.value), type(raised.value)) == (without_notes(text), error)
    assert code == {invar.Failed: 1, invar.Usage: 2, invar.BadInput: 3}[error]
    assert not Path("c.parquet").exists()


def without_notes(text: str) -> str:
    """The last error of what a program prints."""
    return text.split("error: ")[-1].split("\n\nUsage:")[0]


def test_a_machine_that_fails(work: Path) -> None:
    with pytest.raises(invar.Failed, match="/dev/full\n  because: No space left on device"):
        invar.search("embeddings", key=int(invar.read_embeddings("embeddings").keys[0]), log="/dev/full")
    with pytest.raises(invar.Usage, match="unexpected argument '--sed'"):
        invar.cluster("embeddings", sed=1)
    with pytest.raises(invar.Usage, match="expected 'umap' or 'pca', found \"tsne\""):
        invar.project(np.eye(3), "tsne")
    with pytest.raises(TypeError):
        invar.neighbors(np.eye(3), "many")


def test_warnings_and_notes(work: Path, caplog: pytest.LogCaptureFixture) -> None:
    vectors = np.eye(5, dtype="f4")
    with pytest.warns(invar.InvarWarning, match="k = 9, but there are 5 samples"):
        invar.cluster(vectors, "kmeans", k=9)
    events: list[dict] = []
    invar.cluster(vectors, "kmeans", k=9, on_event=events.append)
    assert [event["text"] for event in events if event["event"] == "warning"] == [
        "k = 9, but there are 5 samples: at most that many clusters"
    ]
    with caplog.at_level("INFO", logger="invar"):
        invar.embed("run", data="data", out="again", device="cpu")
    assert "measuring invariance on" in caplog.text


def test_progress(work: Path, capsys: pytest.CaptureFixture) -> None:
    events: list[dict] = []
    small = {"train.steps": 6, "train.batch_size": 8, "encoder.hidden": [8]}
    run = invar.train("reads/quickstart", data="data", out="r", set=small, device="cpu", on_event=events.append)
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2, 3, 4, 5, 6]
    progress = [event for event in events if event["event"] == "progress" and event["stage"] == "train"]
    assert progress[-1] == {"event": "progress", "stage": "train", "done": 6, "total": 6}
    assert [line["loss"] for line in run.metrics if line["event"] == "step"][-1] == pytest.approx(
        [event["loss"] for event in events if event["event"] == "step"][-1]
    )
    bar = invar.ProgressBar()
    invar.embed(run, data="data", out="e", device="cpu", on_event=bar)
    bar.close()
    assert "embed" in capsys.readouterr().err


def test_what_a_listener_raises_ends_the_work(work: Path) -> None:
    def refuse(event: dict) -> None:
        raise LookupError(event["event"])

    with pytest.raises(LookupError):
        invar.cluster(np.eye(50, dtype="f4"), "kmeans", k=99, on_event=refuse, out="c.parquet")
    assert not Path("c.parquet").exists()
    with pytest.raises(LookupError):
        invar.train("reads/quickstart", data="data", out="r", on_event=refuse, device="cpu")
    assert not Path("r/model.safetensors").exists()


INTERRUPTED = """
import sys, invar, numpy as np
vectors = np.random.default_rng(0).normal(size=(60_000, 200)).astype("f4")
sys.stdout.write("begin\\n"); sys.stdout.flush()
try:
    invar.{call}
except KeyboardInterrupt:
    print("stopped")
"""


def interrupted(call: str, directory: Path, at: str = "begin", after_s: float = 0.5) -> subprocess.CompletedProcess:
    code = INTERRUPTED.replace("{call}", call)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=directory)
    assert process.stdout
    while process.stdout.readline().strip() != at:
        assert process.poll() is None
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    return subprocess.CompletedProcess(code, process.returncode, out)


def test_ctrl_c_stops_work_in_the_process(tmp_path: Path) -> None:
    for call in ("neighbors(vectors, 15)", "project(vectors)", 'cluster(vectors, "leiden", out="c.parquet")'):
        done = interrupted(call, tmp_path)
        assert (done.returncode, done.stdout.split()) == (0, ["stopped"]), call
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_stops_a_training_which_goes_on_later(work: Path) -> None:
    steps = "on_event=lambda event: event['event'] == 'step' and print('step', flush=True)"
    # Wide enough that the steps take seconds.
    settings = {"train.steps": 80, "train.batch_size": 16, "encoder.hidden": [1024, 1024]}
    train = f'train("reads/quickstart", data="data", out="r", set={settings}, device="cpu", {steps})'
    done = interrupted(train, work, at="step", after_s=0)
    assert done.returncode == 0 and done.stdout.split()[-1] == "stopped"
    assert not Path("r/model.safetensors").exists()
    events: list[dict] = []
    invar.train("reads/quickstart", data="data", out="r", set=settings, device="cpu", on_event=events.append)
    assert any("going on from step" in event.get("text", "") for event in events)
    assert Path("r/model.safetensors").exists()


def test_a_training_ends_with_the_interpreter_that_is_killed(work: Path) -> None:
    settings = '{"train.steps": 100_000, "train.batch_size": 16, "encoder.hidden": [32]}'
    step = "on_event=lambda event: event['event'] == 'step' and print('step', flush=True)"
    code = f'import invar; invar.train("reads/quickstart", data="data", out="r", set={settings}, device="cpu", {step})'
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "step\n"
    (learn,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    while Path(f"/proc/{learn}/exe").exists():
        time.sleep(0.1)
    assert list(Path("r/checkpoints").iterdir()) and not Path("r/model.safetensors").exists()


def test_other_threads_run_meanwhile() -> None:
    vectors = np.random.default_rng(0).normal(size=(15_000, 128)).astype("f4")
    turns, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            turns[0] += 1
            time.sleep(0)

    counter = threading.Thread(target=count)
    counter.start()
    before = turns[0]
    invar.neighbors(vectors, 15, threads=1)
    during = turns[0] - before
    done.set()
    counter.join()
    assert during > 1000
    # And two of them at a time, each of which is told its own events.
    found: dict[int, np.ndarray] = {}

    def search(k: int) -> None:
        found[k] = invar.neighbors(vectors[:2000], k).indices

    both = [threading.Thread(target=search, args=(k,)) for k in (3, 5)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert np.array_equal(found[5][:, :3], found[3])


def test_without_invar_learn(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata
    import importlib.util

    find, version = importlib.util.find_spec, importlib.metadata.version

    def but(name: str):
        return lambda asked, *rest: None if asked == name else find(asked, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", but("invar_learn"))
        with pytest.raises(invar.NotInstalled, match="pip install invar-learn"):
            invar.train("reads/quickstart", data="data", out="r")
        assert len(invar.cluster("embeddings", "kmeans", k=2)) > 0
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", but("torch"))
        with pytest.raises(invar.WrongTorch, match="needs torch 2.11.0, and no torch is installed"):
            invar.embed("run", data="data", out="e")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda name: "2.9.1+cu128" if name == "torch" else version(name))
        with pytest.raises(invar.WrongTorch, match=r"needs torch 2.11.0, and 2.9.1\+cu128 is installed"):
            invar.embed("run", data="data", out="e")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda name: "0.0.9" if name == "invar-learn" else version(name))
        with pytest.raises(invar.NotInstalled, match=f"invar is {version('invar')}, invar-learn is 0.0.9"):
            invar.embed("run", data="data", out="e")
    with monkeypatch.context() as patch:
        patch.setenv("INVAR_LEARN", "/nowhere/invar-learn")
        with pytest.raises(invar.NotInstalled, match="INVAR_LEARN=/nowhere/invar-learn"):
            invar.embed("run", data="data", out="e")
    assert READS.exists() and os.path.exists("run")
