#!/usr/bin/env python3
"""A federation of two nodes on a real SuperLink of Flower, with TLS and node authentication, and what goes wrong with it.

workflows/tests/test_flower.py WORK ECHO INVAR    WORK is a directory that is not there, ECHO the example echo_node of the crate
                                                  invar-flower, INVAR the program; started by `make test-flower`

What is said between machines is tested with the example, whose updates stand for any; training with `invar federate client`.
Everything listens on 127.0.0.1. FLOWER is the environment with what workflows/flower/requirements.txt names; without it, one is made.
"""

import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from pathlib import Path

from waiting import expect, say, wait_for

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "workflows/flower"
HEARTBEAT = 10


class Bench:
    """A directory with a SuperLink, and processes that end with it."""

    def __init__(self, work, echo, invar):
        self.work, self.echo, self.invar, self.started = work, echo, invar, []
        self.flower = Path(os.environ["FLOWER"]) if "FLOWER" in os.environ else work / "flower"
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"

    def environment(self):
        changes = {
            "PATH": f"{self.work / 'bin'}:{self.flower / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.work),
            "FLWR_HOME": str(self.work / "flwr"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1",
        }
        return os.environ | changes

    def run(self, *words, check=True):
        words = [str(word) for word in words]
        done = subprocess.run(words, check=False, env=self.environment(), cwd=self.work, text=True, capture_output=True)
        if check and done.returncode != 0:
            sys.exit(f"{' '.join(words)}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, name, *words):
        """A process whose words go to WORK/NAME.log. Its group is its own, so that what it started ends with it."""
        log = (self.work / f"{name}.log").open("a")
        words = [str(word) for word in words]
        process = subprocess.Popen(
            words, env=self.environment(), cwd=self.work, text=True, stdin=subprocess.PIPE, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def log(self, name):
        return (self.work / f"{name}.log").read_text(errors="replace")

    def superlink(self, *options):
        keys = self.work / "keys"
        options = options or ("--enable-supernode-auth", "--database", self.work / "superlink.db")
        process = self.start("superlink", "flower-superlink", "--host", "127.0.0.1", "--port", self.port,
            "--ssl-ca-certfile", keys / "ca.pem", "--ssl-certfile", keys / "server.pem", "--ssl-keyfile", keys / "server.key",
            "--disable-runtime-dependency-installation", *options)  # fmt: skip
        wait_for("the SuperLink", lambda: self.is_up(process))
        return process

    def restarted(self, superlink, *options):
        os.killpg(superlink.pid, signal.SIGKILL)
        superlink.wait()
        return self.superlink(*options)

    def is_up(self, process):
        expect(process.poll() is None, f"the SuperLink ended\n{self.log('superlink')}")
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def client(self, name, key=None, roots=None, before=(), slow=False, update=None):
        """A node of a key; what comes before its command runs it. A slow one takes longer for a task than the SuperLink
        keeps a connection, as training does."""
        keys = self.work / "keys"
        key, roots = key or keys / f"{name}.key", roots or keys / "ca.pem"
        slowly = ["--work-s", "6"] if slow else []
        words = [self.echo, update or self.work / "update", "--heartbeat-s", HEARTBEAT, *slowly]
        return self.node(name, *before, *words, roots=roots, key=key)

    def node(self, name, *words, roots, key):
        return self.start(name, *words, "--superlink", self.url, "--root-certificates", roots, "--key", key,
            "--state", self.work / f"state-{name}")  # fmt: skip

    def end(self):
        """Ends every process."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def go(self, **config):
        """Starts a run; its number."""
        text = " ".join(f"{key}={json.dumps(str(value) if isinstance(value, Path) else value)}" for key, value in config.items())
        done = self.run("flwr", "run", APP, "test", "--run-config", text, "--format", "json")
        return json.loads(done.stdout[done.stdout.index("{") :])["run-id"]

    def said(self, run):
        """What the run has printed."""
        return self.run("flwr", "log", "--show", run, "test", check=False).stdout

    def status(self, run):
        done = self.run("flwr", "ls", "test", "--format", "json", check=False)
        if "{" not in done.stdout:
            return None
        runs = json.loads(done.stdout[done.stdout.index("{") :])["runs"]
        return next((found["status"] for found in runs if str(found["run-id"]) == str(run)), None)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def certificates(bench):
    """Two authorities, a server certificate of the first, and keys of nodes in the three forms there are."""
    keys = bench.work / "keys"
    keys.mkdir()
    # Valid from yesterday on, so that a clock can be slow by less.
    yesterday = ("faketime", "-f", "-1d") if shutil.which("faketime") else ()
    for name in ("ca", "other-ca"):
        bench.run(*yesterday, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3",
            "-subj", f"/CN={name}", "-keyout", keys / f"{name}.key", "-out", keys / f"{name}.pem")  # fmt: skip
    bench.run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=superlink",
        "-keyout", keys / "server.key", "-out", keys / "server.csr")  # fmt: skip
    (keys / "server.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
    bench.run(*yesterday, "openssl", "x509", "-req", "-in", keys / "server.csr", "-CA", keys / "ca.pem", "-CAkey", keys / "ca.key",
        "-CAcreateserial", "-days", "3", "-extfile", keys / "server.ext", "-out", keys / "server.pem")  # fmt: skip
    bench.run("ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", keys / "one.key")
    bench.run("openssl", "ecparam", "-genkey", "-name", "secp384r1", "-out", keys / "two.key")
    bench.run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", keys / "stranger.key")
    for name in ("two", "stranger"):
        (keys / f"{name}.key").chmod(0o600)
        (keys / f"{name}.key.pub").write_text(bench.run("ssh-keygen", "-y", "-f", keys / f"{name}.key").stdout)


def files(bench):
    """The state before the first round, what the nodes of the example answer, and an `invar` that merges by counting."""
    state, update = bench.work / "rounds/0000", bench.work / "update"
    for directory in (state, update, bench.work / "bin"):
        directory.mkdir(parents=True)
    for name in ("recipe.toml", "model.safetensors", "global.json"):
        (state / name).write_text(f"{name} of round 0")
    for name in ("update.json", "weights.safetensors", "keys.parquet"):
        (update / name).write_text(name)
    invar = bench.work / "bin/invar"
    shutil.copy(ROOT / "workflows/tests/invar_stub.py", invar)
    invar.chmod(0o755)


def refused(bench, name, told, **changes):
    """A node that must end by itself and say why."""
    process = bench.client(name, **changes)
    wait_for(f"the end of {name}", lambda: process.poll() is not None)
    expect(process.returncode not in (0, None) and told in bench.log(name), f"of {name}: {told!r} in\n{bench.log(name)}")
    say(bench.log(name).splitlines()[-1])


def negative(bench):
    say("a server that the given roots do not vouch for; a key that is not registered; a clock that is off")
    keys = bench.work / "keys"
    refused(bench, "untrusting", "is not trusted: invalid peer certificate", key=keys / "one.key", roots=keys / "other-ca.pem")
    refused(bench, "stranger", "not registered")
    if shutil.which("faketime"):
        refused(bench, "late", "the clock of this machine is off by", key=keys / "one.key", before=("faketime", "-f", "-400s"))
        refused(bench, "early", "the clock of this machine is off by", key=keys / "one.key", before=("faketime", "-f", "+60s"))
    else:
        say("no faketime here: the clock is tested in the crate only")


def replayed(bench):
    say("requests that were recorded, sent again")
    keys = bench.work / "keys"
    nodes = [json.loads((bench.work / f"state-{name}/node.json").read_text())["node"] for name in ("two", "one")]
    python, script = bench.flower / "bin/python", ROOT / "workflows/tests/replay.py"
    said = bench.run(python, script, bench.url, keys / "ca.pem", keys / "two.key", *nodes).stdout
    # Flower does not remember signatures: within 300 s it takes one as often as it comes, for any request of the same node. That it
    # comes from elsewhere is what TLS is for.
    expected = {"new": 200, "the same again": 200, "400 s old": 401, "60 s early": 401, "of another node": 401, "of another time": 401}
    expect(said == "".join(f"{name}: {status}\n" for name, status in expected.items()), said)


def newest(bench):
    return max(int(path.name) for path in (bench.work / "rounds").iterdir() if path.name.isdigit())


def rounds(bench):
    say("five rounds of two nodes")
    nodes = {name: bench.client(name) for name in ("one", "two")}
    wait_for("both nodes", lambda: all("node " in bench.log(name) for name in nodes))
    start = time.monotonic()
    config = {"rounds-dir": bench.work / "rounds", "num-rounds": 5, "min-sites": 2, "deadline-s": 120}
    run = bench.go(**config)
    wait_for("round 1", lambda: newest(bench) >= 1)
    first = time.monotonic()
    wait_for("five rounds", lambda: newest(bench) >= 5)
    say(f"{first - start:.1f} s to the end of the first, {(time.monotonic() - first) / 4:.2f} s for each of the others")
    wait_for("the end of the run", lambda: bench.status(run) == "finished:completed")
    return nodes


def killed_node(bench, nodes):
    say("a node that dies while it works, and comes back within the round")
    for node in nodes.values():
        node.kill()
        node.wait()
    nodes = {name: bench.client(name, slow=True) for name in nodes}
    begun, held = newest(bench), bench.work / "state-one/node.json"
    run = bench.go(**{"rounds-dir": bench.work / "rounds", "num-rounds": begun + 2, "min-sites": 2, "deadline-s": 120})
    message = wait_for("a task", lambda: json.loads(held.read_text())["message"])
    nodes["one"].kill()
    nodes["one"].wait()
    expect(newest(bench) == begun, "the round was over before the node could be killed")
    nodes["one"] = bench.client("one", slow=True)
    # What was pulled is not given again: the node that comes back knows of it by itself, and answers in the same round.
    wait_for("an answer", lambda: json.loads(held.read_text())["message"] != message)
    wait_for("the round", lambda: newest(bench) > begun)
    updates = [path.name for path in (bench.work / f"rounds/{begun + 1:04}-updates").iterdir()]
    expect(len(updates) == 2, f"updates of round {begun + 1}: {updates}")
    wait_for("two rounds", lambda: newest(bench) == begun + 2)
    wait_for("the end of the run", lambda: bench.status(run) == "finished:completed")
    expect("NODE_UNAVAILABLE" not in bench.said(run) and "failed" not in bench.said(run), bench.said(run))

    expect("trying again" not in bench.log("one") + bench.log("two"), bench.log("two"))

    say("a node that dies and stays away for longer than the server waits: the round goes on without it, and later ones with it")
    begun = newest(bench)
    run = bench.go(**{"rounds-dir": bench.work / "rounds", "num-rounds": begun + 2, "min-sites": 1, "deadline-s": 120})
    wait_for("a task", lambda: json.loads(held.read_text())["message"])
    nodes["one"].kill()
    nodes["one"].wait()
    wait_for("a round", lambda: newest(bench) > begun)
    nodes["one"] = bench.client("one", slow=True)
    wait_for("two rounds", lambda: newest(bench) == begun + 2)
    wait_for("the end of the run", lambda: bench.status(run) == "finished:completed")
    return nodes


def bad_answers(bench, nodes):
    say("an update that is bad, and a task that fails")
    bad = bench.work / "bad"
    shutil.copytree(bench.work / "update", bad)
    (bad / "update.json").write_text("bad")
    for update, told in ((bad, "left out: "), (bench.work / "not-there", "failed: No such file")):
        nodes["two"].kill()
        nodes["two"].wait()
        nodes["two"] = bench.client("two", update=update)
        begun = newest(bench)
        wait_for("the node", lambda: bench.log("two").splitlines()[-1].startswith("node "))
        run = bench.go(**{"rounds-dir": bench.work / "rounds", "num-rounds": begun + 1, "min-sites": 1, "deadline-s": 120})
        wait_for("a round", lambda: newest(bench) > begun)
        wait_for("the end of the run", lambda: bench.status(run) == "finished:completed")
        expect(told in bench.said(run), bench.said(run))
        expect((bench.work / f"rounds/{begun + 1:04}/global.json").read_text() == "of 1 updates", "it was merged")
    nodes["two"].kill()
    nodes["two"].wait()
    nodes["two"] = bench.client("two")


def restarted_superlink(bench, superlink, nodes):
    say("a SuperLink that ends in the middle of a run and comes back; the next run goes on where that one was")
    begun = newest(bench)
    config = {"rounds-dir": bench.work / "rounds", "num-rounds": begun + 4, "min-sites": 2, "deadline-s": 120}
    bench.go(**config)
    wait_for("a round", lambda: newest(bench) > begun)
    os.killpg(superlink.pid, signal.SIGKILL)
    superlink.wait()
    at = newest(bench)
    wait_for("the notice of the nodes", lambda: all("trying again" in bench.log(name) for name in nodes))
    superlink = bench.superlink()
    wait_for("the nodes", lambda: all("answers again" in bench.log(name) for name in nodes))
    expect(newest(bench) in (at, at + 1), f"round {newest(bench)} after {at}")
    run = bench.go(**config)
    wait_for("the other rounds", lambda: newest(bench) == begun + 4)
    wait_for("the end of the run", lambda: bench.status(run) == "finished:completed")
    for name, node in nodes.items():
        expect(node.poll() is None, f"{name} ended\n{bench.log(name)}")
    return superlink


def forgotten(bench, superlink):
    say("a SuperLink without authentication of nodes, which forgets them when it ends")
    # It has its nodes in memory unless it is told of a database; it is told of a log here, which is of no consequence.
    in_memory = ("--log-file", bench.work / "superlink-in-memory.log")
    superlink = bench.restarted(superlink, *in_memory)
    newcomer = bench.client("newcomer", key=bench.work / "keys/stranger.key")
    wait_for("the node", lambda: "node " in bench.log("newcomer"))
    bench.restarted(superlink, *in_memory)
    wait_for("the node again", lambda: "had forgotten node" in bench.log("newcomer"))
    expect(newcomer.poll() is None, bench.log("newcomer"))


def trained(bench):
    say("four rounds of two sites that train; one dies in the middle of its steps, the SuperLink between two rounds")
    bench.end()  # the nodes of before have the same keys
    invar, work, keys = bench.invar, bench.work, bench.work / "keys"
    settings = {"federation.rounds": 4, "federation.local_steps": 40, "federation.keys": 16, "train.batch_size": 32,
        "encoder.hidden": [64], "encoder.dim": 16, "source.view.ks": [4]}  # fmt: skip
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    reads = ROOT / "test-data/reads/mock-community/reads.fastq.gz"
    with gzip.open(reads, "rt") as file:
        lines = file.read().splitlines(keepends=True)
    for number, site in enumerate(("one", "two")):
        part = work / f"{site}.fastq"
        part.write_text("".join("".join(lines[at : at + 4]) for at in range(4 * number, len(lines), 8)))
        bench.run(invar, "ingest", "reads", part, "--out", work / f"data-{site}", "-q")
    places = ["--data", work / "data-one", "--data", work / "data-two"]
    bench.run(invar, "federate", "simulate", "reads/federated", *places, "--out", work / "simulated", "-q", *sets)
    rounds = work / "trained"
    rounds.mkdir()
    bench.run(invar, "federate", "init", "reads/federated", "--data", work / "data-one", "--out", rounds / "0000", "-q", *sets)
    superlink = bench.superlink("--enable-supernode-auth", "--database", work / "trained.db")
    for name in ("one", "two"):
        bench.run("flwr", "supernode", "register", keys / f"{name}.key.pub", "test")

    def site(number, name):
        words = [invar, "federate", "client", "reads/federated", "--data", work / f"data-{name}", "--site", f"site-{number}", *sets]
        return bench.node(f"site-{name}", *words, key=keys / f"{name}.key", roots=keys / "ca.pem")

    def done():
        return max(int(path.parent.name) for path in rounds.glob("*/global.json") if path.parent.name.isdigit())

    sites = {name: site(number, name) for number, name in enumerate(("one", "two"), 1)}
    wait_for("both sites", lambda: all(f"of {bench.url}, site" in bench.log(f"site-{name}") for name in sites))
    config = {"rounds-dir": rounds, "num-rounds": 2, "min-sites": 2, "deadline-s": 300, "invar": invar}
    run = bench.go(**config)
    wait_for("the steps of the first round", lambda: "round 1: begun" in bench.log("site-one"))
    sites["one"].kill()
    sites["one"].wait()
    expect(done() == 0, "the round was over before the site could be killed")
    sites["one"] = site(1, "one")
    wait_for("two rounds", lambda: done() == 2)
    wait_for("the end of the run", lambda: bench.status(run) == "finished:completed")
    superlink = bench.restarted(superlink, "--enable-supernode-auth", "--database", work / "trained.db")
    run = bench.go(**(config | {"num-rounds": 4}))
    wait_for("the other rounds", lambda: done() == 4)
    wait_for("the end of the run", lambda: bench.status(run) == "finished:completed")
    for file in ("model.safetensors", "bank.parquet"):
        same = (rounds / "0004" / file).read_bytes() == (work / "simulated" / file).read_bytes()
        expect(same, f"{file} is not that of the same rounds in one process\n{bench.said(run)}")
    os.killpg(superlink.pid, signal.SIGKILL)
    superlink.wait()


def main():
    work, echo, invar = (Path(word).resolve() for word in sys.argv[1:4])
    work.mkdir(parents=True)
    bench = Bench(work, echo, invar)
    try:
        if not bench.flower.exists():
            venv.create(bench.flower, with_pip=True)
            bench.run(bench.flower / "bin/pip", "install", "--quiet", "--requirement", APP / "requirements.txt")
        certificates(bench)
        files(bench)
        superlink = bench.superlink()
        config = {"address": f"127.0.0.1:{bench.port}", "root-certificates": str(work / "keys/ca.pem")}
        (work / "flwr").mkdir(exist_ok=True)
        lines = [f'{key} = "{value}"\n' for key, value in config.items()]
        (work / "flwr/config.toml").write_text('[superlink]\ndefault = "test"\n\n[superlink.test]\n' + "".join(lines))
        for name in ("one", "two"):
            bench.run("flwr", "supernode", "register", work / f"keys/{name}.key.pub", "test")
        nodes = rounds(bench)
        nodes = killed_node(bench, nodes)
        bad_answers(bench, nodes)
        superlink = restarted_superlink(bench, superlink, nodes)
        replayed(bench)
        negative(bench)
        forgotten(bench, superlink)
        trained(bench)
    finally:
        bench.end()
    say("done")


if __name__ == "__main__":
    main()
