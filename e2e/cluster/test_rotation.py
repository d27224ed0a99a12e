"""Certificates that live a minute, another root, another set of pods: all of it under load, and no call fails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.mesh_root import MeshRoot, sign_with

if TYPE_CHECKING:
    from e2e.cluster.conftest import Install
    from e2e.cluster.control_plane import ControlPlane
    from e2e.cluster.release import Release

pytestmark = pytest.mark.timeout(600)

RATE = 200  # calls per second
LIFE = 60.0  # seconds of a certificate


@pytest.fixture(scope="module")
def release(install: Install) -> Release:
    """No retries: what breaks is seen. Answers take a while: there are always some calls in progress."""
    release = install(
        consumer={"callsPerSecond": RATE},
        mesh={"certificateTtl": f"{LIFE:g}s"},
        service={"retries": 0},
        provider={"workSeconds": 0.05},
    )
    release.wait_for_calls()
    return release


def test_sixty_second_certificates_rotate_under_load(release: Release) -> None:
    """Longer than a certificate lives, and then new connections by the newest ones."""
    began = time.monotonic()
    first = {one["node"]: one["not_before"] for one in release.members()}
    with release.no_failed_call(at_least=int(LIFE * RATE * 0.8)):
        release.wait(lambda: time.monotonic() - began > LIFE + 15, LIFE + 60, "a life is over")
        now = {one["node"]: one["not_before"] for one in release.members()}
        assert now.keys() == first.keys()
        assert all(now[node] != first[node] for node in now)
        release.restart("reviews-v2")
        release.wait_rolled_out()


def test_rolling_restarts_under_load(release: Release) -> None:
    before = {pod["metadata"]["name"] for pod in release.pods("reviews")}
    with release.no_failed_call(at_least=RATE * 5):
        release.restart("reviews-v1")
        release.restart("reviews-v2")
        release.wait_rolled_out()
    after = {pod["metadata"]["name"] for pod in release.pods("reviews")}
    assert len(after) == 3
    assert not after & before


def test_the_root_rotates_under_load(release: Release, control_plane: ControlPlane) -> None:
    """Old and new are trusted, then the new one signs, then only the new one is trusted: istiod's own procedure."""
    old, new = MeshRoot.read(control_plane.ca), MeshRoot.make("proxyless e2e root 2")

    def all_members(key: str, expected: object) -> bool:
        values = [one[key] for one in release.members()]
        return all((set(value) if isinstance(value, list) else value) == expected for value in values)

    with release.no_failed_call(at_least=int(LIFE * RATE * 0.8)):
        sign_with(control_plane.ca, old, [old, new])
        release.wait(lambda: all_members("roots", {old.fingerprint, new.fingerprint}), 60, "both roots are trusted")
        sign_with(control_plane.ca, new, [old, new])
        release.wait(
            lambda: all_members("issuer", new.key_identifier), LIFE + 60, "all certificates are the new root's"
        )
        sign_with(control_plane.ca, new, [new])
        release.wait(lambda: all_members("roots", {new.fingerprint}), 2 * LIFE + 60, "only the new root is trusted")
        release.restart("reviews-v1")
        release.wait_rolled_out()
