#!/usr/bin/env python3
"""Writes flower.binpb: the descriptors of Flower's Fleet API, as the installed wheel holds them (see requirements.txt of workflows/flower)."""

from pathlib import Path

from flwr.proto import fleet_pb2, heartbeat_pb2, message_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

files = {}


def add(file):
    for needed in file.dependencies:
        add(needed)
    files[file.name] = file


for module in (fleet_pb2, heartbeat_pb2, message_pb2):
    add(module.DESCRIPTOR)
descriptors = FileDescriptorSet()
for file in files.values():
    descriptors.file.add().ParseFromString(file.serialized_pb)
Path(__file__).with_name("flower.binpb").write_bytes(descriptors.SerializeToString())
