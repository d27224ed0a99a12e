"""Odd targets of channels: what answers, and what fails."""

from __future__ import annotations

from concurrent import futures

import grpc

from tests.rpc.odd.in_threads import echo
from tests.rpc.odd.lab import PATIENCE, path, uu


def _answers(lab, *targets):
    """Of each, whether it is answered. What is wrong with a target may be told when the channel is made, or called."""

    def one(target):
        try:
            call = lab.connect(target).unary_unary(path("Echo"))
            return call(b"x", timeout=PATIENCE) == b"x"
        except ValueError:
            return False
        except grpc.RpcError as error:
            return ["not at once"] if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else False

    with futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, targets))


def _port(lab):
    return lab.serve(Echo=uu(echo)).rpartition(":")[2]


def schemes(lab):
    port = _port(lab)
    forms = ["{}", "dns:{}", "dns:///{}", "DNS:{}", "dns://{}", "dns:////{}", "foo:{}", "foo:///{}", "http://{}"]
    return _answers(lab, *(form.format(f"localhost:{port}") for form in forms))


def addresses(lab):
    port = _port(lab)
    forms = [
        "ipv4:{}",
        "ipv4:///{}",
        "IPV4:{}",
        "ipv4:{},",
        "ipv4:,{}",
        "ipv4:{},{}",
        "ipv4:{},junk",
        "ipv4://a/{}",
        "ipv6:{}",
    ]
    return _answers(
        lab,
        *(form.replace("{}", f"127.0.0.1:{port}") for form in forms),
        f"ipv4:localhost:{port}",
        "ipv4:127.0.0.1",
        "ipv4:",
        "ipv6:[::1]",
        f"ipv4:127%2E0.0.1:{port}",
    )


def ports(lab):
    """Without one it is 443; nobody listens there."""
    return _answers(
        lab,
        "127.0.0.1",
        "127.0.0.1:",
        "dns:localhost",
        "127.0.0.1:http",
        "127.0.0.1:0",
        "127.0.0.1:abc",
        "[::1]",
        "::1",
    )


def no_names(lab):
    port = _port(lab)
    names = [
        "",
        " ",
        "a b",
        "nobody.invalid",
        "a..b",
        ".",
        "x" * 300,
        "xn--",
        "\N{SNOWMAN}",
        "l\u00f3calhost",
        "localhost\n",
        "a\x00b",
    ]
    return _answers(
        lab, *(f"{name}:{port}" for name in names), "", " ", "dns:", "dns:///", f":{port}", f" 127.0.0.1:{port}"
    )


def no_names_in_turn(lab):
    """The same by round robin, which looks names up by itself."""
    found = []
    for name in ("a..b", "x" * 300, "nobody.invalid"):
        ch = lab.connect(f"dns:///{name}:1", options=[("grpc.lb_policy_name", "round_robin")])
        try:
            ch.unary_unary(path("Echo"))(b"x", timeout=PATIENCE)
        except grpc.RpcError as error:
            found.append(error.code().name)
    return found


def unix_domains(lab):
    return _answers(
        lab,
        "unix:",
        "unix:/nobody",
        "unix:nobody",
        "unix://nobody",
        "unix:///nobody",
        "unix-abstract:",
        "unix-abstract:nobody",
        "UNIX:/nobody",
        "unix:" + "x" * 200,
    )


def no_text(lab):
    return [_kind(lab, target) for target in (None, 5)]


def _kind(lab, target):
    try:
        lab.connect(target)
    except AttributeError:
        return "AttributeError"
    return "none"
