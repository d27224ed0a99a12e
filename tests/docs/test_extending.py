"""The how-tos of docs/extending: their examples run as they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.pages import ROOT, blocks
from tests.rpc.peers import World
from tests.rpc.script import polite

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def port() -> Iterator[int]:
    world = World("sync")
    yield world.start_server(polite)[1]
    world.close()


@pytest.mark.parametrize(("page", "replies"), [("a-resolver.md", 2), ("a-balancer.md", 1)])
def test_the_example_of_a_page_runs(page: str, replies: int, port: int) -> None:
    [block] = blocks((ROOT / "docs" / "extending" / page).read_text(), "python")
    names: dict[str, Any] = {}
    exec(compile(block, page, "exec"), names)
    assert names["main"]("127.0.0.1", port) == ["Hello, you!"] * replies
