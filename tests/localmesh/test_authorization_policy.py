"""AuthorizationPolicy: which are refused and why, for whom each holds, and where its filters stand.

That each field becomes what istiod makes of it is what e2e/test_same_resources.py compares with istiod itself.
"""

from __future__ import annotations

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac

from localmesh import ConfigError, LocalMesh
from localmesh.compile import Snapshot, View
from localmesh.config import read_folder
from tests.localmesh.policy_refusals import AUTHENTICATION, AUTHORIZATION, called, document
from tests.localmesh.yaml_folder import SERVICE, resource, write

REVIEWS = View("demo", addresses=("127.0.0.2",))  # version v2
ROWS = [*AUTHORIZATION, *AUTHENTICATION]
REASONS, TAKEN = [row for row in ROWS if row.reason], [row for row in ROWS if not row.reason]


def policy(name, spec, namespace="demo"):
    return resource("AuthorizationPolicy", name, spec, namespace).replace("networking.", "security.")


@pytest.mark.parametrize("row", REASONS, ids=called)
def test_what_istiod_refuses_is_refused_with_the_place_and_the_reason(tmp_path, row):
    with pytest.raises(ConfigError) as caught:
        read_folder(write(tmp_path, policy=document(row)))
    assert row.reason in str(caught.value)
    assert all(problem.file.endswith("policy.yaml") for problem in caught.value.problems)
    assert row.kind in str(caught.value)


def test_what_istiod_takes_is_taken_and_can_be_compiled(tmp_path):
    for number, row in enumerate(TAKEN):
        folder = write(tmp_path / str(number), policy=document(row), service=SERVICE)
        assert Snapshot(read_folder(folder)).listeners(REVIEWS)["virtualInbound"]


class Chains:
    """The RBAC filters of a listener: of HTTP chains, and of those for bytes."""

    def __init__(self, folder, *documents, view=REVIEWS, mesh="{}"):
        snapshot = Snapshot(read_folder(write(folder, mesh=mesh, all="\n---\n".join((SERVICE, *documents)))))
        self.snapshot = snapshot
        self.http, self.tcp = [], []
        packed = snapshot.listeners(snapshot.view(view))["virtualInbound"]
        for chain in Listener.FromString(packed.value).filter_chains[1:]:  # the first is the black hole
            names = [each.name for each in chain.filters]
            if names[-1].endswith("http_connection_manager"):
                manager = HttpConnectionManager()
                assert chain.filters[-1].typed_config.Unpack(manager)
                self.http.append([self._rbac(each, http_rbac.RBAC) for each in manager.http_filters])
            else:
                self.tcp.append([self._rbac(each, network_rbac.RBAC) for each in chain.filters])

    def _rbac(self, each, cls):
        found = cls()
        return (found.rules, found.shadow_rules) if each.typed_config.Unpack(found) else each.name.rpartition(".")[2]

    def rules(self, action=RBAC.ALLOW):
        """Names of the rules with the action, once all HTTP chains agree about them."""
        (found,) = {
            tuple(
                sorted(
                    name
                    for each in chain
                    if type(each) is tuple and each[0].action == action
                    for name in each[0].policies
                )
            )
            for chain in self.http
        }
        return list(found)


def test_the_filters_stand_before_all_that_answers_audit_first_then_deny_then_allow(tmp_path):
    rule = "rules: [{to: [{operation: {paths: [/a]}}]}]"
    chains = Chains(
        tmp_path,
        policy("a", rule),
        policy("d", f"action: DENY\n{rule}"),
        policy("l", f"action: AUDIT\n{rule}"),
    )
    assert len(chains.http) > 2
    assert len(chains.tcp) > 2
    for chain, rest in (
        *((one, ["grpc_stats", "fault", "cors", "router"]) for one in chains.http),
        *((one, ["tcp_proxy"]) for one in chains.tcp),
    ):
        assert [each[0].action for each in chain[:3]] == [RBAC.LOG, RBAC.DENY, RBAC.ALLOW]
        assert [list(each[0].policies) for each in chain[:1]] == [["ns[demo]-policy[l]-rule[0]"]]
        assert chain[3:] == rest


def test_without_a_policy_there_is_no_filter(tmp_path):
    chains = Chains(tmp_path, policy("a", "{}", "other"))
    assert {tuple(chain) for chain in chains.http} == {("grpc_stats", "fault", "cors", "router")}
    assert {tuple(chain) for chain in chains.tcp} == {("tcp_proxy",)}


def test_what_is_of_requests_only_allows_no_connection_and_denies_every_one(tmp_path):
    rule = "rules: [{to: [{operation: {paths: [/a]}}]}]"
    chains = Chains(tmp_path, policy("a", rule), policy("d", f"action: DENY\n{rule}"))
    for denied, allowed, proxy in chains.tcp:
        assert proxy == "tcp_proxy"
        assert not allowed[0].policies  # and the filter is there: it lets nobody in
        (rule,) = denied[0].policies.values()
        assert rule.permissions[0].and_rules.rules[0].any
        assert rule.principals[0].and_ids.ids[0].any


def test_a_policy_without_rules_allows_nobody(tmp_path):
    chains = Chains(tmp_path, policy("a", "{}"))
    for chain in (*chains.http, *chains.tcp):
        (rule,) = chain[0][0].policies.values()
        assert rule.permissions[0].not_rule.any
        assert rule.principals[0].not_id.any


def test_a_policy_that_becomes_bad_changes_nothing_but_the_errors(tmp_path):
    folder = write(tmp_path, service=SERVICE, policy=policy("a", "{}"))
    with LocalMesh(folder, watch=False) as mesh:
        before = mesh._snapshot.listeners(REVIEWS)
        write(folder, policy=policy("a", "action: DENY"))
        with pytest.raises(ConfigError, match=r"policy\.yaml:\d+: AuthorizationPolicy demo/a spec\.rules: are needed"):
            mesh.reload()
        assert mesh._snapshot.listeners(REVIEWS) == before
        assert [problem.file for problem in mesh.errors] == [str(folder / "policy.yaml")]
        write(folder, policy=policy("a", "action: DENY\nrules: [{}]"))
        mesh.reload()
        assert mesh.errors == ()
        assert mesh._snapshot.listeners(REVIEWS) != before


ONE = "rules: [{}]"
SELECTING = "selector: {{matchLabels: {{version: {}}}}}\nrules: [{{}}]"
SCOPES = {
    "its namespace": (policy("a", ONE), True),
    "another namespace": (policy("a", ONE, "other"), False),
    "the mesh": (policy("a", ONE, "istio-system"), True),
    "its labels": (policy("a", SELECTING.format("v2")), True),
    "other labels": (policy("a", SELECTING.format("v1")), False),
    "its labels, from the root namespace": (policy("a", SELECTING.format("v2"), "istio-system"), True),
    "its labels, from another namespace": (policy("a", SELECTING.format("v2"), "other"), False),
    "a waypoint": (policy("a", "targetRefs: [{kind: Service, name: reviews}]\nrules: [{}]"), False),
    "an empty selector": (policy("a", "selector: {}\nrules: [{}]"), True),
}


@pytest.mark.parametrize(("document", "holds"), SCOPES.values(), ids=SCOPES)
def test_a_policy_holds_for_whom_it_selects(tmp_path, document, holds):
    assert bool(Chains(tmp_path, document).rules()) is holds


def test_a_dry_run_stands_beside_what_holds(tmp_path):
    dry = policy("dry", "rules: [{from: [{source: {namespaces: [x]}}]}]")
    dry = dry.replace("namespace: demo", "namespace: demo, annotations: {istio.io/dry-run: 'true'}", 1)
    for chain in Chains(tmp_path, policy("a", ONE), dry).http:
        rules, shadow = chain[0]
        assert list(rules.policies) == ["ns[demo]-policy[a]-rule[0]"]
        assert list(shadow.policies) == ["ns[demo]-policy[dry]-rule[0]"]


def test_whom_a_provider_that_nobody_knows_is_to_judge_is_refused(tmp_path):
    custom = policy("c", "action: CUSTOM\nprovider: {name: nobody}\nrules: [{to: [{operation: {paths: [/a]}}]}]")
    name = "istio-ext-authz-nobody-ns[demo]-policy[c]-rule[0]-deny-due-to-bad-CUSTOM-action"
    assert Chains(tmp_path, custom).rules(RBAC.DENY) == [name]


def test_the_same_policies_are_the_same_bytes_whatever_stood_before_them(tmp_path):
    documents = [policy(name, "rules: [{}, {}, {}]") for name in "abcdefgh"]
    one, other = Chains(tmp_path / "one", *documents), Chains(tmp_path / "other", *reversed(documents))
    assert one.snapshot.listeners(REVIEWS) == other.snapshot.listeners(REVIEWS)


def test_workloads_with_the_same_policies_share_what_is_compiled(tmp_path):
    snapshot = Chains(tmp_path, policy("a", ONE)).snapshot
    guards = snapshot._mesh.guards
    assert guards.of(REVIEWS) is guards.of(View("demo", labels=(("app", "z"),)))
    assert guards.of(REVIEWS) is not guards.of(View("other"))


CUSTOM = "action: CUSTOM\nprovider: {name: judge}\nrules: [{to: [{operation: {paths: [/a]}}]}]"
AT_REVIEWS = "service: reviews.demo.svc.cluster.local, port: 9080"
TOKENS = resource("RequestAuthentication", "t", "jwtRules: [{issuer: a, jwks: '{\"keys\":[]}'}]").replace(
    "networking.", "security."
)


def provider(said, kind="Grpc", name="judge"):
    others = "{name: logs, envoyFileAccessLog: {path: /x}}"
    return f"extensionProviders: [{{name: {name}, envoyExtAuthz{kind}: {{{said}}}}}, {others}]"


@pytest.mark.parametrize(("kind", "tcp"), {"Grpc": ["rbac", "ext_authz", "tcp_proxy"], "Http": ["tcp_proxy"]}.items())
def test_a_provider_is_asked_before_tokens_are_verified_and_other_policies_are_read(tmp_path, kind, tcp):
    chains = Chains(tmp_path, policy("c", CUSTOM), TOKENS, policy("a", ONE), mesh=provider(AT_REVIEWS, kind))
    for shadow, *rest in chains.http:
        assert not shadow[0].policies
        assert list(shadow[1].policies) == ["istio-ext-authz-judge-ns[demo]-policy[c]-rule[0]"]
        assert [each if type(each) is str else "rbac" for each in rest] == [
            *("ext_authz", "jwt_authn", "rbac", "grpc_stats", "fault", "cors", "router")
        ]
    without_allow = [[each if type(each) is str else "rbac" for each in chain] for chain in chains.tcp]
    assert all(chain == [*tcp[:-1], "rbac", tcp[-1]] for chain in without_allow)


BAD_PROVIDERS = {
    "unknown": (provider(AT_REVIEWS, name="other"), "that has this name can be asked"),
    "of another kind": ("extensionProviders: [{name: judge, zipkin: {}}]", "that has this name can be asked"),
    "of no service": (provider("service: nobody, port: 80"), "no service has the name 'nobody'"),
    "without a port": (provider("service: reviews.demo.svc.cluster.local"), "port 0 is not between"),
    "of another namespace": (provider("service: x/reviews.demo.svc.cluster.local, port: 1"), "no service has the name"),
    "with a status of nothing": (provider(f"{AT_REVIEWS}, statusOnError: '299'"), "no status that Envoy knows"),
    "with half a path": (provider(f"{AT_REVIEWS}, pathPrefix: a", "Http"), "does not begin with /"),
    "with a lone star": (provider(f"{AT_REVIEWS}, headersToUpstreamOnAllow: ['*']", "Http"), "a lone *"),
}


@pytest.mark.parametrize(("mesh", "reason"), BAD_PROVIDERS.values(), ids=BAD_PROVIDERS)
def test_whom_a_provider_that_cannot_be_asked_is_to_judge_is_refused_and_told_of(tmp_path, mesh, reason):
    chains = Chains(tmp_path, policy("c", CUSTOM), mesh=mesh)
    name = "istio-ext-authz-judge-ns[demo]-policy[c]-rule[0]-deny-due-to-bad-CUSTOM-action"
    assert chains.rules(RBAC.DENY) == [name]
    assert any(
        said.startswith("AuthorizationPolicy demo/c: provider.name: judge: ") and reason in said
        for said in chains.snapshot.oddities()
    )


def test_several_providers_for_one_workload_refuse_all(tmp_path):
    mesh = "extensionProviders: [{name: one, envoyExtAuthzGrpc: {SERVICE}}, {name: two, envoyExtAuthzGrpc: {SERVICE}}]"
    policies = [policy(name, CUSTOM.replace("judge", name)) for name in ("one", "two")]
    chains = Chains(tmp_path, *policies, mesh=mesh.replace("SERVICE", AT_REVIEWS))
    assert len(chains.rules(RBAC.DENY)) == 2
