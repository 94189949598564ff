"""Asks a SuperLink by requests that were recorded: replay.py URL CA.pem KEY NODE OTHER_NODE. Run by test_flower.py, with flwr's Python."""

import datetime
import sys
from base64 import b64encode

import httpx
from cryptography.hazmat.primitives import serialization
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

url, roots, key, node, other = sys.argv[1:]
with open(key, "rb") as file:
    text = file.read()
    key = serialization.load_pem_private_key(text[text.index(b"-----BEGIN EC PRIVATE") :], None)


def recorded(age_s):
    time = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age_s)).isoformat()
    return {
        "content-type": "application/protobuf",
        "flwr-public-key": b64encode(public_key_to_bytes(key.public_key())).decode(),
        "flwr-timestamp": time,
        "flwr-signature": b64encode(sign_message(key, time.encode())).decode(),
    }


def ask(name, headers, node):
    body = PullMessagesRequest(node=Node(node_id=int(node))).SerializeToString()
    print(f"{name}: {httpx.post(f'{url}/v1/fleet/pull-messages', content=body, headers=headers, verify=roots).status_code}")


now = recorded(0)
ask("new", now, node)
ask("the same again", now, node)
ask("400 s old", recorded(400), node)
ask("60 s early", recorded(-60), node)
ask("of another node", now, other)
ask("of another time", now | {"flwr-timestamp": recorded(1)["flwr-timestamp"]}, node)
