"""Odd requests, metadata and time-outs, in threads."""

from __future__ import annotations

import grpc

from tests.rpc.odd.in_threads import echo, three
from tests.rpc.odd.lab import PATIENCE, path, saw, ss, su, us, uu


def request_iterator_raises(lab):
    def gather(requests, context):
        return b"".join(requests)

    def each(requests, context):
        yield from requests

    ch = lab.connect(lab.serve(G=su(gather), E=ss(each)))

    def bad():
        yield b"a"
        raise ValueError("iterator broke")

    call = ch.stream_stream(path("E"))(bad())
    f = ch.stream_unary(path("G")).future(bad())
    notes = [
        saw(ch.stream_unary(path("G")), bad(), timeout=PATIENCE),
        saw(f.result, PATIENCE),
        saw(f.code),
        saw(f.details),
    ]
    try:
        list(call)
    except grpc.RpcError as e:
        notes.append([e.code().name, e.details()])
    return notes


def request_not_iterable(lab):
    def gather(requests, context):
        return b"".join(requests)

    ch = lab.connect(lab.serve(G=su(gather), E=ss(lambda r, c: r)))
    return [
        saw(ch.stream_unary(path("G")), 5, timeout=3),
        saw(ch.stream_unary(path("G")), [b"a", b"b"], timeout=PATIENCE),
        saw(ch.stream_unary(path("G")), None, timeout=3),
        saw(lambda: list(ch.stream_stream(path("E"))([b"1"], timeout=3))),
    ]


def request_serializer_raises(lab):
    def bad(_):
        raise ValueError("cannot")

    def gather(requests, context):
        return b"".join(requests)

    ch = lab.connect(lab.serve(G=su(gather), Echo=uu(echo), T=us(three), E=ss(lambda r, c: r)))
    f = saw(lambda: ch.unary_unary(path("Echo"), bad).future(b"x"))
    notes = [
        f if f != "x" else None,
        saw(ch.unary_unary(path("Echo"), bad), b"x"),
        saw(ch.unary_unary(path("Echo"), bad).with_call, b"x"),
        saw(lambda: list(ch.unary_stream(path("T"), bad)(b"x"))),
        saw(ch.stream_unary(path("G"), bad), [b"x"]),
        saw(lambda: list(ch.stream_stream(path("E"), bad)([b"x"]))),
    ]
    return notes[1:]


def request_serializer_returns_none(lab):
    ch = lab.connect(lab.serve(Echo=uu(echo)))
    return [
        saw(ch.unary_unary(path("Echo"), lambda _: None), b"x", timeout=5),
        saw(ch.unary_unary(path("Echo")), None, timeout=5),
        saw(ch.unary_unary(path("Echo")), "text", timeout=5),
    ]


def response_deserializer_raises(lab):
    def bad(_):
        raise ValueError("cannot")

    def gather(requests, context):
        return b"".join(requests)

    ch = lab.connect(lab.serve(G=su(gather), Echo=uu(echo), T=us(three)))
    call = ch.unary_stream(path("T"), None, bad)(b"x")
    f = ch.unary_unary(path("Echo"), None, bad).future(b"x")
    return [
        saw(ch.unary_unary(path("Echo"), None, bad), b"x"),
        saw(next, call),
        saw(next, call),
        saw(call.code),
        saw(f.result, 5),
        saw(f.code),
        saw(ch.stream_unary(path("G"), None, bad), [b"x"]),
    ]


def response_deserializer_returns_none(lab):
    ch = lab.connect(lab.serve(Echo=uu(echo), T=us(three)))
    return [
        saw(ch.unary_unary(path("Echo"), None, lambda _: None), b"x"),
        saw(lambda: list(ch.unary_stream(path("T"), None, lambda _: None)(b"x"))),
    ]


def timeouts(lab):
    ch = lab.connect(lab.serve(Echo=uu(echo), T=us(three)))
    m = ch.unary_unary(path("Echo"))
    s = ch.unary_stream(path("T"))
    return [saw(m, b"x", timeout=t) for t in (-5, 1e6, 1e9, None, 1e30, float("inf"))] + [
        saw(m, b"x", timeout="5"),
        saw(lambda: list(s(b"x", timeout=-1))),
        saw(lambda: m.future(b"x", timeout=-1).result()),
        saw(lambda: list(s(b"x", timeout=1e12))),
        saw(m, b"x", timeout=float("nan")),
    ]


def metadata_keys_and_values(lab):
    def look(request, context):
        return repr(sorted((k, v) for k, v in context.invocation_metadata() if k.startswith("x-"))).encode()

    ch = lab.connect(lab.serve(M=uu(look), S=us(lambda r, c: iter([look(r, c)]))))
    m = ch.unary_unary(path("M"))
    odd = [
        (("x-A", "1"),),
        (("X-UP", "1"),),
        (("x a", "1"),),
        (("", "1"),),
        (("x-ü", "1"),),
        (("x-a", "ü"),),
        (("x-a", "a\nb"),),
        (("x-a", "a\0b"),),
        (("x-a", b"bytes"),),
        (("x-a-bin", "text"),),
        (("x-a-bin", b""),),
        (("x-a", ""),),
        (("x-a", " pad "),),
        (("x-a", 5),),
        ((5, "x"),),
        (("x-a",),),
        ("x-a",),
        5,
        (("x-a", None),),
        [("x-l", "1")],
        {"x-d": "1"}.items(),
        iter([("x-it", "1")]),
        (),
        (("x-a", "1", "2"),),
        (("grpc-timeout", "1S"), ("x-k", "1")),
        (("x-a", "~\x7f"),),
        ((b"x-bytes", "1"),),
        (("x-tab", "a\tb"),),
        (("x-a-bin", b"\xff\xfe"),),
        (("x-dup", "1"), ("x-dup", "2")),
        ((":path", "/x"),),
        (("x-_.~", "1"),),
        (("x_u.v", "1"),),
    ]
    return [saw(m, b"", metadata=o, timeout=PATIENCE) for o in odd] + [
        saw(lambda: list(ch.unary_stream(path("S"))(b"", metadata=(("x a", "1"),)))),
        saw(lambda: m.future(b"", metadata=(("x-a", "a\nb"),)).result(5)),
    ]


def reserved_metadata(lab):
    def look(request, context):
        return repr(
            sorted(
                (k, v)
                for k, v in context.invocation_metadata()
                if k.startswith(("x-", "grpc-", "te", "content", "host", "user-agent", ":"))
                and k not in ("grpc-accept-encoding", "user-agent")
            )
        ).encode()

    ch = lab.connect(lab.serve(M=uu(look)))
    m = ch.unary_unary(path("M"))
    return [
        saw(m, b"", metadata=((k, v),), timeout=PATIENCE)
        for k, v in (
            ("te", "nothing"),
            ("content-type", "text/plain"),
            ("grpc-timeout", "1S"),
            ("grpc-foo", "1"),
            ("user-agent", "me"),
            ("connection", "close"),
            ("host", "h"),
            ("grpc-tags-bin", b"1"),
            ("grpc-trace-bin", b"1"),
            ("grpc-encoding", "x"),
        )
    ]
