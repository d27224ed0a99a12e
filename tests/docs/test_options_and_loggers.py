"""docs/options.md lists the options that count, docs/logging.md the loggers: neither more nor fewer than the code."""

from __future__ import annotations

import ast

import pytest

from rpc import options
from rpc.ignored import IGNORED
from rpc.options import ChannelOptions, ServerOptions
from tests.docs.asked import Asked
from tests.docs.pages import ROOT, names, rows
from tests.docs.source_texts import PACKAGES

OPTIONS, LOGGING = ROOT / "docs" / "options.md", ROOT / "docs" / "logging.md"


@pytest.mark.parametrize(("heading", "kind"), [("channel option", ChannelOptions), ("server option", ServerOptions)])
def test_the_table_has_the_options_that_are_read(
    heading: str, kind: type[ChannelOptions | ServerOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(**{"grpc.keepalive_time_ms": 1000})
    monkeypatch.setattr(options, "_given", lambda _: asked)
    kind.parse(None)
    listed = [name for row in rows(OPTIONS.read_text(), heading) for name in names(row[0])]
    assert sorted(listed) == sorted(asked.names)
    assert not set(listed) & IGNORED.keys()


def test_the_table_of_those_that_change_nothing_is_the_codes() -> None:
    table = rows((ROOT / "docs" / "compatibility.md").read_text(), "argument")
    listed = {name: row[1] for row in table for name in names(row[0])}
    assert listed == dict(IGNORED)
    assert len(listed) == sum(len(names(row[0])) for row in table)


def test_defaults_are_what_the_table_says() -> None:
    said = {names(row[0])[0]: row[1] for row in rows(OPTIONS.read_text(), "channel option")}
    channel, server = ChannelOptions.parse(None), ServerOptions.parse(None)
    assert said["grpc.max_receive_message_length"] == f"{channel.max_receive_message_length >> 20} MiB"
    assert int(said["grpc.max_connections_per_subchannel_cap"]) == channel.max_connections
    assert int(said["grpc.dns_min_time_between_resolutions_ms"]) == channel.dns_pause * 1000
    assert float(said["grpc.client_idle_timeout_ms"]) == (channel.max_idle or 0) * 1000
    backoff = channel.backoff.initial * 1000, channel.backoff.most * 1000
    assert said["grpc.initial_reconnect_backoff_ms"] == f"{backoff[0]:g}, {backoff[1]:.0f}"
    assert (channel.keepalive, server.max_age, server.grace, server.max_idle) == (None, None, None, None)
    said = {names(row[0])[0]: row[1] for row in rows(OPTIONS.read_text(), "server option")}
    assert int(said["grpc.max_concurrent_streams"]) == server.max_concurrent_streams
    assert server.keepalive is not None
    assert said["grpc.keepalive_time_ms"] == f"{server.keepalive[0] * 1000:.0f}, {server.keepalive[1] * 1000:.0f}"
    assert server.pings is not None
    assert said["grpc.http2.min_ping_interval_without_data_ms"] == f"{server.pings[0] * 1000:.0f}, {server.pings[2]}"


def _loggers() -> set[str]:
    """Of modules that log something, by the argument of `getLogger`."""
    found = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            assigned = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Assign))
            for node in assigned:
                if ast.unparse(node.value).startswith("logging.getLogger(") and isinstance(node.value, ast.Call):
                    found.add(ast.unparse(node.value.args[0]).strip("'f").replace("{__name__}", module))
    return found


def test_the_table_has_all_loggers() -> None:
    listed = [name for row in rows(LOGGING.read_text(), "logger") for name in names(row[0])]
    assert sorted(listed) == sorted(_loggers())
