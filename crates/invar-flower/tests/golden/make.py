#!/usr/bin/env python3
"""Writes `ids.txt`: the objects of two messages as Flower makes them, each with its kind, name (the digest of its bytes) and length.

By flwr 1.42.0 and numpy 2.4 (requirements.txt of workflows/flower): golden/make.py
"""

from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

arrays = ArrayRecord({
    "bytes": Array(np.frombuffer(b"to be kept", np.uint8)),
    "caf\u00e9 \U0001f600": Array(np.array([[1.5, -2.0, 0.25], [3.0, 4.0, 1e-3]], np.float32)),
    "nothing": Array(np.zeros(0, np.uint8)),
    "one": Array(np.array(7.0, np.float32)),
    # Four chunks, the second and third of which are the same.
    "zeros": Array(np.zeros(3 * (5 << 20), np.uint8)),
})
metrics = MetricRecord({"big": 2**63 + 1, "loss": 0.5, "losses": [0.5, 0.25], "n": -3, "ns": [1, -2]})
configs = ConfigRecord({
    "bytes": b"\0\1", "flag": True, "flags": [True, False], "lr": 0.1, "name": "caf\u00e9", "names": ["a", ""], "raw": [b"x", b""],
    "round": 3, "rounds": [1, 2],
})  # fmt: skip
content = RecordDict({"arrays": arrays, "metrics": metrics, "settings": configs})
metadata = dict(run_id=2**63 + 5, message_id="", src_node_id=1, dst_node_id=2**64 - 2, reply_to_message_id="ab" * 32, group_id="3",
    created_at=1.8e9, ttl=3600.0, message_type="train", src_task_id=4, dst_task_id=None)  # fmt: skip
message = make_message(metadata=Metadata(**metadata), content=content)
failed = make_message(metadata=Metadata(**metadata), error=Error(2, "no data"))
ids = []
for name, root in (("message", message), ("failed", failed)):
    for object_id, item in get_all_nested_objects(root).items():
        content = item.deflate()
        kind = content[: content.index(b" ")].decode()
        ids.append(f"{name} {kind} {object_id} {len(content)}")
Path(__file__).with_name("ids.txt").write_text("\n".join(ids) + "\n")
