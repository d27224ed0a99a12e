"""What is served and does not do what it seems to say is told once, by document and field; nothing of it is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from localmesh import LocalMesh
from localmesh.compile import Snapshot
from localmesh.config import read_folder
from tests.localmesh.yaml_folder import HOST, SERVICE, resource, write

ROOT = Path(__file__).parents[2]
SUBSETS = resource("DestinationRule", "subsets", "host: reviews\nsubsets: [{name: v1, labels: {version: v1}}]")
POLICY = "{loadBalancer: {simple: RANDOM}}"


def routes(*http, name="r", hosts="[reviews]"):
    return resource("VirtualService", name, f"hosts: {hosts}\nhttp: [{', '.join(http)}]")


def to(destination, match=""):
    return f"{{{match}route: [{{destination: {destination}}}]}}"


PEERS = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {}, namespace: demo}}\nspec: {{mtls: {{mode: {}}}}}\n"  # noqa: E501
DENIED = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: demo}}
spec: {{action: DENY, {}}}
"""
TOKENS = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: t, namespace: demo}
spec: {jwtRules: [{issuer: a, jwks: '{"keys":[{"kty":"oct","k":"AAAA"}]}'}]}
"""
ODD = {
    "keys that should be nobody's": (
        [TOKENS],
        "RequestAuthentication demo/t: jwtRules[0].jwks: has private keys",
    ),
    "a policy for waypoints": (
        [DENIED.format("rules: [{}], targetRefs: [{kind: Service, name: reviews}]")],
        "AuthorizationPolicy demo/p: targetRefs: is for gateways and waypoints only",
    ),
    "a policy that denies every connection": (
        [DENIED.format("rules: [{}, {to: [{operation: {paths: [/a]}}]}]")],
        "AuthorizationPolicy demo/p: rules[1]: asks of requests only: on TCP ports it denies every connection",
    ),
    "an unknown subset": (
        [SUBSETS, routes(to("{host: reviews, subset: v9}"))],
        f"VirtualService demo/r: http[0].route[0].destination.subset: no DestinationRule has a subset v9 of {HOST}",
    ),
    "an unknown host": (
        [routes(to("{host: ratings}"))],
        "VirtualService demo/r: http[0].route[0].destination.host: no service has the name ratings.demo.svc",
    ),
    "an unknown port": (
        [routes(to("{host: reviews, port: {number: 1}}"))],
        f"VirtualService demo/r: http[0].route[0].destination.port.number: {HOST} has no port 1, only 9080, 9090",
    ),
    "an unknown mirror": (
        [routes("{route: [{destination: {host: reviews}}], mirror: {host: nobody}}")],
        "VirtualService demo/r: http[0].mirror.host: no service has the name nobody.demo.svc.cluster.local",
    ),
    "a VirtualService of nothing": (
        [routes(to("{host: reviews}"), hosts="[reviews, typo]")],
        "VirtualService demo/r: hosts[1]: no service has the name typo.demo.svc.cluster.local",
    ),
    "a second VirtualService": (
        [routes(to("{host: reviews}")), routes(to("{host: reviews}"), name="s")],
        f"VirtualService demo/s: hosts[0]: {HOST} has its routes from VirtualService demo/r already",
    ),
    "a route behind a catch-all": (
        [routes(to("{host: reviews}", "match: [{uri: {prefix: /}}], "), to("{host: reviews}"))],
        "VirtualService demo/r: http[1]: is never reached: http[0] takes every request",
    ),
    "a rule of nothing": (
        [resource("DestinationRule", "d", "host: nobody")],
        "DestinationRule demo/d: host: no service has the name nobody.demo.svc.cluster.local: it holds for nothing",
    ),
    "a subset of nothing": (
        [resource("DestinationRule", "d", "host: reviews\nsubsets: [{name: v7, labels: {version: v7}}]")],
        f"DestinationRule demo/d: subsets[0].labels: no endpoint of {HOST} has version=v7",
    ),
    "a policy of an unknown port": (
        [resource("DestinationRule", "d", "host: reviews\ntrafficPolicy: {portLevelSettings: [{port: {number: 7}}]}")],
        f"DestinationRule demo/d: trafficPolicy.portLevelSettings[0].port.number: {HOST} has no port 7",
    ),
    "a second subset": (
        [SUBSETS, SUBSETS.replace("name: subsets", "name: twice")],
        "DestinationRule demo/twice: subsets[0]: DestinationRule demo/subsets has a subset v1 of the same host",
    ),
    "a second policy": (
        [resource("DestinationRule", name, f"host: reviews\ntrafficPolicy: {POLICY}") for name in "ab"],
        "DestinationRule demo/b: trafficPolicy: DestinationRule demo/a has one for the same host already",
    ),
    "a second port": (
        [SERVICE.replace("name: reviews", "name: twice", 1)],
        f"ServiceEntry demo/twice: ports[0]: {HOST} has port 9080 from ServiceEntry reviews already",
    ),
    "a second policy of peers": (
        [PEERS.format("a", "STRICT"), PEERS.format("b", "DISABLE")],
        "PeerAuthentication demo/b: selector: PeerAuthentication demo/a holds for the same workloads already",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("documents", "said"), ODD.values(), ids=ODD.keys())
def test_what_is_odd_is_told_by_document_and_field(tmp_path, documents, said):
    snapshot = Snapshot(read_folder(write(tmp_path, all="\n---\n".join([SERVICE, *documents]))))
    assert [found for found in snapshot.oddities() if found.startswith(said)], list(snapshot.oddities())


@pytest.mark.parametrize("folder", ["examples/demo/mesh", "examples/hello/mesh", "examples/hello/mtls"])
def test_nothing_is_odd_about_the_examples(folder):
    assert list(Snapshot(read_folder(ROOT / folder)).oddities()) == []


def test_what_wildcards_and_other_namespaces_say_is_not_odd(tmp_path):
    root = resource("DestinationRule", "d", "host: '*.demo.svc.cluster.local'\nsubsets: [{name: v1}]", "istio-system")
    wild = routes(to("{host: reviews, subset: v1}"), hosts="['*.demo.svc.cluster.local']")
    folder = write(tmp_path, all=f"{SERVICE}\n---\n{root}\n---\n{wild}")
    assert list(Snapshot(read_folder(folder)).oddities()) == []


def test_it_is_told_once_at_the_start_and_at_the_reload_that_brought_it_or_brought_it_back(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "proxyless.localmesh")
    odd = routes(to("{host: ratings}"))
    with LocalMesh(write(tmp_path, s=SERVICE, r=odd), watch=False) as mesh:
        (told,) = mesh.warnings
        assert caplog.messages == [f"{tmp_path}: {told}"]
        mesh.reload()
        assert len(caplog.messages) == 1
        write(tmp_path, r="")
        mesh.reload()
        assert mesh.warnings == ()
        write(tmp_path, r=odd)
        mesh.reload()
        assert caplog.messages == [f"{tmp_path}: {told}"] * 2


def test_an_empty_folder_is_told_of_once(tmp_path, caplog):
    with LocalMesh(tmp_path, watch=False) as mesh:
        mesh.reload()
        assert caplog.messages == [f"{tmp_path}: there is no ServiceEntry and no Service in it: nothing can be called"]
        assert mesh.errors == ()
