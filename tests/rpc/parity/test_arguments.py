"""Every argument of gRPC's own list is carried out, or is listed as ignored, with its reason, where users look."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

import rpc
from rpc import ignored, options
from rpc.engine_channels import EngineChannels
from rpc.ignored import IGNORED
from tests.rpc.programs import ROOT
from xds_client.channels import CHANNEL_OPTIONS

LIST = Path(__file__).with_name("channel_arguments.txt")
ARGUMENTS = [line for line in LIST.read_text().splitlines() if not line.startswith("#")]
CARRIED_OUT = set(re.findall(r'"(grpc\.[\w.]+)"', Path(options.__file__).read_text()))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_is_carried_out_or_listed_as_ignored(name):
    assert (name in CARRIED_OUT) != (name in IGNORED)


def test_what_is_carried_out_or_ignored_is_an_argument_of_grpc():
    assert len(ARGUMENTS) > 90
    assert CARRIED_OUT | IGNORED.keys() == set(ARGUMENTS)


def test_what_is_ignored_is_listed_for_users_with_its_reason():
    lines = (ROOT / "docs" / "compatibility.md").read_text().splitlines()
    for name, reason in IGNORED.items():
        assert any(f"`{name}`" in line and reason in line for line in lines), name


def test_what_the_channels_to_the_control_plane_tell_grpcio_is_no_matter_of_the_programs(monkeypatch, caplog):
    monkeypatch.setattr(ignored, "_told", set())
    with caplog.at_level(logging.INFO, "proxyless.rpc.ignored"):
        EngineChannels().insecure("127.0.0.1:1", CHANNEL_OPTIONS).close()
    assert caplog.messages == []


def test_an_argument_that_is_ignored_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(ignored, "_told", set())
    given = [("grpc.dscp", 8), ("grpc.max_receive_message_length", 5)]
    with caplog.at_level(logging.INFO, "proxyless.rpc.ignored"):
        for _ in range(2):
            rpc.insecure_channel("127.0.0.1:1", given).close()
    assert caplog.messages == ["the argument grpc.dscp is ignored: not carried out in this release"]
