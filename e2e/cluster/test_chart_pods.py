"""The chart's pods come up as members of the mesh, and calls flow as its VirtualService says, over mTLS."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import grpc
import pytest

from e2e.cluster.api import Api, ApiError
from e2e.cluster.release import render
from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.conftest import Install
    from e2e.cluster.control_plane import ControlPlane
    from e2e.cluster.release import Release

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def release(install: Install) -> Release:
    release = install(consumer={"callsPerSecond": 100})
    release.wait_for_calls()
    return release


def test_every_pod_has_the_identity_of_its_service_account(release: Release) -> None:
    """By a real TokenRequest, TokenReview and CSR."""
    for app, count, account in (("demo-consumer", 1, "demo-consumer"), ("reviews", 3, "reviews")):
        pods = release.pods(app)
        assert len(pods) == count
        for pod in pods:
            told = release.stats(pod)
            assert told["spiffe_id"] == f"spiffe://cluster.local/ns/{release.namespace}/sa/{account}"
            assert told["istiod"] == "connected"


def test_calls_flow_by_the_weights_over_mutual_tls(release: Release) -> None:
    before = release.consumer()
    release.wait(lambda: bool(release.consumer()["answered"] > before["answered"] + 1000), 60, "1,000 more calls")
    after = release.consumer()
    assert after["failed"] == before["failed"], after["errors"]
    answers = Counter(after["servers"])
    answers.subtract(before["servers"])
    assert len(+answers) == 3, "two pods of v1, one of v2"
    share = sum(count for server, count in answers.items() if server.startswith("v2/")) / answers.total()
    # Binomial: 1,000 calls at 20 % have a standard deviation of 1.3 points.
    assert share == pytest.approx(0.2, abs=0.06)
    assert list(after["seen_as"]) == [f"spiffe://cluster.local/ns/{release.namespace}/sa/demo-consumer"]


def test_whoever_comes_in_plaintext_is_turned_away(release: Release, control_plane: ControlPlane) -> None:
    """The PeerAuthentication says STRICT. Only from inside the network can a pod be called directly."""
    del control_plane
    for pod in release.pods("reviews"):
        with grpc.insecure_channel(f"{pod['status']['podIP']}:9080") as channel, pytest.raises(grpc.RpcError) as caught:
            stubs.GreeterStub(channel).SayHello(pb.HelloRequest(name="plain"), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_peer_authentication_changes_live(release: Release, install: Install, control_plane: ControlPlane) -> None:
    """PERMISSIVE lets plaintext in on the same port, and no call of the consumer fails on the way there and back."""
    del control_plane
    values = {"consumer": {"callsPerSecond": 100}, "mesh": {"mtls": "PERMISSIVE"}}
    address = f"{release.pods('reviews')[0]['status']['podIP']}:9080"

    def plaintext() -> bool:
        with grpc.insecure_channel(address) as channel:
            try:
                reply = stubs.GreeterStub(channel).SayHello(pb.HelloRequest(name="plain"), timeout=2)
            except grpc.RpcError:
                return False
        assert reply.message == "Hello plain alias nobody"
        return True

    with release.no_failed_call(at_least=200):
        release.install(values)
        release.wait(plaintext, 30, "plaintext is let in")
        values["mesh"] = {"mtls": "STRICT"}
        release.install(values)
        release.wait(lambda: not plaintext(), 30, "plaintext is turned away")
        done = release.consumer()["answered"]
        release.wait(lambda: bool(release.consumer()["answered"] > done + 200), 30, "calls go on")


def test_the_disruption_budget_counts_the_providers(release: Release) -> None:
    path = f"/apis/policy/v1/namespaces/{release.namespace}/poddisruptionbudgets/reviews"
    budget = release.api.get(path)["status"]
    assert (budget["expectedPods"], budget["currentHealthy"], budget["disruptionsAllowed"]) == (3, 3, 2)


def test_the_api_server_would_say_it_of_a_field_that_it_does_not_know(api: Api, tmp_path: Path) -> None:
    """So that the chart's acceptance means something."""
    deployment = next(one for one in render("default", {}, tmp_path) if one["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {"httpGet": {"port": 1}}
    with pytest.raises(ApiError, match=r"redinessProbe: field not declared in schema"):
        api.apply(deployment, "default", dry_run=True)
    routing = next(one for one in render("default", {}, tmp_path) if one["kind"] == "VirtualService")
    routing["spec"]["http"][0]["retires"] = {"attempts": 1}
    with pytest.raises(ApiError, match=r"retires: field not declared in schema"):
        api.apply(routing, "default", dry_run=True)
