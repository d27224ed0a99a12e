"""The chart's pods come up as members of the mesh, and calls flow as its VirtualService says, over mTLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from e2e.cluster.conftest import Install
    from e2e.cluster.release import Release

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def release(install: Install) -> Release:
    return install(consumer={"callsPerSecond": 50})


def test_every_pod_has_the_identity_of_its_service_account(release: Release) -> None:
    expected = {"demo-consumer": "demo-consumer", "reviews": "reviews"}
    for app, account in expected.items():
        for pod in release.pods(app):
            assert release.stats(pod)["spiffe_id"] == f"spiffe://cluster.local/ns/{release.namespace}/sa/{account}"
