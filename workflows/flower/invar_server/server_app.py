"""Sends the newest global state to every node, waits for updates, and has Invar merge them: round after round.

ROUNDS/NNNN is the global state after round NNNN, ROUNDS/NNNN-updates/SITE what a site answered in that round. All that is known of
what is in them is the names of their files: what belongs together, and what is left out or refused, `invar federate merge` decides.
"""

import fcntl
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

UPDATE = {"update.json", "weights.safetensors"}
KEYS = "keys.parquet"  # where keys are exchanged
WHOLE = "global.json"  # written last
NODE_UNAVAILABLE = 5
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """A run: no other one has the same rounds meanwhile."""
    config = context.run_config
    if not config["rounds-dir"]:
        raise ValueError('rounds-dir is not set: --run-config \'rounds-dir="/path/of/ROUNDS"\'')
    rounds = Path(config["rounds-dir"])
    with (rounds / ".lock").open("w") as lock:
        # A run that outlived its SuperLink may still be at it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        federate(grid, rounds, config)


def federate(grid, rounds, config):
    """Goes on from the newest round until there are `num-rounds`."""
    while True:
        done = [int(path.name) for path in rounds.iterdir() if re.fullmatch(r"\d{4,}", path.name) and (path / WHOLE).is_file()]
        if not done:
            raise ValueError(f"{rounds / '0000'} is not there: `invar federate init` makes it")
        newest = max(done)
        if newest >= config["num-rounds"]:
            say(f"{newest} rounds are done")
            return
        start = time.monotonic()
        updates = ask(grid, rounds / f"{newest:04}", rounds / f"{newest + 1:04}-updates", newest + 1, config)
        if len(updates) < config["min-sites"]:
            say(f"round {newest + 1}: {len(updates)} updates came, {config['min-sites']} are needed; once more")
            continue
        merge(updates, rounds / f"{newest:04}", rounds / f"{newest + 1:04}", config)
        say(f"round {newest + 1}: {len(updates)} updates merged, {time.monotonic() - start:.1f} s")


def ask(grid, state, directory, number, config):
    """Asks every node that is there before the deadline, once. The directories of the updates that came."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    files = {path.name: path.read_bytes() for path in sorted(state.iterdir()) if path.is_file()}
    content = {
        "global": ArrayRecord({name: Array(np.frombuffer(data, np.uint8)) for name, data in files.items()}),
        "round": ConfigRecord({"round": number}),
    }
    end = time.monotonic() + config["deadline-s"]
    asked, waiting, updates = set(), {}, []
    while time.monotonic() < end:
        new = set(grid.get_node_ids()) - asked
        # Few nodes are not begun with: they would work for nothing.
        if new and len(asked | new) >= config["min-sites"]:
            ttl = end - time.monotonic()
            messages = [Message(RecordDict(content), node, "train", ttl=ttl, group_id=str(number)) for node in sorted(new)]
            sent = dict(zip(grid.push_messages(messages), sorted(new), strict=True))
            waiting |= {message: node for message, node in sent.items() if message}
            asked |= set(waiting.values())
            say(f"round {number}: {len(sent)} nodes asked")
        for reply in grid.pull_messages(list(waiting)) if waiting else []:
            node = waiting.pop(reply.metadata.reply_to_message_id, None)
            if reply.has_error():
                say(f"round {number}: node {node} failed: {reply.error.reason}")
                if reply.error.code == NODE_UNAVAILABLE:
                    asked.discard(node)
            elif node is not None:
                try:
                    updates.append(write(reply.content, directory / str(node)))
                except (KeyError, TypeError, ValueError) as error:
                    say(f"round {number}: the answer of node {node} is refused: {error}")
        if asked and not waiting and len(updates) >= config["min-sites"]:
            break
        time.sleep(1)
    for node in waiting.values():
        say(f"round {number}: node {node} has not answered in time")
    return updates


def write(content, directory):
    """Writes the files of an update into a directory, which is whole or not there."""
    files = {name: array.numpy() for name, array in content["update"].items()}
    if set(files) - {KEYS} != UPDATE:
        raise ValueError(f"expected the files {sorted(UPDATE)} and perhaps {KEYS}, found {sorted(files)}")
    for name, data in files.items():
        if data.dtype != np.uint8 or data.ndim != 1:
            raise ValueError(f"{name}: expected bytes, found {data.dtype} of {data.ndim} axes")
    partial = directory.with_name(f".{directory.name}.partial")
    partial.mkdir()
    for name, data in files.items():
        (partial / name).write_bytes(data.tobytes())
    return partial.rename(directory)


def merge(updates, state, out, config):
    """Merges updates without those that Invar refuses: it names them, and why."""
    words = [config["invar"], "federate", "merge", *map(str, updates), "--global", str(state), "--out", str(out), "--skip-refused"]
    done = subprocess.run(words, check=False, text=True, capture_output=True)
    say((done.stdout + done.stderr).rstrip())
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}")


def say(text):
    """A line of the log of the run (`flwr log`)."""
    print(text, flush=True)
