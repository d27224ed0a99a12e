"""RequestAuthentications, put together: the filter that verifies tokens, as istiod sends it. Pure.

Follows istiod's `pilot/pkg/security/authn/policy_applier.go`: no token is let pass, a bad one is not.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from localmesh import xds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localmesh.config import Resource, Resources
    from localmesh.config.request_authentication import JwtRule, RequestAuthentication

_FILTER = "envoy.filters.http.jwt_authn"
_USUAL_TIMEOUT = timedelta(seconds=5)
_SPACE_DELIMITED = ("permission", "scope")  # claims that always are
_Requirement = xds.jwt_authn.JwtRequirement

# A key whose other half nobody has, for issuers whose keys are not known (yet): all their tokens are refused. It is
# istiod's own (`PublicOnlyJwks`), byte by byte.
NOBODYS_KEYS = """{
  "keys": [
    {
      "kty": "RSA",
      "e": "AQAB",
      "n": "0xObjM0UvS_oaazjpEYlAbwctEJ4L8pH3OuTb7qth7gUwqet-EzQB4dgFdvSdMgrLnSncQGRjpEYz3F3viIbH-3EN3TxSlPNviHxeOdyiBVfumN8dMxbLvVJUpfNOnvmMxJcl-8NNjAwcOjk4otSALaYgYYyOPyvKtgVdrQr-FoubWX4yrjxW-MJ2-7OBeepUUNOsVwGV23YX03sVkkyvY3otRflkBcY3_HKpBxJl9wk2GyOShN4_PNUF9-vwfnvOXMbCDX-w4PTef4geeb_GiT40YCKHTKMSPVanGRn5GExIWmki-mmqh94-mPTJyBR74ShspL3BxPZitDL574T1w"
    }
  ]
}"""  # noqa: E501  # one value


class KeySource(NamedTuple):
    """Where an issuer's keys are to be had; without a URI, the issuer says it."""

    issuer: str
    uri: str


class RequestAuthentications:
    def __init__(self, resources: Resources) -> None:
        self._root = resources.mesh.root_namespace
        self._by_namespace: dict[str, list[Resource[RequestAuthentication]]] = {}
        for resource in resources.request_authentications:
            self._by_namespace.setdefault(resource.namespace, []).append(resource)

    def for_workload(self, namespace: str, labels: Mapping[str, str]) -> tuple[Resource[RequestAuthentication], ...]:
        """Its namespace's first, then the mesh's; a selector in the root namespace selects workloads of all."""
        return tuple(
            resource
            for where in dict.fromkeys((namespace, self._root))
            for resource in self._by_namespace.get(where, ())
            if resource.spec.is_for(labels)
        )


def key_sources(resources: Resources) -> dict[KeySource, float]:
    """Of all rules that do not have their keys in them; and how many seconds may be waited for them."""
    rules = [rule for resource in resources.request_authentications for rule in resource.spec.jwt_rules]
    return {
        KeySource(rule.issuer, rule.jwks_uri): (rule.timeout or _USUAL_TIMEOUT).total_seconds()
        for rule in rules
        if not rule.jwks
    }


def jwt_filters(
    policies: Sequence[Resource[RequestAuthentication]], keys: Mapping[KeySource, str]
) -> Iterator[xds.http_connection_manager.HttpFilter]:
    """One, or none where there are no rules. ``keys``: what was fetched."""
    rules = sorted((rule for policy in policies for rule in policy.spec.jwt_rules), key=lambda rule: rule.issuer)
    if not rules:
        return
    providers = {f"origins-{number}": _provider(rule, keys) for number, rule in enumerate(rules)}
    match = xds.route.RouteMatch(prefix="/")
    config = xds.jwt_authn.JwtAuthentication(
        providers=providers,
        rules=[xds.jwt_authn.RequirementRule(match=match, requires=_requirement(list(providers)))],
        bypass_cors_preflight=True,
    )
    yield xds.http_connection_manager.HttpFilter(name=_FILTER, typed_config=xds.any_of(config))


def _requirement(providers: Sequence[str]) -> Any:
    """A good token of any one, or of each either a good one or none.

    The first is for providers that read the same place: there a token of one is a bad one to the others.
    """
    named = [_Requirement(provider_name=name) for name in providers]
    each = [_any([one, _Requirement(allow_missing={})]) for one in named]
    if len(each) == 1:
        return each[0]
    return _any([*named, _Requirement(requires_all=xds.jwt_authn.JwtRequirementAndList(requirements=each))])


def _any(requirements: Sequence[Any]) -> Any:
    return _Requirement(requires_any=xds.jwt_authn.JwtRequirementOrList(requirements=requirements))


def _provider(rule: JwtRule, keys: Mapping[KeySource, str]) -> Any:
    found = rule.jwks or keys.get(KeySource(rule.issuer, rule.jwks_uri)) or NOBODYS_KEYS
    return xds.jwt_authn.JwtProvider(
        issuer=rule.issuer,
        audiences=rule.audiences,
        local_jwks=xds.core.DataSource(inline_string=found),
        forward=rule.forward_original_token,
        from_headers=[{"name": header.name, "value_prefix": header.prefix} for header in rule.from_headers],
        from_params=rule.from_params,
        from_cookies=rule.from_cookies,
        forward_payload_header=rule.output_payload_to_header,
        payload_in_metadata="payload",
        normalize_payload_in_metadata={
            "space_delimited_claims": sorted({*_SPACE_DELIMITED, *rule.space_delimited_claims})
        },
        claim_to_headers=[
            {"header_name": each.header, "claim_name": each.claim} for each in rule.output_claim_to_headers
        ],
    )
