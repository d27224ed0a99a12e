"""Changes of headers as policies write them. Frozen values, no behaviour.

Each class says which message of Envoy's it is, whose field names it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model.matching import StringMatch
    from xds_client.model.values import HeaderToAdd


@dataclass(frozen=True, slots=True)
class HeaderMutation:
    """``envoy.config.common.mutation_rules.v3.HeaderMutation``: one of these is said."""

    remove: str | None = None
    append: HeaderToAdd | None = None
    remove_on_match: StringMatch | None = None


@dataclass(frozen=True, slots=True)
class QueryParameterMutation:
    """``envoy.config.core.v3.KeyValueMutation``: ``remove``, or ``key`` and ``value`` with ``action``."""

    remove: str = ""
    key: str = ""
    value: object = None
    action: str = "APPEND_IF_EXISTS_OR_ADD"


@dataclass(frozen=True, slots=True)
class Mutations:
    """``envoy.extensions.filters.http.header_mutation.v3.Mutations``."""

    request_mutations: tuple[HeaderMutation, ...] = ()
    query_parameter_mutations: tuple[QueryParameterMutation, ...] = ()
    response_mutations: tuple[HeaderMutation, ...] = ()
    response_trailers_mutations: tuple[HeaderMutation, ...] = ()
    request_trailers_mutations: tuple[HeaderMutation, ...] = ()


@dataclass(frozen=True, slots=True)
class HeaderMutationFilter:
    """``envoy.extensions.filters.http.header_mutation.v3.HeaderMutation``, and for a route HeaderMutationPerRoute."""

    mutations: Mutations = Mutations()
    most_specific_header_mutations_wins: bool = False


@dataclass(frozen=True, slots=True)
class HeaderMutationRules:
    """``envoy.config.common.mutation_rules.v3.HeaderMutationRules``: which headers somebody else may change."""

    allow_all_routing: bool | None = None
    allow_envoy: bool | None = None
    disallow_system: bool | None = None
    disallow_all: bool | None = None
    allow_expression: str | None = None
    disallow_expression: str | None = None
    disallow_is_error: bool | None = None
