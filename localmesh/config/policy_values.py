"""What Istio takes for the values of an AuthorizationPolicy's fields: a reason for each that it refuses. Pure.

Follows `pkg/config/security/security.go`.
"""

import ipaddress
import string
from collections.abc import Iterator, Sequence

from localmesh.config.service_entry import MAX_PORT

_LONGEST_ACCOUNT = 320
_MOST_ACCOUNTS = 16
_ONE_SEGMENT, _ANY_SEGMENTS = "{*}", "{**}"
_OF_SEGMENTS = frozenset(f"{string.ascii_letters}{string.digits}-._~%!$&'()+,;:@=")

_CLAIMS, _HEADERS, _FILTERS = "request.auth.claims", "request.headers", "experimental.envoy.filters."
_WITH_A_NAME = (_HEADERS, _CLAIMS, _FILTERS)
_FREE = {
    *("source.namespace", "source.principal", "request.auth.principal", "request.auth.audiences"),
    *("request.auth.presenter", "connection.sni"),
}


def has_path_template(path: str) -> bool:
    return _ONE_SEGMENT in path or _ANY_SEGMENTS in path


def is_port(text: str) -> bool:
    """As Go's ParseUint reads numbers: leading zeros are nothing to it."""
    return text.isascii() and text.isdigit() and int(text.lstrip("0")[:6] or "0") <= MAX_PORT


def parse_block(text: str) -> tuple[str, int] | None:
    """The address (as Go writes it) and the length of the prefix; an address alone is a block of its own.

    Bits behind the prefix stay, as in Go's netip.
    """
    address, slash, bits = text.partition("/")
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    if not slash:
        return _as_go(found), found.max_prefixlen
    is_number = bits.isascii() and bits.isdigit() and len(bits) <= len("128") and (bits == "0" or bits[0] != "0")
    if not is_number or "%" in address or int(bits) > found.max_prefixlen:
        return None
    return _as_go(found), int(bits)


def _as_go(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return f"::ffff:{mapped}" if mapped is not None else str(address)


def emptiness(values: Sequence[str]) -> Iterator[str]:
    if "" in values:
        yield "has an empty value"


def bad_blocks(values: Sequence[str]) -> Iterator[str]:
    yield from (f"{value!r} is no IP address and no CIDR" for value in values if parse_block(value) is None)


def bad_ports(values: Sequence[str]) -> Iterator[str]:
    yield from (f"{value!r} is not a port (0 to {MAX_PORT})" for value in values if not is_port(value))


def bad_wildcards(values: Sequence[str]) -> Iterator[str]:
    yield from emptiness(values)
    for value in values:
        if value.count("*") > 1:
            yield f"{value!r} has more than one wildcard"
        elif "*" in value and not value.startswith("*") and not value.endswith("*"):
            yield f"{value!r}: a wildcard may only begin or end it"


def bad_trust_domains(values: Sequence[str]) -> Iterator[str]:
    yield from bad_wildcards(values)
    yield from (f"{value!r}: a trust domain has no /" for value in values if "/" in value)


def bad_accounts(values: Sequence[str]) -> Iterator[str]:
    if len(values) > _MOST_ACCOUNTS:
        yield f"has more than {_MOST_ACCOUNTS} values"
    yield from emptiness(values)
    for value in values:
        parts = value.split("/")
        if "*" in value:
            yield f"{value!r}: a service account has no wildcards"
        elif value and (len(parts) > len(("namespace", "account")) or not all(parts)):
            yield f"{value!r} is neither ACCOUNT nor NAMESPACE/ACCOUNT"
        elif len(value) > _LONGEST_ACCOUNT:
            yield f"{value[:40]!r}... is longer than {_LONGEST_ACCOUNT} characters"


def bad_paths(values: Sequence[str]) -> Iterator[str]:
    yield from emptiness(values)
    for value in values:
        if reason := _bad_path(value):
            yield f"{value!r}: {reason}"


def _bad_path(path: str) -> str | None:
    is_template = has_path_template(path)
    ended = False
    for segment in path.strip("/").split("/"):
        if segment in (_ONE_SEGMENT, _ANY_SEGMENTS):
            if ended:
                return "{**} must be the last operator"
            ended = segment == _ANY_SEGMENTS
        elif "{" in segment or "}" in segment:
            return "{ and } stand only in {*} and {**}, each a segment of its own"
        elif is_template and (not segment or not _OF_SEGMENTS.issuperset(segment)):
            return f"the segment {segment!r} is none that a template may have"
    return None


def bad_attribute(key: str, values: Sequence[str]) -> Iterator[str]:
    """Of a condition: its key, and the values that it may have (`ValidateAttribute`)."""
    yield from emptiness(values)
    if key.startswith(_WITH_A_NAME):
        if not (key.endswith("]") and 0 < key.find("[") < len(key) - 2):
            yield f"the key {key!r} must have the form a[b]"
    elif key in ("source.ip", "remote.ip", "destination.ip"):
        yield from bad_blocks(values)
    elif key == "destination.port":
        yield from bad_ports(values)
    elif key == "source.serviceAccount":
        yield from bad_accounts(values)
    elif key == "source.trustDomain":
        yield from bad_wildcards(values)
    elif key not in _FREE:
        yield f"{key!r} is no attribute that Istio knows"
