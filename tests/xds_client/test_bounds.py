"""What a configuration may cost: whatever it says is validated when it is decoded, bounded, and refused by name.

Where lists multiply, memory is measured, or there is so much of them that the test would not end.
"""

from __future__ import annotations

import logging
import os
import socket
import tracemalloc

import pytest
from google.protobuf import json_format

from rpc.security.material import SecurityError, roots
from tests.xds_client.mesh import cluster, endpoints, response, route
from tests.xds_client.test_decode_listener import HTTP, decoded, inspector_but, port_range
from xds_client import model as m
from xds_client.decode import parse
from xds_client.decode.parsed import _MESSAGES
from xds_client.errors import BootstrapError, CertificateError, DecodeError, RootsError, TokenError
from xds_client.identity.clock import SYSTEM_CLOCK
from xds_client.identity.files import CertificateFiles
from xds_client.identity.roots import RootsFile
from xds_client.identity.token import read_token
from xds_client.reading import LARGEST, read_file
from xds_client.resource_type import WILDCARD, ResourceType
from xds_client.session import DeltaSession
from xds_client.settings import PodFiles, Settings

CLUSTER, ROUTE = ResourceType.CLUSTER, ResourceType.ROUTE


def value(kind, message):
    return parse(kind, message.name, kind.value, message.SerializeToString()).value()


# ---- durations

NO_DURATIONS = [
    ({"seconds": -1}, "no duration"),
    ({"nanos": -1}, "no duration"),
    ({"nanos": 1_000_000_000}, "no duration"),
    ({"seconds": 2**62}, "are more than 9223372035"),
    ({"seconds": 9_223_372_036}, "are more than 9223372035"),
]


@pytest.mark.parametrize(("said", "reason"), [({}, "must be more than 0 s"), *NO_DURATIONS])
def test_a_connect_timeout_that_is_none_is_refused(said, reason):
    message = cluster("c")
    message.connect_timeout.SetInParent()
    for field, number in said.items():
        setattr(message.connect_timeout, field, number)
    with pytest.raises(DecodeError, match=reason) as raised:
        value(CLUSTER, message)
    assert raised.value.field == "connect_timeout"


def test_a_connect_timeout_is_one_that_every_clock_can_count():
    message = cluster("c")
    message.connect_timeout.seconds = 9_000_000_000
    assert value(CLUSTER, message).connect_timeout == 3600.0


@pytest.mark.parametrize(("said", "reason"), NO_DURATIONS)
@pytest.mark.parametrize(
    "field",
    [
        "timeout",
        "max_grpc_timeout",
        "max_stream_duration.grpc_timeout_header_max",
        "max_stream_duration.max_stream_duration",
    ],
)
def test_a_limit_of_a_route_that_is_none_is_refused(field, said, reason):
    message = route("a:1", "c")
    duration = message.virtual_hosts[0].routes[0].route
    for part in field.split("."):
        duration = getattr(duration, part)
    duration.seconds = 0
    for part, number in said.items():
        setattr(duration, part, number)
    with pytest.raises(DecodeError, match=reason) as raised:
        value(ROUTE, message)
    assert raised.value.field == f"virtual_hosts[0].routes[0].route.{field}"


# ---- what multiplies


def test_lists_of_a_filter_chain_do_not_multiply():
    """833 bytes took 341 MB."""
    names = [f"{i}" for i in range(40)]
    said = {
        "server_names": names,
        "application_protocols": names,
        "source_ports": list(range(1, 41)),
        "prefix_ranges": [{"address_prefix": f"10.0.{i}.0", "prefix_len": 24} for i in range(40)],
    }
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match=r"filter_chains\[0\].*: .* more than 100000 combinations"):
            decoded(filter_chains=[{"name": "c", "filters": [HTTP], "filter_chain_match": said}])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20


def test_a_mesh_of_thousands_of_ports_is_no_such_listener():
    chains = [
        {
            "name": f"{port}/{transport}",
            "filters": [HTTP],
            "filter_chain_match": {
                "destination_port": port,
                "transport_protocol": transport,
                "application_protocols": ["istio", "istio-peer-exchange", "istio-h2", "h2c"],
            },
        }
        for port in range(1, 1001)
        for transport in ("tls", "raw_buffer")
    ]
    assert len(decoded(filter_chains=chains).filter_chains) == 2000


def test_ports_of_predicates_do_not_multiply():
    """Pair by pair these would be 400 million."""
    odd = {"or_match": {"rules": [port_range(port, port + 1) for port in range(1, 40_001, 2)]}}
    even = {"or_match": {"rules": [port_range(port, port + 1) for port in range(2, 40_002, 2)]}}
    assert inspector_but({"and_match": {"rules": [odd, even]}}).disabled_ports == ()
    assert len(inspector_but({"and_match": {"rules": [odd, odd]}}).disabled_ports) == 20_000


# ---- addresses


@pytest.mark.parametrize(
    "address", ["unix:/run/secret.sock", "unix-abstract:x", "/run/a", "a b", "b\u00fccher.de", "a" * 254]
)
@pytest.mark.parametrize("discovery", ["STRICT_DNS", "LOGICAL_DNS"])
def test_only_names_and_ip_addresses_are_dialled(discovery, address):
    inline = json_format.MessageToDict(endpoints("c", address))
    message = json_format.ParseDict({"name": "c", "type": discovery, "load_assignment": inline}, cluster("c"))
    with pytest.raises(DecodeError, match="neither a host name nor an IP address"):
        value(CLUSTER, message)


@pytest.mark.parametrize("address", ["api.example.org", "a_b", "10.0.0.1", "fd00::1", "xn--bcher-kva.de."])
def test_names_and_ip_addresses_are(address):
    inline = json_format.MessageToDict(endpoints("c", address))
    message = json_format.ParseDict({"name": "c", "type": "STRICT_DNS", "load_assignment": inline}, cluster("c"))
    assert value(CLUSTER, message).inline_endpoints.localities[0].endpoints[0].address == address


# ---- files

NOT_FILES = ["pipe", "socket", "folder", "device", "huge"]


@pytest.fixture
def named(tmp_path, request):
    """Something that can be named and is no file to be read."""
    path = tmp_path / "named"
    kind = request.param
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)  # sparse
    reasons = {"pipe": "is a pipe", "socket": "is a socket", "folder": "Is a directory", "device": "is a device"}
    return str(path), reasons.get(kind, "is larger than 4 MiB")


@pytest.mark.parametrize("named", NOT_FILES, indirect=True)
def test_what_is_named_and_no_file_is_refused_at_once_wherever_it_is_named(named):
    path, reason = named
    with pytest.raises(SecurityError, match=reason):
        roots(m.FileRoots(path), None)
    with pytest.raises(RootsError, match=reason):
        RootsFile(path).read(SYSTEM_CLOCK.now())
    with pytest.raises(TokenError, match=reason):
        read_token(path)
    with pytest.raises(CertificateError, match=reason):
        CertificateFiles(path, path, path)._read()
    with pytest.raises(BootstrapError, match=reason):
        Settings.load({"PROXYLESS_CONFIG": path})


def test_a_file_may_be_as_large_as_the_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * LARGEST)
    assert len(read_file(path)) == LARGEST


def test_a_name_with_a_nul_in_it_is_no_file():
    with pytest.raises(SecurityError, match="null"):
        roots(m.FileRoots("a\0b"), None)


@pytest.mark.parametrize("text", [f"ip = {'9' * 5000}", "ip = " + "[" * 5000])
def test_settings_that_python_cannot_read_are_no_toml(tmp_path, text):
    path = tmp_path / "proxyless.toml"
    path.write_text(text)
    with pytest.raises(BootstrapError, match="is not TOML"):
        Settings.load({"PROXYLESS_CONFIG": str(path)})


@pytest.mark.parametrize("named", ["pipe"], indirect=True)
def test_a_pod_s_labels_are_a_file(named, tmp_path):
    folder = tmp_path / "etc/istio/pod"
    folder.mkdir(parents=True)
    os.rename(named[0], folder / "labels")  # noqa: PTH104
    with pytest.raises(BootstrapError, match="is a pipe"):
        PodFiles(tmp_path).labels()


# ---- what is remembered, said and logged


def test_types_never_asked_for_are_remembered_and_warned_of_up_to_a_number(node, caplog):
    session = DeltaSession(node)
    session.want({CLUSTER: frozenset({WILDCARD})}, 0.0)
    session.open()
    answer = response(CLUSTER)
    for number in range(1000):
        answer.type_url = f"type.googleapis.com/{number}/{'x' * 10_000}"
        assert session.receive(answer.SerializeToString(), 0.0) is None
    assert len(session._warned) < 20
    assert len(caplog.records) < 20
    assert sum(len(record.getMessage()) for record in caplog.records) < 10_000
    assert "more types" in caplog.records[-1].getMessage()


def test_a_nack_says_what_is_wrong_and_not_ten_thousand_times(node):
    session = DeltaSession(node)
    session.want({CLUSTER: frozenset({WILDCARD})}, 0.0)
    session.open()
    answer = response(CLUSTER)
    for number in range(10_000):
        answer.resources.add(name=f"{number}{'x' * 100}").resource.type_url = "type.googleapis.com/nothing"
    update = session.receive(answer.SerializeToString(), 0.0)
    error = session.reply(update).error
    assert len(update.rejected) == 10_000
    assert len(error) < 20_000
    assert error.endswith("and 9980 more")


def test_an_error_repeats_no_megabyte():
    for error in (
        DecodeError(CLUSTER, "n" * 10**6, "f" * 10**6, "r" * 10**6),
        _error(json_format.ParseDict({"name": "a:1"}, route("a:1", "c")), "(" * 10**6),
    ):
        assert len(str(error)) < 5000


def _error(message, pattern):
    message.virtual_hosts[0].routes[0].match.safe_regex.regex = pattern
    with pytest.raises(DecodeError) as raised:
        value(ROUTE, message)
    return raised.value


def test_a_resource_that_our_code_cannot_decode_costs_only_itself(monkeypatch, caplog):
    def broken(_):
        raise ZeroDivisionError("ours")

    monkeypatch.setitem(_MESSAGES, CLUSTER, (*_MESSAGES[CLUSTER][:2], broken))
    with caplog.at_level(logging.ERROR), pytest.raises(DecodeError, match="cannot be decoded: ZeroDivisionError"):
        value(CLUSTER, cluster("c"))
    assert "cannot be decoded" in caplog.text


# ---- ports


@pytest.mark.parametrize("port", ["9" * 5000, "0" * 5000, "65536", "-1", ""])
def test_a_port_is_a_number_of_five_digits(port):
    with pytest.raises(m.InvalidTargetError):
        m.Target.parse(f"xds:///a:{port}")
