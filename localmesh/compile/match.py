"""What a request must look like for a route: HttpMatch to RouteMatch. Pure.

Follows `TranslateRouteMatch` in istiod's `pilot/pkg/networking/core/route/route.go`.
"""

from __future__ import annotations

from localmesh import xds
from localmesh.config.virtual_service import HttpMatch, StringMatch


def string_matcher(match: StringMatch) -> xds.matcher.StringMatcher:
    if match.exact is not None:
        return xds.matcher.StringMatcher(exact=match.exact)
    if match.prefix is not None:
        return xds.matcher.StringMatcher(prefix=match.prefix)
    return xds.matcher.StringMatcher(safe_regex=xds.matcher.RegexMatcher(regex=match.regex or ""))


def _header(name: str, match: StringMatch) -> xds.route.HeaderMatcher:
    if match.is_present_match:
        return xds.route.HeaderMatcher(name=name, present_match=True)
    return xds.route.HeaderMatcher(name=name, string_match=string_matcher(match))


def _without_header(name: str, match: StringMatch) -> xds.route.HeaderMatcher:
    matcher = _header(name, match)
    matcher.invert_match = True
    # a request without the header is a request without that value; conflicts with present_match
    matcher.treat_missing_header_as_empty = not match.is_present_match
    return matcher


def _query_parameter(name: str, match: StringMatch) -> xds.route.QueryParameterMatcher:
    if match.is_present_match:
        return xds.route.QueryParameterMatcher(name=name, present_match=True)
    return xds.route.QueryParameterMatcher(name=name, string_match=string_matcher(match))


def route_match(match: HttpMatch | None) -> xds.route.RouteMatch:
    """No match matches everything. Headers are sorted by name; method, authority and scheme come last."""
    if match is None:
        return xds.route.RouteMatch(prefix="/")
    headers = [_header(name, rule) for name, rule in match.headers.items()]
    headers += [_without_header(name, rule) for name, rule in match.without_headers.items()]
    headers.sort(key=lambda header: header.name)
    pseudo = {":method": match.method, ":authority": match.authority, ":scheme": match.scheme}
    headers += [_header(name, rule) for name, rule in pseudo.items() if rule is not None]
    out = xds.route.RouteMatch(
        case_sensitive={"value": not match.ignore_uri_case},
        headers=headers,
        query_parameters=[_query_parameter(name, rule) for name, rule in match.query_params.items()],
    )
    uri = match.uri or StringMatch(prefix="/")
    if uri.exact is not None:
        out.path = uri.exact
    elif uri.prefix is not None:
        out.prefix = uri.prefix
    else:
        out.safe_regex.regex = uri.regex or ""
        out.safe_regex.SetInParent()
    return out


def is_catch_all(match: xds.route.RouteMatch) -> bool:
    """`IsCatchAllRoute`: what comes after such a route is never reached, and not sent."""
    everything = match.prefix == "/" or match.safe_regex.regex == ".*"
    return bool(everything) and not match.headers and not match.query_parameters


def describe_path(match: xds.route.RouteMatch) -> str:
    """The path in a route's decorator (`GetRouteOperation`)."""
    if match.HasField("prefix"):
        return f"{match.prefix}*"
    return str(match.path if match.HasField("path") else match.safe_regex.regex)
