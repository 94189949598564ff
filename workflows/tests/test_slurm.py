#!/usr/bin/env python3
"""The workflow and the sbatch scripts on a Slurm of two emulated nodes, with what goes wrong on clusters.

workflows/tests/test_slurm.py INVAR WORK      WORK is a directory that is not there; started by `make test-slurm`, as root
"""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

from waiting import expect, say, wait_for

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "workflows/tests/cluster.sh"
RECIPE = ["reads/quickstart"]
# In f32, in which the losses of one process and of two are the same but for the order of sums. Batches large enough that some
# seconds lie between the first checkpoint and the end, in which a training is stopped or killed.
SMALL = {
    "train.batch_size": 512,
    "encoder.hidden": "[128]",
    "encoder.dim": 32,
    "encoder.precision": "f32",
    "train.checkpoint_every": 2,
}


class Bench:
    """A directory with a program, on a cluster."""

    def __init__(self, invar, work):
        self.invar, self.work, self.started = str(invar), work, []

    def environment(self):
        # A small home of its own: Snakemake keeps locks and a cache there.
        return os.environ | {"INVAR": self.invar, "HOME": str(self.work), "OMP_NUM_THREADS": "1"}

    def run(self, *words, check=True, **options):
        words, began = [str(word) for word in words], time.time()
        done = subprocess.run(
            words, check=False, env=self.environment(), cwd=ROOT, text=True, capture_output=True, **options
        )
        if check and done.returncode != 0:
            said = f"{done.stdout}\n{done.stderr}{self.logs_since(began)}"
            sys.exit(f"{' '.join(words)}\nended with {done.returncode}\n{said}")
        return done

    def logs_since(self, began):
        """What jobs have written since then, and Slurm of them."""
        logs = [file for pattern in ("*.log", "cluster/*.log", "*/logs/**/*.txt") for file in sorted(self.work.glob(pattern))]
        logs = [file for file in logs if file.stat().st_mtime >= began]
        return "".join(f"\n{file}:\n{file.read_text(errors='replace')[-4000:]}" for file in logs)

    def start(self, *words):
        """The same, while other things happen."""
        words = [str(word) for word in words]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        self.started.append(subprocess.Popen(words, env=self.environment(), cwd=ROOT, text=True, **pipes))
        return self.started[-1]

    def snakemake(self, name, steps, **changes):
        """Words of a run of the workflow into WORK/NAME, and its configuration."""
        config = {
            "domain": "reads",
            "recipe": RECIPE[0],
            "samples": str(self.work / "samples.csv"),
            "out": str(self.work / name),
            "invar": self.invar,
            "shards": 3,
            "train": {"threads": 1, "set": SMALL | {"train.steps": steps}, "mem_mb": 1000},
            "embed": {"threads": 1, "mem_mb": 1000},
            "cluster": {"mem_mb": 1000, "threads": 1},
        }
        for key, value in changes.items():
            config[key] = (config.get(key, {}) | value) if isinstance(value, dict) else value
        file = self.work / f"{name}.json"
        file.write_text(json.dumps(config))
        (self.work / f"{name}.cwd").mkdir(exist_ok=True)
        return [
            "snakemake", "--snakefile", ROOT / "workflows/Snakefile", "--configfile", file,
            "--directory", self.work / f"{name}.cwd", "--cores", "2", "--nocolor",
        ]  # fmt: skip

    def on_slurm(self, name, steps, retries=2, **changes):
        return [
            *self.snakemake(name, steps, **changes), "--executor", "slurm", "--jobs", "4", "--retries", str(retries),
            "--keep-going", "--default-resources", "slurm_partition=main", "mem_mb=1000", "runtime=10",
            "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2",
            "--seconds-between-status-checks", "2", "--latency-wait", "5",
        ]  # fmt: skip

    def digests(self, name):
        """SHA-256 of what a run of the workflow made, where it does not say when or where."""
        out = self.work / name
        files = [*sorted((out / "embeddings").iterdir()), out / "run/model.safetensors", out / "clusters.tsv"]
        return {str(file.relative_to(out)): sha256(file.read_bytes()).hexdigest() for file in files}

    def losses(self, run):
        lines = [json.loads(line) for line in (self.work / run / "metrics.jsonl").read_text().splitlines()]
        return {line["step"]: line["loss"] for line in lines if "loss" in line}

    def same_losses(self, one, two):
        one, two = self.losses(one), self.losses(two)
        expect(one.keys() == two.keys() and len(one) > 1, f"steps {one.keys()} and {two.keys()}")
        far = {step: (loss, two[step]) for step, loss in one.items() if abs(loss - two[step]) > 1e-4 * abs(loss)}
        expect(not far, f"other losses in two processes: {far}")

    def stages(self, name):
        files = sorted((self.work / name / "stages").rglob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def samples(work, number=3):
    """The mock community cut into samples, and their sheet."""
    with gzip.open(ROOT / "test-data/reads/mock-community/reads.fastq.gz", "rt") as file:
        text = file.read().splitlines(keepends=True)
    records = ["".join(text[at : at + 4]) for at in range(0, len(text), 4)]
    for index in range(number):
        with gzip.GzipFile(work / f"s{index}.fastq.gz", "wb", mtime=0) as file:
            file.write("".join(records[index::number]).encode())
    rows = [f"s{index},s{index}.fastq.gz,{index / 2}\n" for index in range(number)]
    (work / "samples.csv").write_text("sample,fastq_1,depth_um\n" + "".join(rows))


def processes(word):
    """Processes of a command line, and the emulated node that each is on."""
    found = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                line = (directory / "cmdline").read_bytes().split(b"\0")
                environment = (directory / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            nodes = [text.partition(b"=")[2].decode() for text in environment if text.startswith(b"SLURMD_NODENAME=")]
            if word.encode() in line and nodes:
                found[int(directory.name)] = nodes[0]
    return found


def to_the_end(bench):
    say("the workflow through Slurm, and the same on one machine")
    # By the profile; a test cannot wait for its usual pauses.
    truth = str(ROOT / "test-data/reads/mock-community/truth.tsv")
    labels = {"table": truth, "truth": truth, "threads": 1, "mem_mb": 1000, "set": {"train.steps": 10}}
    labels = {"labels": labels, "predict": {"threads": 1, "mem_mb": 1000}}
    bench.run(*bench.on_slurm("slurm", 40, **labels), "--profile", ROOT / "workflows/profiles/slurm")
    bench.run(*bench.snakemake("local", 40, **labels))
    expect(bench.digests("slurm") == bench.digests("local"), "other bytes through Slurm than on one machine")
    lines = bench.stages("slurm")
    expect(
        sorted({line["stage"] for line in lines})
        == ["cluster", "embed", "evaluate", "finetune", "ingest", "predict", "report", "train"],
        lines,
    )
    expect(all(line["status"] == "done" and line["peak_memory_bytes"] > 0 for line in lines), lines)
    table = (bench.work / "slurm/stages.tsv").read_text().splitlines()
    expect(len(table) == 1 + len(lines), table)
    bench.run(*bench.on_slurm("slurm", 40, **labels), "--report", bench.work / "report.html")
    report = (bench.work / "report.html").read_text()
    expect("clusters.svg" in report, "the report lacks the plot")
    pictures = [name in report for name in ("held_out/confusion.svg", "slurm/confusion.svg")]
    expect(pictures == [True, True], f"the report lacks which labels are taken for which: {pictures}")
    tables = [bench.work / name / "predictions.parquet" for name in ("slurm", "local")]
    query = ["SELECT * FROM self", "--format", "csv"]
    predicted = [bench.run(bench.invar, "query", table, *query).stdout for table in tables]
    expect(predicted[0] == predicted[1] and len(predicted[0].splitlines()) == 4001, "other predictions through Slurm")
    summary = json.loads((bench.work / "slurm/predictions.json").read_text())
    expect(summary["columns"][0]["measured"]["num_samples"] == 4000, summary)
    rows = bench.run(bench.invar, "query", bench.work / "slurm/embeddings",
        "SELECT sample, depth_um, COUNT(*) AS n FROM embeddings GROUP BY sample, depth_um ORDER BY sample",
        "--format", "csv").stdout.splitlines()  # fmt: skip
    expect([row.rsplit(",", 1)[0] for row in rows[1:]] == ["s0,0.0", "s1,0.5", "s2,1.0"], rows)


def time_limit(bench):
    """A training that stands still until its minute is over: what Slurm sends then is SIGCONT and SIGTERM."""
    say("a job that meets its time limit")
    process = bench.start(*bench.on_slurm("limit", 40, train={"runtime": 1}))
    run = bench.work / "limit/run"
    wait_for("a checkpoint", lambda: list(run.glob("checkpoints/step-*.safetensors")))
    stopped = [pid for pid in processes(str(run)) if pid != process.pid]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    steps = [int(file.stem.removeprefix("step-")) for file in run.glob("checkpoints/step-*.safetensors")]
    expect(stopped and max(steps) < 38, f"the training was over before it could be stopped: {stopped}, {steps}")
    return process


def time_limit_met(bench, process):
    _, error = process.communicate(timeout=400)
    expect(process.returncode == 0, f"a job that met its limit was not resumed\n{error}")
    status = [(line["status"], line.get("exit_code")) for line in bench.stages("limit") if line["stage"] == "train"]
    expect(status == [("failed", 130), ("done", None)], f"of the training: {status}")
    expect("going on from step" in (bench.work / "limit/logs/train.txt").read_text(), "it did not go on")
    expect(bench.digests("limit") == bench.digests("local"), "other bytes after a time limit")


def killed_node(bench):
    say("a node that dies in the middle of a training")
    process = bench.start(*bench.on_slurm("killed", 40))
    run = bench.work / "killed/run"
    wait_for("a checkpoint", lambda: list(run.glob("checkpoints/step-*.safetensors")))
    node = next(iter(processes(str(run)).values()), None)
    expect(node, "the training was over before its node could be killed")
    # All of the node at once: the daemon, the steps that it started, and what runs in them.
    daemon = int((bench.work / f"cluster/{node}.pid").read_text())
    dead = [daemon, *(pid for pid, where in processes(str(run)).items() if where == node)]
    dead += [pid for pid in children_of_steps(node) if pid not in dead]
    for pid in dead:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_for("Slurm's notice", lambda: "down" in bench.run("sinfo", "-h", "-n", node, "-o", "%T").stdout)
    bench.run("slurmd", "-N", node)
    _, error = process.communicate(timeout=400)
    expect(process.returncode == 0, f"after a node was killed\n{error}")
    expect(bench.digests("killed") == bench.digests("local"), "other bytes after a node was killed")


def children_of_steps(node):
    """The step daemons and all other processes that Slurm started on a node."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                name = (directory / "comm").read_text().strip()
                environment = (directory / "environ").read_bytes().split(b"\0")
                line = (directory / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            is_step = name == "slurmstepd" and node in line
            if is_step or f"SLURMD_NODENAME={node}".encode() in environment:
                found.append(int(directory.name))
    return found


def corrupt_sample(bench):
    say("a sample that is damaged, and one that is not there")
    whole = (bench.work / "s1.fastq.gz").read_bytes()
    (bench.work / "damaged.fastq.gz").write_bytes(whole[: len(whole) // 2])
    sheet = bench.work / "damaged.csv"
    sheet.write_text(
        "sample,fastq_1\ns0,s0.fastq.gz\ndamaged,damaged.fastq.gz\nmissing,missing.fastq.gz\ns2,s2.fastq.gz\n"
    )
    done = bench.run(*bench.on_slurm("damaged", 40, retries=0, samples=str(sheet)), check=False)
    expect(done.returncode != 0, "a damaged sample is no failure")
    reasons = [(bench.work / f"damaged/logs/ingest/{name}.txt").read_text() for name in ["damaged", "missing"]]
    expect("damaged.fastq.gz" in reasons[0] and "cut off" in reasons[0], reasons[0])
    expect("row 4" in reasons[1] and "missing.fastq.gz" in reasons[1], reasons[1])
    whole = [name for name in ["s0", "s2"] if (bench.work / f"damaged/datasets/{name}/manifest.json").exists()]
    expect(whole == ["s0", "s2"], f"of the other samples only {whole} were finished")
    expect(not (bench.work / "damaged/stages/train.json").exists(), "it was trained without the sample")


def changed_input(bench):
    say("an input that changes after it was ingested, and that is as it was again")
    file, sheet = bench.work / "changing.fastq.gz", bench.work / "changing.csv"
    whole, other = [(bench.work / f"s{index}.fastq.gz").read_bytes() for index in (1, 2)]
    file.write_bytes(whole)
    sheet.write_text("sample,fastq_1,depth_um\ns0,s0.fastq.gz,0.0\ns1,changing.fastq.gz,0.5\n")
    words = bench.snakemake("changed", 10, samples=str(sheet))
    bench.run(*words, "--until", "train")
    manifest = bench.work / "changed/datasets/s1/manifest.json"
    before = manifest.read_bytes()
    file.write_bytes(other)
    done = bench.run(*words, "--keep-going", check=False)
    log = (bench.work / "changed/logs/ingest/s1.txt").read_text()
    expect(done.returncode != 0 and "changing.fastq.gz has changed since" in log, log)
    expect(manifest.read_bytes() == before, "the dataset of before is gone")
    file.write_bytes(whole)
    bench.run(*words)
    expect(manifest.read_bytes() == before, "the same input made another dataset")
    say("settings that a finished training refuses, twice")
    for _ in range(2):
        done = bench.run(*bench.snakemake("changed", 11, samples=str(sheet)), check=False)
        log = (bench.work / "changed/logs/train.txt").read_text()
        expect(done.returncode != 0 and "train.steps" in log, f"{done.stdout}\n{log}")


def full_disk(bench):
    say("a disk that is full, and larger when the workflow is called again")
    disk = bench.work / "disk"
    disk.mkdir()
    # Room for two of the three datasets and half of one.
    sizes = [file.stat().st_size for file in (bench.work / "local/datasets").rglob("*") if file.is_file()]
    bench.run("mount", "-t", "tmpfs", "-o", f"size={sum(sizes) * 5 // 6}", "none", disk)
    try:
        words = bench.snakemake("full", 40, out=str(disk / "out"))
        done = bench.run(*words, "--keep-going", check=False)
        logs = {log.name: log.read_text() for log in (disk / "out/logs/ingest").iterdir()}
        expect(done.returncode != 0, "no failure on a full disk")
        full = [name for name, log in logs.items() if "No space left on device" in log and str(disk) in log]
        whole = list(disk.glob("out/datasets/*/manifest.json"))
        expect(len(full) == 1 and len(whole) == 2, f"{full}, {whole}, {logs}")
        bench.run("mount", "-o", "remount,size=256m", disk)
        bench.run(*words)
        expect(bench.digests("disk/out") == bench.digests("local"), "other bytes after the disk was full")
    finally:
        bench.run("umount", disk)


def on_nodes_apart(bench):
    """The program with a /dev/shm of its own for each process, and names of the nodes, as on two machines: they talk over Gloo."""
    (bench.work / "hosts").write_text("127.0.0.1 localhost n1 n2\n")
    alone = bench.work / "alone.sh"
    alone.write_text(
        "#!/bin/sh\n"
        f"own='mount -t tmpfs none /dev/shm && mount --bind {bench.work}/hosts /etc/hosts && exec \"$@\"'\n"
        f'exec unshare --mount sh -c "$own" sh {bench.invar} "$@"\n'
    )
    alone.chmod(0o755)
    return str(alone)


def plain_scripts(bench):
    say("sbatch scripts: an array of embedding, training on two nodes")
    data = [bench.work / f"local/datasets/s{index}" for index in range(3)]
    embeddings = bench.work / "array"
    bench.run("sbatch", "--wait", "--array=1-4", "--cpus-per-task=1", "--output", bench.work / "array-%a.log",
        ROOT / "workflows/sbatch/embed.sh", bench.work / "local/run", embeddings, *data)  # fmt: skip

    def rows(directory):
        return bench.run(bench.invar, "query", f"e={directory}", "SELECT * FROM e", "--format", "csv").stdout

    expect(rows(embeddings) == rows(bench.work / "local/embeddings"), "other rows from an array of four")

    settings = [word for key, value in (SMALL | {"train.steps": 20}).items() for word in ("--set", f"{key}={value}")]
    program, bench.invar = bench.invar, on_nodes_apart(bench)
    log = bench.work / "two.log"
    bench.run("sbatch", "--wait", "--cpus-per-task=1", "--output", log, ROOT / "workflows/sbatch/train.sh",
        *RECIPE, bench.work / "two", *data, "--", *settings)  # fmt: skip
    bench.invar = program
    expect("Gloo" in log.read_text(), log.read_text())
    bench.run(
        bench.invar,
        "train",
        *RECIPE,
        *[word for d in data for word in ("--data", d)],
        "--out",
        bench.work / "one",
        "--threads",
        "1",
        *settings,
    )
    bench.same_losses("one", "two")


def several_processes(bench):
    say("training by two processes on two nodes, with a GPU for each")
    changes = {"invar": on_nodes_apart(bench), "train": {"processes": 2, "nodes": 2, "gpus": 2}}
    bench.run(*bench.on_slurm("several", 40, **changes), "--until", "train")
    log = (bench.work / "several/logs/train.txt").read_text()
    jobs = bench.run("scontrol", "--oneliner", "show", "jobs").stdout
    expect(len(re.findall("TresPerJob=gres.gpu:2 ", jobs)) == 1, f"expected one job that asks for GPUs, the training\n{jobs}")
    expect('CUDA_VISIBLE_DEVICES="0"' in log, log)
    expect("through Gloo" in log, "it was one process")
    bench.same_losses("local/run", "several/run")


def an_assembly(bench):
    # On one machine: how jobs go through Slurm does not depend on what they do.
    say("an assembly, from its files to bins")
    sheet = bench.work / "assembly.csv"
    files = {name: ROOT / "test-data/contigs" / name for name in ["contigs.fa.gz", "depth.txt", "assembly_graph.gfa.gz"]}
    sheet.write_text("sample,fasta,depth,gfa\n" + ",".join(["gut", *map(str, files.values())]) + "\n")
    changes = {
        "domain": "contigs",
        "recipe": "contigs/quickstart",
        "samples": str(sheet),
        "ingest": ["--min-length", "500"],
        "train": {"set": {"train.steps": 100}},
        "bins": {"min_bp": 40000},
    }
    bench.run(*bench.snakemake("assembly", 100, **changes))
    out = bench.work / "assembly"
    bins = (out / "bins/bins.tsv").read_text().splitlines()[1:]
    expect(5 <= len(bins) <= 7 and all((out / f"bins/{line.split()[0]}.fa").exists() for line in bins), bins)
    expect("bins" in {line["stage"] for line in bench.stages("assembly")}, "no line of what `invar bins` took")
    sheet.write_text(f"sample,fasta,depth\ngut,,{files['depth.txt']}\n")
    done = bench.run(*bench.snakemake("assembly", 100, **changes), check=False)
    told = "column `fasta` of assembly 'gut': expected one file, found none"
    expect(done.returncode != 0 and told in done.stdout + done.stderr, done.stderr)


def main():
    invar, work = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    work.mkdir(parents=True)
    bench = Bench(invar, work)
    samples(work)
    try:
        bench.run(CLUSTER, "start", work / "cluster")
        limited = time_limit(bench)
        to_the_end(bench)
        corrupt_sample(bench)
        changed_input(bench)
        full_disk(bench)
        plain_scripts(bench)
        several_processes(bench)
        an_assembly(bench)
        time_limit_met(bench, limited)
        killed_node(bench)
    finally:
        for process in bench.started:
            process.kill()
        bench.run(CLUSTER, "stop", work / "cluster")
    say("done")


if __name__ == "__main__":
    main()
