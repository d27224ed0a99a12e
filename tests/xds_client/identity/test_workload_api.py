"""An identity from a SPIFFE agent, over a real gRPC server on a Unix socket."""

from __future__ import annotations

import queue
from datetime import timedelta

import grpc
import pytest
from opentelemetry.instrumentation import grpc as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import rpc
from tests.xds_client.identity.authority import Authority, der, new_key, private_pem
from tests.xds_client.identity.workload_agent import WorkloadAgent, svid
from xds_client import IdentityTimeoutError

WEB, OTHER = "spiffe://prod.test/web", "spiffe://prod.test/other"


@pytest.fixture
def start_agent(tmp_path):
    agents = []

    def start():
        agent = WorkloadAgent(tmp_path / "agent.sock")
        agents.append(agent)
        return agent

    yield start
    for agent in agents:
        agent.stop()


@pytest.fixture
def agent(start_agent):
    return start_agent()


@pytest.fixture
def source(pod, agent):
    with pod.source("", source="workload_api", workload_api_address=agent.address) as source:
        yield source


@pytest.fixture
def heard(source):
    heard = queue.Queue()
    source.observe(heard.put)
    return heard


def complaint(source, part):
    """Wait until the source complains of it."""
    with source._changed:
        assert source._changed.wait_for(lambda: part in (source.error or ""), 30), source.error


def test_the_first_of_the_identities_is_ours(agent, heard, authority):
    key = new_key()
    agent.send(svid(authority, key, WEB), svid(authority, new_key(), OTHER))
    identity = heard.get(timeout=30)
    assert identity.spiffe_id == WEB
    assert identity.private_key == private_pem(key)
    assert identity.roots == authority.pem
    assert identity.trust_domains == ("prod.test",)
    assert agent.asked.get(timeout=30)["workload.spiffe.io"] == "true"


def test_the_next_one_comes_on_the_same_stream(agent, heard, authority):
    first, second = new_key(), new_key()
    agent.send(svid(authority, first, WEB))
    assert heard.get(timeout=30).private_key == private_pem(first)
    agent.send(svid(authority, second, WEB))
    assert heard.get(timeout=30).private_key == private_pem(second)
    assert agent.asked.qsize() == 1


def test_chains_and_bundles_of_several(agent, heard, authority):
    between, successor, key = Authority("between", authority), Authority("successor"), new_key()
    entry = svid(between, key, WEB)
    entry["x509_svid"] += der(between.certificate)
    entry["bundle"] = der(authority.certificate, successor.certificate)
    agent.send(entry)
    identity = heard.get(timeout=30)
    assert identity.certificate_chain.endswith(between.pem)
    assert identity.roots == authority.pem + successor.pem


def test_bundles_of_other_trust_domains_are_noted_and_not_trusted(agent, source, heard, authority):
    friend = Authority("friend")
    agent.send(svid(authority, new_key(), WEB), federated=[("friend.test", der(friend.certificate))])
    assert heard.get(timeout=30).roots == authority.pem
    assert source.federated_bundles == {"friend.test": friend.pem}


def bad_key(entry, _authority):
    entry["x509_svid_key"] = b"\x30\x00"


def other_key(entry, _authority):
    entry["x509_svid_key"] = svid(Authority(), new_key(), WEB)["x509_svid_key"]


def torn(entry, _authority):
    entry["x509_svid"] = entry["x509_svid"][:-1]


def no_bundle(entry, _authority):
    entry["bundle"] = b""


def other_root(entry, _authority):
    entry["bundle"] = der(Authority("other").certificate)


def other_name(entry, _authority):
    entry["spiffe_id"] = OTHER


def expired(entry, authority):
    now = authority.certificate.not_valid_before_utc + timedelta(days=365)
    dates = {"not_before": now - timedelta(hours=2), "not_after": now - timedelta(hours=1)}
    entry.update(svid(authority, new_key(), WEB, **dates))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (bad_key, "a private key that is no PKCS#8"),
        (other_key, "is for another key"),
        (torn, "the SVID is no certificates: the SEQUENCE at byte 0 ends beyond"),
        (no_bundle, "the bundle is empty"),
        (other_root, "does not lead to a trusted root"),
        (other_name, f"the certificate of {WEB} is called '{OTHER}'"),
        (expired, "expired at"),
    ],
)
def test_what_the_agent_says_is_judged_and_the_last_good_one_stays(agent, source, heard, authority, spoil, reason):
    agent.send(svid(authority, new_key(), WEB))
    good = heard.get(timeout=30)
    bad = svid(authority, new_key(), WEB)
    spoil(bad, authority)
    agent.send(bad)
    complaint(source, reason)
    assert source.current is good
    agent.send(svid(authority, new_key(), WEB))
    assert heard.get(timeout=30) != good
    assert source.error is None


def test_answers_that_are_none(agent, source):
    agent.send_bytes(b"\x0a\xff")
    complaint(source, "an answer of 2 bytes of garbage")
    agent.send()
    complaint(source, "an answer without an identity; register this workload")


def test_a_workload_that_the_agent_does_not_know(pod, agent):
    agent.refusal = (grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
    source = pod.source("", source="workload_api", workload_api_address=agent.address)
    delays = [source.step() for _ in range(9)]
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (1.0, 30.0)
    assert "PERMISSION_DENIED: no identity issued; is the agent running" in source.error
    assert "has it an entry for this workload?" in source.error


def test_no_agent(pod, tmp_path):
    source = pod.source("", source="workload_api", workload_api_address=f"unix://{tmp_path}/none.sock")
    source.step()
    assert f"SPIFFE Workload API unix://{tmp_path}/none.sock: UNAVAILABLE" in source.error
    with pytest.raises(IdentityTimeoutError, match=r"none\.sock"):
        source.wait(0)


def test_an_agent_that_restarts_is_asked_again_and_the_same_identity_is_no_news(pod, start_agent, authority):
    """Stepped by hand: each step is one stream."""
    agent = start_agent()
    source = pod.source("", source="workload_api", workload_api_address=agent.address)
    heard = []
    source.observe(heard.append)
    entry = svid(authority, new_key(), WEB)
    agent.send(entry)
    agent.end()
    assert source.step() == 1.0
    agent.stop()
    source.step()
    assert "UNAVAILABLE" in source.error
    assert f"the certificate of {WEB}" in source.error
    assert source.current is heard[0]
    agent = start_agent()
    agent.send(entry)
    agent.end()
    source.step()
    assert len(heard) == 1
    assert agent.asked.get(timeout=30)["workload.spiffe.io"] == "true"


def test_an_identity_that_the_agent_does_not_renew_expires(pod, agent, authority):
    source = pod.source("", source="workload_api", workload_api_address=agent.address)
    agent.send(svid(authority, new_key(), WEB, not_after=pod.time.true() + timedelta(hours=1)))
    agent.end()
    source.step()
    pod.time.passed += 3599
    assert source.current is not None
    pod.time.passed += 1
    assert source.current is None
    assert f"the certificate of {WEB} has expired" in source.error


def test_instrumentors_and_extensions_stay_out_of_the_way_to_the_agent(pod, agent, authority):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    wrapped = []
    instrumentor, extension = otel.GrpcInstrumentorClient(), rpc.extend(channel=wrapped.append)
    instrumentor.instrument(tracer_provider=provider)
    try:
        with pod.source("", source="workload_api", workload_api_address=agent.address) as source:
            agent.send(svid(authority, new_key(), WEB))
            assert source.wait(30).spiffe_id == WEB
            asked = agent.asked.get(timeout=30)
    finally:
        instrumentor.uninstrument()
        extension.close()
    assert "traceparent" not in asked, "nothing is added to what the agent is asked"
    assert (exporter.get_finished_spans(), wrapped) == ((), [])
