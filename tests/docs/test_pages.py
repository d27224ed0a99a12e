"""All pages can be found, and their links lead somewhere."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from rpc import steps
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [ROOT / "README.md", ROOT / "charts" / "proxyless-demo" / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


def links(page: Path) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if not link.startswith("http")]


def test_every_page_is_in_the_list() -> None:
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= set(links(ROOT / "docs" / "README.md"))
    assert {"docs/README.md", "docs/into-the-mesh.md"} <= set(links(ROOT / "README.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, _, anchor in (link.partition("#") for link in links(page)):
        file = page.parent / target if target else page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE) if anchor else []
        anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in anchors, f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_are_there(page: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = {f"/{name}" for name in listed.stdout.splitlines()}
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)*\.(?:py|rs|toml|yaml|sh))`", page.read_text())
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []


@pytest.mark.parametrize("page", ["architecture.md", "adr/0004-one-plan-two-drivers.md"])
def test_the_steps_of_a_call_are_those_of_the_plan(page: str) -> None:
    [said] = re.findall(r"(?:The steps are|Steps are few:)\s(.*?)\.", (ROOT / "docs" / page).read_text(), re.DOTALL)
    assert sorted(re.findall(r"`(\w+)`", said)) == sorted(step.__name__ for step in steps.Step.__args__)
