"""Who may do what, once more, slowly: written from the comments of envoy/config/rbac/v3/rbac.proto and its neighbours.

It knows the model's values and nothing of the engine: no index, no short cut, Python's own `re` for patterns (those of
the tests mean the same to both).
"""

from __future__ import annotations

import ipaddress
import re

from xds_client import model as m


def decide(rules, request):
    """Whether it is allowed, and the policy that holds: the first by name."""
    fitting = sorted(name for name, policy in rules.policies if _policy(policy, request))
    policy = fitting[0] if fitting else None
    if rules.action is m.RbacAction.ALLOW:
        return policy is not None, policy
    return rules.action is m.RbacAction.LOG or policy is None, policy


def decide_all(filters, request):
    """Of filters behind each other: the first that denies, or what the last one says."""
    last = (True, None)
    for rules in filters:
        last = decide(rules, request)
        if not last[0]:
            break
    return last


def _policy(policy, request):
    permitted = [rule for rule in policy.permissions if holds(rule, request)]
    named = [rule for rule in policy.principals if holds(rule, request)]
    return bool(permitted) and bool(named)


def holds(rule, request):
    return _RULES[type(rule)](rule, request)


def _text(match, text):
    wanted = match.value.encode()
    if match.kind is m.StringMatchKind.REGEX:  # case is the pattern's own matter
        try:
            return re.fullmatch(match.value, text.decode()) is not None
        except UnicodeDecodeError:
            return False
    if match.ignore_case:
        wanted, text = wanted.lower(), text.lower()
    return {
        m.StringMatchKind.EXACT: text == wanted,
        m.StringMatchKind.PREFIX: text.startswith(wanted),
        m.StringMatchKind.SUFFIX: text.endswith(wanted),
        m.StringMatchKind.CONTAINS: wanted in text,
    }[match.kind]


def _path(rule, request):
    path = re.split(rb"[?#]", request.path, maxsplit=1)[0]
    return _text(rule.path, path)


def _template(rule, request):
    pattern = ""
    for segment in rule.path_template.removeprefix("/").split("/"):
        pattern += "/" + {"*": "[^/?#]+", "{any}": "[^/?#]+", "**": "[^?#]*"}.get(segment, re.escape(segment))
    path = re.split(rb"[?#]", request.path, maxsplit=1)[0]
    return re.fullmatch(pattern.encode(), path) is not None


def _values(name, request):
    if name in {"host", ":authority"}:
        authority = [value for key, value in request.headers if key == ":authority"]
        return authority or [value for key, value in request.headers if key == "host"]
    return [value for key, value in request.headers if key == name]


def _header(rule, request):
    values = _values(rule.name.lower(), request)
    if isinstance(rule.rule, m.PresentMatch):
        there = bool(values) or rule.missing_as_empty
        return (there if rule.rule.present else not there) != rule.invert
    if not values and not rule.missing_as_empty:
        return False
    return any(_one_value(rule.rule, value) for value in values or [b""]) != rule.invert


def _one_value(rule, value):
    if isinstance(rule, m.RangeMatch):
        text = value.decode("latin-1").strip(" \t")
        return re.fullmatch(r"[+-]?[0-9]+", text) is not None and rule.start <= int(text) < rule.end
    return _text(rule, value)


def _authenticated(rule, request):
    if request.names is None:
        return False
    if rule.principal_name is None:
        return True
    uris, dns, subject = request.names
    return any(_text(rule.principal_name, name) for name in uris or dns or [subject])


def _inside(network, address):
    return address is not None and ipaddress.ip_address(address) in network


def _caller(rule, request):
    return _inside(rule.network, request.peer if rule.address is m.Address.DIRECT else request.client)


_MISSING = object()


def _metadata(rule, request):
    found = request.metadata.get(rule.match.filter, _MISSING)
    for key in rule.match.path:
        found = found.get(key, _MISSING) if isinstance(found, dict) else _MISSING
    return _value(rule.match.value, found) != rule.match.invert


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _value(rule, value):
    return _VALUES[type(rule)](rule, value)


_VALUES = {
    m.PresentMatch: lambda rule, value: rule.present and value is not _MISSING,
    m.NullMatch: lambda rule, value: value is None,
    m.BoolMatch: lambda rule, value: isinstance(value, bool) and value is rule.value,
    m.DoubleMatch: lambda rule, value: _is_number(value) and (value == rule.start or rule.start <= value < rule.end),
    m.ListMatch: lambda rule, value: isinstance(value, list) and any(_value(rule.one_of, one) for one in value),
    m.AnyValueMatch: lambda rule, value: any(_value(one, value) for one in rule.values),
    m.StringMatch: lambda rule, value: isinstance(value, str) and _text(rule, value.encode()),
}


def _local_port(rule, request):
    return request.local is not None and rule.start <= request.local[1] < rule.end


_RULES = {
    m.Anything: lambda rule, request: True,
    m.AllOf: lambda rule, request: all(holds(one, request) for one in rule.of),
    m.AnyOf: lambda rule, request: any(holds(one, request) for one in rule.of),
    m.Not: lambda rule, request: not holds(rule.of, request),
    m.HeaderMatch: _header,
    m.UrlPath: _path,
    m.UriTemplate: _template,
    m.DestinationIp: lambda rule, request: _inside(rule.network, request.local and request.local[0]),
    m.DestinationPorts: _local_port,
    m.RequestedServerName: lambda rule, request: _text(rule.name, request.server_name.encode()),
    m.Authenticated: _authenticated,
    m.CallerIp: _caller,
    m.SourcedMetadata: _metadata,
}
