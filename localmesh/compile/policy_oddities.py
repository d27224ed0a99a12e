"""What policies say that will not do what their author expects, though istiod takes it. Pure.

istiod warns of the same (`pkg/config/validation`), or says so in its log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localmesh.compile.authorization import BadProvider
from localmesh.config.authorization_policy import Action
from localmesh.config.key_set import has_private_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localmesh.compile.authorization import Providers
    from localmesh.config import Resources

_TARGETS = "is for gateways and waypoints only: no server and no sidecar obeys it"


def of_policies(resources: Resources, providers: Providers) -> Iterator[str]:
    yield from _of_authorization(resources, providers)
    for resource in resources.request_authentications:
        where = f"RequestAuthentication {resource.namespace}/{resource.name}: "
        if resource.spec.has_targets:
            yield f"{where}targetRefs: {_TARGETS}"
        for number, rule in enumerate(resource.spec.jwt_rules):
            if rule.jwks and has_private_keys(rule.jwks):
                yield f"{where}jwtRules[{number}].jwks: has private keys, which only whoever signs should know"


def _of_authorization(resources: Resources, providers: Providers) -> Iterator[str]:
    for resource in resources.authorization_policies:
        where = f"AuthorizationPolicy {resource.namespace}/{resource.name}: "
        policy = resource.spec
        if policy.has_targets:
            yield f"{where}targetRefs: {_TARGETS}"
        if policy.provider is not None:
            try:
                providers.find(policy.provider.name)
            except BadProvider as fault:
                said = f"{policy.provider.name}: {fault}: whom it is to judge is refused"
                yield f"{where}provider.name: {said}"
        if policy.action is Action.DENY:
            for number, rule in enumerate(policy.rules):
                if rule.denies_connections:
                    said = "asks of requests only: on TCP ports it denies every connection, unless it names ports"
                    yield f"{where}rules[{number}]: {said}"
