"""The how-tos of docs/extending: their examples run as they are written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from rpc.security.chain import Chain, Policy
from tests.docs.names import names_in
from tests.docs.pages import ROOT, blocks, rows
from tests.docs.pages import names as quoted
from tests.rpc.peers import World
from tests.rpc.script import polite, request
from xds_client.decode import extensions

if TYPE_CHECKING:
    from collections.abc import Iterator


def example(page: str) -> dict[str, Any]:
    """The names that the page's one block makes."""
    [block] = blocks((ROOT / "docs" / "extending" / page).read_text(), "python")
    names: dict[str, Any] = {"__name__": page}
    exec(compile(block, page, "exec", dont_inherit=True), names)
    return names


@pytest.fixture
def port() -> Iterator[int]:
    world = World("sync")
    yield world.start_server(polite)[1]
    world.close()


@pytest.mark.parametrize(("page", "replies"), [("a-resolver.md", 2), ("a-balancer.md", 1)])
def test_the_example_of_a_page_runs(page: str, replies: int, port: int) -> None:
    assert example(page)["main"]("127.0.0.1", port) == ["Hello, you!"] * replies


# ---- a filter


@pytest.fixture
def toy_filter(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(extensions, "_KNOWN", dict(extensions._KNOWN))
    return example("a-filter.md")


@pytest.fixture(params=["sync", "aio"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(request.param)
    yield world
    world.close()


def test_the_filter_of_the_page_runs(toy_filter: dict[str, Any]) -> None:
    assert toy_filter["main"]() == ["Hello, you!", "PERMISSION_DENIED", "UNAVAILABLE"]


def test_a_filter_is_asked_in_both_worlds(toy_filter: dict[str, Any], world: World) -> None:
    denied, more = (toy_filter["as_sent"](f"/hello.Greeter/{name}") for name in ("SayHello", "Chat"))
    _, port = world.start_server(polite, credentials=toy_filter["Enforced"](denied, more))
    client = world.connect(f"127.0.0.1:{port}")
    for kind in ("unary", "bidi"):
        assert client.call(kind, request("Ann")).code == grpc.StatusCode.PERMISSION_DENIED
    assert client.call("server_stream", request("Ann")).code == grpc.StatusCode.OK


def test_new_rules_hold_for_new_calls_on_old_connections(toy_filter: dict[str, Any], world: World) -> None:
    secured_ports = []

    class Open(toy_filter["Enforced"]):  # type: ignore[misc]  # of the page
        def follow(self, secured_port: Any) -> Any:
            secured_ports.append(secured_port)
            return super().follow(secured_port)

    _, port = world.start_server(polite, credentials=Open())
    old = world.connect(f"127.0.0.1:{port}")
    assert old.call("unary", request("Ann")).code == grpc.StatusCode.OK
    secured_ports[0].set([toy_filter["chain_of"]([toy_filter["as_sent"]("/")])])
    new = world.connect(f"127.0.0.1:{port}")
    for client in (old, new):
        assert client.call("unary", request("Ann")).code == grpc.StatusCode.PERMISSION_DENIED
    secured_ports[0].set([Chain(name="toy", transport="raw_buffer", policy=Policy())])
    assert old.call("unary", request("Ann")).code == grpc.StatusCode.OK


# ---- a protocol

PROTOCOL = (ROOT / "docs" / "extending" / "a-protocol.md").read_text()
PLACES = re.findall(r"`([\w./-]+\.(?:rs|pyi?))`\s`(\w+)`", PROTOCOL)


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_what_the_page_of_protocols_names_is_there(file: str, name: str) -> None:
    assert name in names_in(file)


def test_the_page_of_protocols_names_each_part_of_the_trait() -> None:
    [trait] = re.findall(
        r"^pub trait Protocol.*?\n}", (ROOT / "native/drive/src/protocol.rs").read_text(), re.MULTILINE | re.DOTALL
    )
    told = rows(PROTOCOL, "`native/drive/src/protocol.rs` `Protocol`")
    said = [name for row in told for name in quoted(row[0])]
    assert sorted(said) == sorted(re.findall(r"\b(?:fn|type) (\w+)", trait))


def test_code_on_the_page_of_protocols_is_the_source() -> None:
    shown = re.findall(
        r"`(native/[\w./-]+\.rs)` `\w+`[^`]*:\n\n```rust\n(.*?)^```$", PROTOCOL, re.MULTILINE | re.DOTALL
    )
    assert len(shown) == len(blocks(PROTOCOL, "rust")) > 3
    for file, block in shown:
        rest = (ROOT / file).read_text()
        for piece in re.split(r"^ *// …\n", block, flags=re.MULTILINE):
            assert piece in rest, f"{file} does not say:\n{piece}"
            rest = rest.partition(piece)[2]
