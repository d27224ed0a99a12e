"""A folder is read whole, or refused with file, line and reason of everything that is wrong."""

from __future__ import annotations

import gc
import sys
import weakref
from datetime import timedelta

import pytest

from localmesh import ConfigError
from localmesh.config import read_folder, text
from localmesh.config.decode import parse_duration
from tests.localmesh.yaml_folder import SERVICE, resource, write


def refused(folder, text):
    with pytest.raises(ConfigError) as caught:
        read_folder(write(folder, bad=text))
    assert {problem.file for problem in caught.value.problems} == {str(folder / "bad.yaml")}
    return [(problem.line, problem.reason) for problem in caught.value.problems]


HEAD = "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: x, namespace: demo}}\nspec:\n"

REFUSALS = {
    "not YAML": ("a: 1\nb: c: d\n", 2, "is not YAML: mapping values are not allowed in this context"),
    "no kind": ("apiVersion: v1\n", 1, "kind: is missing"),
    "not a mapping": ("- 1\n", 1, "must be a mapping, not a list"),
    "unknown kind": ("apiVersion: networking.istio.io/v1\nkind: VirtualServce\n", 2, "unknown kind 'VirtualServce'"),
    "unknown version": ("apiVersion: networking.istio.io/v9\nkind: VirtualService\n", 1, "unknown apiVersion"),
    "unknown group": ("apiVersion: example.org/v1\nkind: Thing\n", 1, "unknown apiVersion"),
    "unknown field": (HEAD.format(kind="DestinationRule") + "  host: a\n  hots: b\n", 6, "hots: unknown field"),
    "wrong type": (HEAD.format(kind="DestinationRule") + "  host: 7\n", 5, "must be a string, not the number '7'"),
    "y is a boolean": (HEAD.format(kind="DestinationRule") + "  host: y\n", 5, "must be a string, not the boolean 'y'"),
    "missing field": (HEAD.format(kind="DestinationRule") + "  subsets: []\n", 5, "host: is missing"),
    "unsupported field": (
        HEAD.format(kind="DestinationRule") + "  host: a\n  trafficPolicy:\n    tunnel: {}\n",
        7,
        "trafficPolicy.tunnel: localmesh does not support this field yet",
    ),
    "unknown word": (
        HEAD.format(kind="DestinationRule") + "  host: a\n  trafficPolicy:\n    loadBalancer: {simple: FASTEST}\n",
        7,
        "'FASTEST' is not one of UNSPECIFIED, LEAST_CONN, RANDOM",
    ),
    "bad duration": (
        HEAD.format(kind="VirtualService")
        + "  hosts: [a]\n  http:\n  - timeout: soon\n    route: [{destination: {host: a}}]\n",
        7,
        "'soon' is not a duration",
    ),
    "oneof": (
        HEAD.format(kind="VirtualService")
        + "  hosts: [a]\n  http:\n  - match:\n    - uri: {exact: /a, prefix: /b}\n"
        + "    route: [{destination: {host: a}}]\n",
        8,
        "exact and prefix exclude each other",
    ),
    "no action": (
        HEAD.format(kind="VirtualService") + "  hosts: [a]\n  http:\n  - name: nothing\n",
        7,
        "exactly one of route, redirect, directResponse",
    ),
    "no weight": (
        HEAD.format(kind="VirtualService")
        + "  hosts: [a]\n  http:\n  - route: [{destination: {host: a}}, {destination: {host: b}}]\n",
        7,
        "the weights sum to 0",
    ),
    "a wildcard in the middle": (
        HEAD.format(kind="ServiceEntry") + "  hosts: [a.*.b]\n  ports: [{number: 1, name: a}]\n",
        5,
        "a wildcard is written *.NAME",
    ),
    "a wildcard with endpoints": (
        HEAD.format(kind="ServiceEntry") + "  hosts: ['*.b']\n  ports: [{number: 1, name: a}]\n  resolution: STATIC\n",
        5,
        "wildcard hosts only with resolution NONE",
    ),
    "TCP routes": (HEAD.format(kind="VirtualService") + "  hosts: [a]\n  tcp: []\n", 6, "tcp: localmesh does not supp"),
    "bad port": (
        HEAD.format(kind="ServiceEntry") + "  hosts: [a]\n  ports:\n  - {number: 70000, name: a}\n",
        7,
        "70000 is not a port",
    ),
    "negative": (
        HEAD.format(kind="ServiceEntry") + "  hosts: [a]\n  ports:\n  - {number: -1, name: a}\n",
        7,
        "-1 is not between 0 and",
    ),
    "exportTo": (
        HEAD.format(kind="DestinationRule") + "  host: a\n  exportTo: ['.']\n",
        6,
        'exportTo: localmesh supports only ["*"] yet',
    ),
    "key twice": (HEAD.format(kind="DestinationRule") + "  host: a\n  host: b\n", 6, "'host' is written twice"),
    "unknown protocol": (
        HEAD.format(kind="ServiceEntry") + "  hosts: [a]\n  ports:\n  - {number: 1, name: a, protocol: GPRC}\n",
        7,
        "'GPRC' is not a protocol that Istio knows",
    ),
    "host name where an address is due": (
        HEAD.format(kind="ServiceEntry")
        + "  hosts: [a]\n  ports: [{number: 1, name: a}]\n  resolution: STATIC\n  endpoints: [{address: b.c}]\n",
        8,
        "resolution STATIC takes IP addresses only",
    ),
    "metadata": ("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {}\nspec: {}\n", 3, "name is"),
    "subset twice": (
        HEAD.format(kind="DestinationRule") + "  host: a\n  subsets: [{name: v1}, {name: v1}]\n",
        6,
        "subset 'v1' is defined twice",
    ),
}

HTTP = HEAD.format(kind="VirtualService") + "  hosts: [a]\n  http:\n  - MATCH\n    route: [{destination: {host: a}}]\n"
REFUSALS |= {
    text: (HTTP.replace("MATCH", text), 7, reason)
    for text, reason in {
        "retries: {attempts: 1, retryOn: 'often'}": "retryOn: 'often' is not a policy that Istio knows",
        "retries: {retryOn: 5xx}": "0 turns retries off",
        "timeout: 0s": "timeout: must be at least 1ms",
        "match: [{headers: {a: {regex: '*'}}}]": "'*' is not a regular expression",
        "match: [{uri: {regex: '(?=a)'}}]": "invalid perl operator: (?=",
        "match: [{uri: {regex: '(?:a{100}){100}'}}]": "invalid repetition size: {100}",
        "rewrite: {uriRegexRewrite: {match: '(', rewrite: a}}": "match: '(' is not a regular expression",
        "match: [{headers: {a: {prefix: ''}}}]": "prefix: must not be empty",
    }.items()
}


@pytest.mark.parametrize(("text", "line", "reason"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_names_file_line_and_reason(tmp_path, text, line, reason):
    (problem,) = refused(tmp_path, text)
    assert problem[0] == line
    assert reason in problem[1]


def test_all_problems_of_all_files_are_listed_in_order(tmp_path):
    bad = HEAD.format(kind="DestinationRule") + "  hots: b\n  exportTo: 3\n"
    write(tmp_path, a=bad, b="kind: Nothing\n", good=SERVICE)
    with pytest.raises(ConfigError) as caught:
        read_folder(tmp_path)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        f"{tmp_path}/a.yaml:5",
        f"{tmp_path}/a.yaml:5",
        f"{tmp_path}/a.yaml:6",
        f"{tmp_path}/b.yaml:1",
    ]


def test_the_same_resource_twice_is_refused_where_it_comes_again(tmp_path):
    ((line, reason),) = refused(tmp_path, f"{SERVICE}---{SERVICE}")
    assert line == SERVICE.count("\n") + 2
    assert "ServiceEntry: demo/reviews is defined twice" in reason


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_folder(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not a folder or file"):
        read_folder(tmp_path / "nowhere")


def test_kinds_that_are_not_served_are_left_out_by_name(tmp_path):
    others = (
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: x}\nspec: {}\n"
        "---\napiVersion: v1\nkind: Deployment\n"
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n---\n---\n"
    )
    resources = read_folder(write(tmp_path, others=others, service=SERVICE), frozenset({"AuthorizationPolicy"}))
    file = str(tmp_path / "others.yaml")
    assert resources.ignored == ((file, "AuthorizationPolicy"), (file, "Deployment"), (file, "HTTPRoute"))
    assert [entry.name for entry in resources.service_entries] == ["reviews"]


def test_all_versions_and_both_spellings_are_read(tmp_path):
    rule = (
        "apiVersion: networking.istio.io/{v}\nkind: DestinationRule\nmetadata: {{name: {v}}}\nspec: {{host: a, {p}}}\n"
    )
    texts = [
        rule.format(v="v1alpha3", p="traffic_policy: {load_balancer: {simple: RANDOM}}"),
        rule.format(v="v1beta1", p="trafficPolicy: {loadBalancer: {simple: RANDOM}}"),
        rule.format(v="v1", p="trafficPolicy: {outlierDetection: {consecutive5xxErrors: 4}}"),
    ]
    rules = read_folder(write(tmp_path, rules="---\n".join(texts))).destination_rules
    assert [rule.name for rule in rules] == ["v1", "v1alpha3", "v1beta1"]
    assert rules[1].spec == rules[2].spec
    assert rules[0].spec.traffic_policy.outlier_detection.consecutive_5xx_errors == 4
    assert {rule.namespace for rule in rules} == {"default"}


def test_mesh_yaml_is_the_mesh_config_and_subfolders_are_read(tmp_path):
    write(tmp_path, mesh="enableAutoMtls: false\ntrustDomain: td\ndefaultConfig: {discoveryAddress: 'x:1'}\n")
    write(tmp_path / "more", service=SERVICE)
    resources = read_folder(tmp_path)
    assert not resources.mesh.enable_auto_mtls
    assert resources.mesh.trust_domain == "td"
    assert len(resources.service_entries) == 1


@pytest.mark.parametrize("name", ["A.b", "a..b", "-a", "a_b", ".", "*.x", "a" * 64])
@pytest.mark.parametrize("said", ["trustDomain: '{}'", "trustDomainAliases: [td, '{}']"])
def test_a_trust_domain_that_is_no_domain_is_refused(tmp_path, said, name):
    """istiod's ValidateTrustDomain."""
    (tmp_path / "mesh.yaml").write_text(said.format(name))
    with pytest.raises(ConfigError, match=r"mesh\.yaml:1: MeshConfig\.trustDomain\w*: '.*' is not a domain name"):
        read_folder(tmp_path)
    (tmp_path / "mesh.yaml").write_text(said.format("a-1.b."))
    assert read_folder(tmp_path)


def test_a_mesh_yaml_with_an_unknown_field_is_refused(tmp_path):
    (tmp_path / "mesh.yaml").write_text("enableAutoMtls: false\nenableAutoMTLS: true\n")
    with pytest.raises(ConfigError, match=r"mesh\.yaml:2: MeshConfig\.enableAutoMTLS: unknown field"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("1h2m3s", 3723),
        ("50us", 5e-5),
        ("0s", 0),
        ("s", None),
        ("5", None),
        ("-1s", None),
    ],
)
def test_durations_are_written_as_in_go(text, seconds):
    assert parse_duration(text) == (None if seconds is None else timedelta(seconds=seconds))


def test_null_is_absent(tmp_path):
    rule = resource("DestinationRule", "r", "host: a\nsubsets: null\ntrafficPolicy:\n")
    assert read_folder(write(tmp_path, rule=rule)).destination_rules[0].spec.subsets == ()


def aged(name, created, namespace="demo"):
    text = resource("DestinationRule", name, f"host: {name}", namespace)
    return text.replace("}", f", creationTimestamp: {created}}}", 1) if created else text


def test_of_resources_the_oldest_comes_first_then_the_name(tmp_path):
    """istiod's sortConfigByCreationTime; what was never created would be the youngest of all."""
    found = [
        aged("a", None), aged("b", "2026-01-02T00:00:00Z"), aged("c", '"2026-01-01T10:00:00+09:00"'),
        aged("d", "2026-01-01T02:00:00Z"), aged("e", "2026-01-01T02:00:00Z", "zoo"), aged("e", "2026-01-01T02:00:00Z"),
        aged("f", "null"),
    ]  # fmt: skip
    rules = read_folder(write(tmp_path, all="\n---\n".join(found))).destination_rules
    assert [(rule.name, rule.namespace) for rule in rules] == [
        ("c", "demo"), ("d", "demo"), ("e", "demo"), ("e", "zoo"), ("b", "demo"), ("a", "demo"), ("f", "demo"),
    ]  # fmt: skip


@pytest.mark.parametrize("created", ["yesterday", "2026-02-31T00:00:00Z", "2026-01-01", "'2026-01-01T00:00:00'", "1"])
def test_a_time_that_is_none_is_refused(tmp_path, created):
    ((line, reason),) = refused(tmp_path, aged("a", created))
    assert line == 3
    assert "creationTimestamp" in reason


@pytest.mark.parametrize("kind", ["AuthorizationPolicy", "RequestAuthentication"])
def test_policies_are_left_out_by_name_where_their_kind_is_to_be_ignored(tmp_path, kind):
    text = f"apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{action: 1}}\n"
    write(tmp_path, policy=text)
    assert read_folder(tmp_path, frozenset({kind})).ignored == ((str(tmp_path / "policy.yaml"), kind),)
    with pytest.raises(ConfigError):
        read_folder(tmp_path, frozenset({"Telemetry"}))


def test_what_kubectl_gets_is_read(tmp_path):
    item = resource("DestinationRule", "{}", "host: a").replace("\n", "\n  ")
    head = "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems:\n"
    text = head + "".join(f"- {item.replace('{}', name, 1).rstrip()}\n" for name in "ab")
    assert [rule.name for rule in read_folder(write(tmp_path, all=text)).destination_rules] == ["a", "b"]
    (problem,) = refused(tmp_path, text.replace("host: a", "hots: a", 1))[:1]
    assert problem == (9, "DestinationRule demo/a spec.hots: unknown field")
    assert refused(tmp_path, "apiVersion: v1\nkind: List\nitems: 1\n") == [(3, "List.items: must be a list")]
    (tmp_path / "bad.yaml").write_text("apiVersion: v1\nkind: List\n")
    assert read_folder(tmp_path)


def test_one_file_is_read_too(tmp_path):
    write(tmp_path, a=SERVICE, b="kind: X")
    assert len(read_folder(tmp_path / "a.yaml").service_entries) == 1


def calls_to_read(folder, endpoints):
    """Of Python's functions, PyYAML's among them."""
    lines = "".join(
        f"  - {{address: 10.0.0.{number + 1}, labels: {{app: x, version: v1}}, serviceAccount: x}}\n"
        for number in range(endpoints)
    )
    write(folder, s=resource("ServiceEntry", "s", "hosts: [a.b]\nresolution: STATIC\nports: [{number: 80, name: http}]\nendpoints:") + lines)  # fmt: skip  # noqa: E501
    read_folder(folder)  # what is looked up once is
    called = 0

    def count(_frame, event, _argument):
        nonlocal called
        called += event == "call"

    sys.setprofile(count)
    try:
        read_folder(folder)
    finally:
        sys.setprofile(None)
    return called


def test_an_endpoint_of_a_big_folder_costs_few_calls(tmp_path):
    assert (calls_to_read(tmp_path, 120) - calls_to_read(tmp_path, 20)) / 100 <= 66


def test_a_text_that_was_read_is_let_go_without_a_search_for_cycles():
    gc.collect()
    gc.disable()  # as while a folder is read
    try:
        loader = text._Loader("a: 1")
        held = weakref.ref(loader)
        assert loader.check_node()
        loader.begin_document()
        loader.get_node()
        loader.dispose()
        del loader
        assert held() is None
    finally:
        gc.enable()
