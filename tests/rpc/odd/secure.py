"""What the probes of credentials share: who signs whom, a server of each kind, and call credentials by a function."""

from __future__ import annotations

import datetime as dt
import functools
import json

import grpc

from tests.rpc.odd.lab import path, uu
from tests.rpc.tls.certificates import Authority


@functools.cache
def authority(name):
    return Authority(name)


@functools.cache
def leaf(name="server", by="a company"):
    how = {
        "server": {"ips": ["127.0.0.1"]},
        "of another name": {"dns": ["reviews.example"]},
        "expired": {"ips": ["127.0.0.1"], "ends": -dt.timedelta(minutes=5)},
    }.get(name, {"common_name": name})
    return authority(by).issue(**how)


ROOT = authority("a company").pem


def who(request, context):
    """What the client's credentials said."""
    pairs = context.invocation_metadata()
    return json.dumps(
        [[key, str(value)] for key, value in pairs if key in {"authorization", "x-a", "x-a-bin"}]
    ).encode()


def credentials(function):
    return grpc.metadata_call_credentials(function)


def metadata(*pairs):
    """Credentials that say these, whatever they are."""
    return credentials(lambda context, callback: callback(pairs, None))


def handlers():
    return {"Who": uu(who)}


WHO = path("Who")
