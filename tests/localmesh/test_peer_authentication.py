"""PeerAuthentication: which policy holds where, what clients are told, and which YAML is refused."""

from __future__ import annotations

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext

from localmesh import ConfigError
from localmesh.compile import View
from localmesh.compile.peer_policy import PeerPolicies
from localmesh.config import read_folder
from localmesh.config.peer_authentication import MtlsMode
from tests.localmesh.test_compile_clusters import NAME, addresses, rule
from tests.localmesh.yaml_folder import HOST, SERVICE, Compiled, resource, write

DISABLE, PERMISSIVE, STRICT = MtlsMode.DISABLE, MtlsMode.PERMISSIVE, MtlsMode.STRICT
NODE = View("demo", addresses=("127.0.0.2",))


def policy(spec, name="p", namespace="demo"):
    return resource("PeerAuthentication", name, spec, namespace).replace("networking.", "security.")


def mtls(mode, name="default", namespace="demo"):
    return policy(f"mtls: {{mode: {mode}}}", name, namespace)


def selecting(labels, rest, name="w", namespace="demo"):
    return policy(f"selector: {{matchLabels: {labels}}}\n{rest}", name, namespace)


CASES = {
    "none": ([], PERMISSIVE, {}),
    "mesh": ([mtls("STRICT", namespace="istio-system")], STRICT, {}),
    "namespace over mesh": ([mtls("STRICT", namespace="istio-system"), mtls("DISABLE")], DISABLE, {}),
    "unset takes the mesh's": ([mtls("STRICT", namespace="istio-system"), mtls("UNSET")], STRICT, {}),
    "an empty mesh policy": ([policy("mtls: {}", namespace="istio-system")], PERMISSIVE, {}),
    "another namespace": ([mtls("STRICT", namespace="other")], PERMISSIVE, {}),
    "workload over namespace": ([mtls("STRICT"), selecting("{app: a}", "mtls: {mode: DISABLE}")], DISABLE, {}),
    "other labels": ([selecting("{app: b}", "mtls: {mode: STRICT}")], PERMISSIVE, {}),
    "the first by name": (
        [selecting("{app: a}", "mtls: {mode: DISABLE}", "b"), selecting("{app: a}", "mtls: {mode: STRICT}", "a")],
        STRICT,
        {},
    ),
    "the first of a namespace": ([mtls("DISABLE", "b"), mtls("STRICT", "a")], STRICT, {}),
    "a selector in the root namespace": (
        [selecting("{app: a}", "mtls: {mode: STRICT}", namespace="istio-system")],
        PERMISSIVE,
        {},
    ),
    "ports": (
        [mtls("STRICT"), selecting("{app: a}", "portLevelMtls: {80: {mode: DISABLE}, 81: {}, 82: {mode: PERMISSIVE}}")],
        STRICT,
        {80: DISABLE, 81: STRICT, 82: PERMISSIVE},
    ),
}


@pytest.mark.parametrize(("documents", "mode", "ports"), CASES.values(), ids=CASES)
def test_the_narrowest_policy_holds(tmp_path, documents, mode, ports):
    policies = PeerPolicies(read_folder(write(tmp_path, all="\n---\n".join(documents))))
    found = policies.for_workload("demo", {"app": "a", "version": "1"})
    assert (found.mode, dict(found.ports)) == (mode, ports)
    assert found.at(9999) is mode


HEAD = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: demo}\nspec:\n"
REFUSALS = {
    "mode": ("  mtls: {mode: STRIKT}\n", 5, "'STRIKT' is not one of UNSET, DISABLE, PERMISSIVE, STRICT"),
    "port without selector": ("  portLevelMtls: {80: {mode: STRICT}}\n", 5, "needs a selector"),
    "no port": ("  selector: {matchLabels: {a: b}}\n  portLevelMtls: {}\n", 6, "must have at least one port"),
    "no such port": (
        "  selector: {matchLabels: {a: b}}\n  portLevelMtls:\n    99999: {mode: STRICT}\n",
        7,
        "'99999' is not a port",
    ),
    "wildcard": ("  selector: {matchLabels: {a: 'b*'}}\n", 5, "wildcards are not supported in a selector"),
    "unknown field": ("  mtsl: {mode: STRICT}\n", 5, "mtsl: unknown field"),
    "wrong type": ("  mtls: STRICT\n", 5, "must be a mapping, not the string"),
}


@pytest.mark.parametrize(("text", "line", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_bad_yaml_is_refused_with_its_line(tmp_path, text, line, reason):
    with pytest.raises(ConfigError) as caught:
        read_folder(write(tmp_path, bad=HEAD + text))
    assert [(problem.line, reason in problem.reason) for problem in caught.value.problems] == [(line, True)]


TLS_REFUSALS = {
    "no certificate": ("{mode: MUTUAL}", "clientCertificate: is required for mode MUTUAL"),
    "no key": ("{mode: MUTUAL, clientCertificate: a}", "privateKey: is required for mode MUTUAL"),
    "two sources": ("{mode: SIMPLE, credentialName: a, caCertificates: b}", "credentialName: excludes"),
    "skip and roots": ("{mode: SIMPLE, insecureSkipVerify: true, caCertificates: b}", "must not be set beside it"),
    "skip and secret": ("{mode: SIMPLE, insecureSkipVerify: true, credentialName: b}", "in mode SIMPLE"),
    "config map": ("{mode: SIMPLE, credentialName: 'configmap://a'}", "does not support configmap:// yet"),
}


@pytest.mark.parametrize(("tls", "reason"), TLS_REFUSALS.values(), ids=TLS_REFUSALS)
def test_bad_tls_settings_are_refused(tmp_path, tls, reason):
    with pytest.raises(ConfigError, match=reason):
        read_folder(write(tmp_path, bad=rule(f"host: reviews\ntrafficPolicy: {{tls: {tls}}}")))


def listener(compiled, view=NODE):
    packed = compiled.snapshot.listeners(compiled.snapshot.view(view))["virtualInbound"]
    return Listener.FromString(packed.value)


def chains(compiled, port):
    """(transport, offered, alpn or None) of the chains of one port, in order."""
    found = []
    for chain in listener(compiled).filter_chains:
        match = chain.filter_chain_match
        if match.destination_port.value == port:
            context = DownstreamTlsContext()
            is_tls = chain.transport_socket.typed_config.Unpack(context)
            alpn = list(context.common_tls_context.alpn_protocols) if is_tls else None
            found.append((match.transport_protocol, list(match.application_protocols), alpn))
    return found


ANY_MTLS = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"]
HTTP = ["h2", "http/1.1"]


def test_the_chains_of_a_port_follow_its_mode(tmp_path):
    modes = "portLevelMtls: {9080: {mode: STRICT}, 9090: {mode: DISABLE}}"
    labelled = SERVICE.replace("{version: v2}", "{version: v2, app: a}")
    assert chains(Compiled(tmp_path / "1", SERVICE), 9080) == [("tls", ANY_MTLS, HTTP), ("raw_buffer", [], None)]
    compiled = Compiled(tmp_path / "2", labelled, selecting("{app: a}", modes))
    assert chains(compiled, 9080) == [("tls", [], HTTP)]
    assert chains(compiled, 9090) == [("raw_buffer", [], None)]


def test_peers_of_the_aliases_are_let_in(tmp_path):
    mesh = "trustDomain: new\ntrustDomainAliases: [old, new]"
    compiled = Compiled(tmp_path, SERVICE, mesh=mesh)
    context = DownstreamTlsContext()
    chain = next(c for c in listener(compiled).filter_chains if c.transport_socket.typed_config.Unpack(context))
    assert chain.name == "virtualInbound-catchall-http"
    validation = context.common_tls_context.combined_validation_context.default_validation_context
    assert [name.prefix for name in validation.match_subject_alt_names] == ["spiffe://new/", "spiffe://old/"]


def test_a_node_at_no_workloads_address_has_only_what_fits_all(tmp_path):
    names = {chain.name for chain in listener(Compiled(tmp_path, SERVICE), View("demo")).filter_chains}
    assert names == {"virtualInbound-blackhole", "virtualInbound-catchall-http", "virtualInbound"}


def marked(compiled):
    """Addresses of the endpoints that are to be called with mTLS."""
    groups = compiled.localities(NAME)
    for group in groups:
        for index in reversed(range(len(group.lb_endpoints))):
            if "envoy.transport_socket_match" not in group.lb_endpoints[index].metadata.filter_metadata:
                del group.lb_endpoints[index]
    return addresses(groups)


def test_clients_are_told_where_mtls_is_off(tmp_path):
    labelled = SERVICE.replace("{version: v2}", "{version: v2, app: a}")
    on = Compiled(tmp_path / "on", labelled)
    assert marked(on) == ["127.0.0.2"]
    port_off = Compiled(tmp_path / "port", labelled, selecting("{app: a}", "portLevelMtls: {9080: {mode: DISABLE}}"))
    assert marked(port_off) == []
    assert port_off.cluster(NAME).transport_socket_matches, "the service as a whole has it"
    other = Compiled(tmp_path / "other", labelled, selecting("{app: a}", "portLevelMtls: {1: {mode: DISABLE}}"))
    assert marked(other) == ["127.0.0.2"]
    off = Compiled(tmp_path / "off", labelled, mtls("DISABLE"))
    assert marked(off) == []
    assert not off.cluster(NAME).transport_socket_matches
    asked_for = rule("host: reviews\ntrafficPolicy: {tls: {mode: ISTIO_MUTUAL}}")
    assert marked(Compiled(tmp_path / "rule", labelled, mtls("DISABLE"), asked_for)) == ["127.0.0.2"]


def test_labels_and_locality_of_a_node_are_those_of_its_workload(tmp_path):
    compiled = Compiled(tmp_path, SERVICE)
    view = compiled.snapshot.view(View("demo", labels=(("version", "said"),), addresses=("127.0.0.2",)))
    assert dict(view.labels)["version"] == "v2"
    assert (view.locality.region, view.locality.zone) == ("eu", "a")
    elsewhere = compiled.snapshot.view(View("other", labels=(("version", "said"),), addresses=("127.0.0.2",)))
    assert dict(elsewhere.labels)["version"] == "said"
    assert HOST in next(iter(compiled.snapshot.clusters(view)))
