"""The few requests to the kernel that a pod's network is made of: links, addresses, routes, redirects.

Raw netlink (rtnetlink(7), linux/netfilter/nf_tables.h): no ``ip``, ``iptables`` or ``nft`` is needed. A request acts
in the network namespace of the thread that calls.
"""

from __future__ import annotations

import os
import socket
import struct

# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h
_REQUEST, _ACK, _CREATE, _EXCLUSIVE = 0x1, 0x4, 0x400, 0x200
_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_IFLA_NAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 10, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_GATEWAY = 5
_UP = 0x1
_NESTED = 0x8000
_ERROR = 2

# linux/netfilter/nf_tables.h: messages carry their subsystem (10) in the upper byte
_NETFILTER = 12
_NFTABLES = 10
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = (_NFTABLES << 8, _NFTABLES << 8 | 3, _NFTABLES << 8 | 6)
_APPEND = 0x800
_PREROUTING, _LOCAL_OUT = 0, 3
_DNAT_PRIORITY = -100
_META_MARK, _META_OIFNAME, _META_L4PROTO = 3, 7, 16
_VERDICT, _REGISTER = 0, 1
_EQUAL, _NOT_EQUAL = 0, 1
_ACCEPT = 1


def attribute(kind: int, *values: bytes) -> bytes:
    """Type, length and value, padded to four bytes."""
    value = b"".join(values)
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def loopback_up() -> None:
    _route(_NEW_LINK, 0, _link(socket.if_nametoindex("lo"), up=True))


def bridge(name: str, address: str, prefix: int) -> None:
    """A switch, with an address of ours on it."""
    kind = attribute(_IFLA_LINKINFO, attribute(_INFO_KIND, b"bridge"))
    _route(_NEW_LINK, _CREATE | _EXCLUSIVE, _link(0, up=True) + attribute(_IFLA_NAME, name.encode() + b"\0") + kind)
    assign(name, address, prefix)


def cable(name: str, switch: str, far_name: str, far_namespace: int) -> None:
    """A veth pair from ``switch`` into another network namespace (an open descriptor of it)."""
    peer = _link(0) + attribute(_IFLA_NAME, far_name.encode() + b"\0")
    peer += attribute(_IFLA_NET_NS_FD, struct.pack("=i", far_namespace))
    info = attribute(_INFO_KIND, b"veth") + attribute(_INFO_DATA | _NESTED, attribute(_VETH_PEER | _NESTED, peer))
    body = _link(0, up=True) + attribute(_IFLA_NAME, name.encode() + b"\0")
    body += attribute(_IFLA_MASTER, struct.pack("=I", socket.if_nametoindex(switch)))
    _route(_NEW_LINK, _CREATE | _EXCLUSIVE, body + attribute(_IFLA_LINKINFO | _NESTED, info))


def assign(name: str, address: str, prefix: int) -> None:
    """Bring the link up with this address."""
    index = socket.if_nametoindex(name)
    _route(_NEW_LINK, 0, _link(index, up=True))
    packed = socket.inet_aton(address)
    body = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, 0, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    _route(_NEW_ADDRESS, _CREATE | _EXCLUSIVE, body)


def default_route(gateway: str) -> None:
    main_table, boot, universe, unicast = 254, 3, 0, 1
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, main_table, boot, universe, unicast, 0)
    _route(_NEW_ROUTE, _CREATE | _EXCLUSIVE, body + attribute(_RTA_GATEWAY, socket.inet_aton(gateway)))


def redirect(inbound: int, outbound: int, direct: tuple[int, ...], mark: int, host: str) -> None:
    """What istio-iptables installs in a pod: what comes in goes to ``inbound``, what its app sends to ``outbound``.

    ``direct``: ports that are not redirected on their way in. What goes out with ``mark`` on it (the proxy's), to
    ``host`` (the control plane) or to loopback goes as it is. istio-iptables tells the proxy by its user id, of which
    a user namespace may have but one.
    """
    tcp = _meta(_META_L4PROTO) + _compare(bytes([socket.IPPROTO_TCP]))
    accept = _verdict(_ACCEPT)
    incoming = [tcp + _destination_port() + _compare(struct.pack("!H", port)) + accept for port in direct]
    incoming.append(tcp + _redirect_to(inbound))
    outgoing = [
        _meta(_META_OIFNAME) + _compare(b"lo".ljust(16, b"\0")) + accept,
        _meta(_META_MARK) + _compare(struct.pack("=I", mark)) + accept,
        _destination_address() + _compare(socket.inet_aton(host)) + accept,
        tcp + _redirect_to(outbound),
    ]
    messages = [(_NEW_TABLE, attribute(1, b"istio\0"))]
    for name, hook, rules in (("in", _PREROUTING, incoming), ("out", _LOCAL_OUT, outgoing)):
        messages.append((_NEW_CHAIN, _nat_chain(name.encode() + b"\0", hook)))
        for rule in rules:
            body = attribute(1, b"istio\0") + attribute(2, name.encode() + b"\0") + attribute(4 | _NESTED, rule)
            messages.append((_NEW_RULE, body))
    _batch(messages)


def _nat_chain(name: bytes, hook: int) -> bytes:
    where = attribute(1, struct.pack("!I", hook)) + attribute(2, struct.pack("!i", _DNAT_PRIORITY))
    return attribute(1, b"istio\0") + attribute(3, name) + attribute(4 | _NESTED, where) + attribute(7, b"nat\0")


def _expression(name: str, *attributes: bytes) -> bytes:
    return attribute(1 | _NESTED, attribute(1, name.encode() + b"\0") + attribute(2 | _NESTED, *attributes))


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


def _meta(key: int) -> bytes:
    return _expression("meta", _number(1, _REGISTER), _number(2, key))


def _destination_port() -> bytes:
    return _payload(2, offset=2, size=2)


def _destination_address() -> bytes:
    return _payload(1, offset=16, size=4)


def _payload(header: int, offset: int, size: int) -> bytes:
    """``header``: 1 is IP's, 2 is TCP's."""
    return _expression("payload", _number(1, _REGISTER), _number(2, header), _number(3, offset), _number(4, size))


def _compare(value: bytes, operation: int = _EQUAL) -> bytes:
    data = attribute(3 | _NESTED, attribute(1, value))
    return _expression("cmp", _number(1, _REGISTER), _number(2, operation), data)


def _verdict(code: int) -> bytes:
    data = attribute(2 | _NESTED, attribute(2 | _NESTED, _number(1, code)))
    return _expression("immediate", _number(1, _VERDICT), data)


def _redirect_to(port: int) -> bytes:
    load = _expression(
        "immediate", _number(1, _REGISTER), attribute(2 | _NESTED, attribute(1, struct.pack("!H", port) + bytes(2)))
    )
    return load + _expression("redir", _number(1, _REGISTER))


def _link(index: int, up: bool = False) -> bytes:
    flags = _UP if up else 0
    return struct.pack("=BBHiII", socket.AF_UNSPEC, 0, 0, index, flags, flags)


def _route(kind: int, flags: int, body: bytes) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(_message(kind, _REQUEST | _ACK | flags, 1, body))
        _check(kernel, 1)


def _batch(messages: list[tuple[int, bytes]]) -> None:
    """All or nothing, as nf_tables wants it."""
    nothing, ipv4 = struct.pack("!BBH", 0, 0, _NFTABLES), struct.pack("!BBH", socket.AF_INET, 0, 0)
    flags = _REQUEST | _ACK | _CREATE | _APPEND
    sent = _message(_BATCH_BEGIN, _REQUEST, 0, nothing)
    for number, (kind, body) in enumerate(messages, 1):
        sent += _message(kind, flags, number, ipv4 + body)
    sent += _message(_BATCH_END, _REQUEST, 0, nothing)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as kernel:
        kernel.send(sent)
        _check(kernel, len(messages))


def _message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", len(body) + 16, kind, flags, number, 0) + body


def _check(kernel: socket.socket, wanted: int) -> None:
    """Read that many acknowledgements; `OSError` for what the kernel refused."""
    kernel.settimeout(10)
    while wanted:
        answer = kernel.recv(65536)
        while answer:
            length, kind = struct.unpack_from("=IH", answer)
            if kind == _ERROR:
                code, number = -struct.unpack_from("=i", answer, 16)[0], struct.unpack_from("=I", answer, 28)[0]
                if code:
                    raise OSError(code, f"the kernel refuses netlink request {number}: {os.strerror(code)}")
                wanted -= 1
            answer = answer[length + (-length % 4) :]
