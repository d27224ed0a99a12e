"""What happens to a matched request: forwarding with its policies, redirect, direct response, fault, CORS. Pure.

Follows istiod's `pilot/pkg/networking/core/route/route.go` and `route/retry/retry.go`.
"""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile.match import string_matcher
from localmesh.config.virtual_service import UnmatchedPreflights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localmesh.config.destination_rule import ConsistentHash
    from localmesh.config.virtual_service import (
        Cors,
        DirectResponse,
        Fault,
        Headers,
        Percent,
        Redirect,
        Retries,
    )

_DEFAULT_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_DEFAULT_RETRIES = 2
_HOST_SELECTION_ATTEMPTS = 5
_UPDATE_FREQUENCY = 2
_STATUS_CODES = frozenset(status.value for status in HTTPStatus)
_Codes = xds.route.RedirectAction.RedirectResponseCode
_REDIRECT = {
    301: _Codes.MOVED_PERMANENTLY,
    302: _Codes.FOUND,
    303: _Codes.SEE_OTHER,
    307: _Codes.TEMPORARY_REDIRECT,
    308: _Codes.PERMANENT_REDIRECT,
}


def set_timeout(action: xds.route.RouteAction, timeout: timedelta | None) -> None:
    """No time-out is written as 0 s."""
    action.timeout.FromTimedelta(timeout or timedelta(0))
    action.max_grpc_timeout.FromTimedelta(timeout or timedelta(0))  # deprecated by Envoy, and what istiod sends


def retry_policy(retries: Retries | None, *, keeps_host: bool) -> xds.route.RetryPolicy | None:
    """Two retries unless told otherwise; ``attempts: 0`` turns them off. ``keeps_host``: hashed to one host."""
    out = xds.route.RetryPolicy(
        retry_on=_DEFAULT_RETRY_ON,
        num_retries={"value": _DEFAULT_RETRIES},
        host_selection_retry_max_attempts=_HOST_SELECTION_ATTEMPTS,
    )
    ignore_previous = not keeps_host
    if retries is not None:
        if not retries.attempts:
            return None
        out.num_retries.value = retries.attempts
        if retries.per_try_timeout is not None:
            out.per_try_timeout.FromTimedelta(retries.per_try_timeout)
        if retries.retry_on:
            out.retry_on, codes = _parse_retry_on(retries.retry_on)
            out.retriable_status_codes.extend(codes)
        if retries.retry_ignore_previous_hosts is not None:
            ignore_previous = retries.retry_ignore_previous_hosts
        if retries.retry_remote_localities:
            config = xds.previous_priorities.PreviousPrioritiesConfig(update_frequency=_UPDATE_FREQUENCY)
            out.retry_priority.name = "envoy.retry_priorities.previous_priorities"
            out.retry_priority.typed_config.CopyFrom(xds.any_of(config))
        if retries.backoff is not None:
            out.retry_back_off.base_interval.FromTimedelta(retries.backoff)
    if ignore_previous:
        out.retry_host_predicate.add(
            name="envoy.retry_host_predicates.previous_hosts",
            typed_config=xds.any_of(xds.previous_hosts.PreviousHostsPredicate()),
        )
    return out


def _parse_retry_on(text: str) -> tuple[str, list[int]]:
    """Numbers among the words are status codes (parseRetryOn)."""
    words, codes = [], []
    for part in (part.strip() for part in text.split(",")):
        if part.isdigit() and int(part) in _STATUS_CODES:
            codes.append(int(part))
        elif part:
            words.append(part)
    if codes and not any("retriable-status-codes" in word for word in words):
        words.append("retriable-status-codes")
    return ",".join(words), codes


def hash_policy(setting: ConsistentHash | None) -> list[xds.route.RouteAction.HashPolicy]:
    if setting is None:
        return []
    out = xds.route.RouteAction.HashPolicy()
    if setting.http_header_name is not None:
        out.header.header_name = setting.http_header_name
    elif setting.http_cookie is not None:
        cookie = setting.http_cookie
        out.cookie.name, out.cookie.path = cookie.name, cookie.path
        if cookie.ttl is not None:
            out.cookie.ttl.FromTimedelta(cookie.ttl)
    elif setting.use_source_ip is not None:
        out.connection_properties.source_ip = setting.use_source_ip
    elif setting.http_query_parameter_name is not None:
        out.query_parameter.name = setting.http_query_parameter_name
    else:
        return []
    return [out]


def mirror_policy(cluster: str, percentage: Percent | None) -> list[xds.route.RouteAction.RequestMirrorPolicy]:
    """Everything is mirrored unless a percentage says otherwise; nothing at 0."""
    if percentage is not None and percentage.value <= 0:
        return []
    fraction = xds.fraction_of_hundred(100) if percentage is None else xds.fraction_of_million(percentage.value)
    return [
        xds.route.RouteAction.RequestMirrorPolicy(
            cluster=cluster,
            runtime_fraction=xds.core.RuntimeFractionalPercent(default_value=fraction),
            trace_sampled={"value": False},
            disable_shadow_host_suffix_append=True,
        )
    ]


def redirect_action(redirect: Redirect) -> xds.route.RedirectAction:
    out = xds.route.RedirectAction(
        host_redirect=redirect.authority, path_redirect=redirect.uri, response_code=_REDIRECT[redirect.redirect_code]
    )
    if redirect.scheme:
        out.scheme_redirect = redirect.scheme
    if (redirect.port, redirect.scheme or "http") not in ((80, "http"), (443, "https")):
        out.port_redirect = redirect.port
    return out


def direct_response_action(response: DirectResponse) -> xds.route.DirectResponseAction:
    body = None if response.body is None else xds.core.DataSource(inline_string=response.body.string)
    return xds.route.DirectResponseAction(status=response.status, body=body)


def apply_headers(out: xds.route.Route | xds.route.WeightedCluster.ClusterWeight, headers: Headers) -> str:
    """Adds the header operations; returns the authority that they set, if any (a host rewrite, not a header)."""
    request, response = headers.request, headers.response
    out.request_headers_to_add.extend([*_options(request.set, append=False), *_options(request.add, append=True)])
    out.response_headers_to_add.extend([*_options(response.set, append=False), *_options(response.add, append=True)])
    out.request_headers_to_remove.extend(name for name in request.remove if not _is_internal(name))
    out.response_headers_to_remove.extend(name for name in response.remove if not _is_internal(name))
    authorities = {**request.add, **request.set}
    return next((value for name, value in authorities.items() if name.lower() in (":authority", "host")), "")


def _is_internal(name: str) -> bool:
    return name.startswith(":") or name.lower() == "host"


def _options(headers: Mapping[str, str], *, append: bool) -> list[xds.core.HeaderValueOption]:
    actions = xds.core.HeaderValueOption
    action = actions.APPEND_IF_EXISTS_OR_ADD if append else actions.OVERWRITE_IF_EXISTS_OR_ADD
    return [
        xds.core.HeaderValueOption(header=xds.core.HeaderValue(key=name, value=value), append_action=action)
        for name, value in sorted(headers.items())
        if not _is_internal(name)
    ]


def fault_filter(setting: Fault) -> xds.fault.HTTPFault:
    out = xds.fault.HTTPFault()
    if setting.delay is not None:
        delay = setting.delay
        given = delay.percentage
        percentage = xds.fraction_of_hundred(delay.percent) if given is None else xds.fraction_of_million(given.value)
        out.delay.CopyFrom(xds.common_fault.FaultDelay(fixed_delay=delay.fixed_delay, percentage=percentage))
    if setting.abort is not None:
        if setting.abort.percentage is not None:
            out.abort.percentage.CopyFrom(xds.fraction_of_million(setting.abort.percentage.value))
        if setting.abort.grpc_status is not None:
            out.abort.grpc_status = setting.abort.grpc_status.value
        else:
            out.abort.http_status = setting.abort.http_status
    return out


def cors_filter(setting: Cors) -> xds.cors.CorsPolicy:
    everything = xds.core.RuntimeFractionalPercent(default_value=xds.fraction_of_hundred(100))
    return xds.cors.CorsPolicy(
        allow_origin_string_match=[string_matcher(origin) for origin in setting.allow_origins],
        allow_methods=",".join(setting.allow_methods),
        allow_headers=",".join(setting.allow_headers),
        expose_headers=",".join(setting.expose_headers),
        max_age="" if setting.max_age is None else str(int(setting.max_age.total_seconds())),
        allow_credentials=xds.wrapped(setting.allow_credentials),
        filter_enabled=everything,
        forward_not_matching_preflights={"value": setting.unmatched_preflights is not UnmatchedPreflights.IGNORE},
    )
