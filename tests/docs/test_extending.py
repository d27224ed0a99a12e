"""The how-tos of docs/extending: their examples run as they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from rpc.security.chain import Chain, Policy
from tests.docs.pages import ROOT, blocks
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


def test_a_connection_keeps_the_policy_that_it_came_in_by(toy_filter: dict[str, Any], world: World) -> None:
    guards = []

    class Open(toy_filter["Enforced"]):  # type: ignore[misc]  # of the page
        def follow(self, guard: Any) -> Any:
            guards.append(guard)
            return super().follow(guard)

    _, port = world.start_server(polite, credentials=Open())
    old = world.connect(f"127.0.0.1:{port}")
    assert old.call("unary", request("Ann")).code == grpc.StatusCode.OK
    closed = Policy(authorize=toy_filter["Denies"](("/",)))
    guards[0].set([Chain(name="toy", transport="raw_buffer", policy=closed)])
    new = world.connect(f"127.0.0.1:{port}")
    assert new.call("unary", request("Ann")).code == grpc.StatusCode.PERMISSION_DENIED
    assert old.call("unary", request("Ann")).code == grpc.StatusCode.OK
