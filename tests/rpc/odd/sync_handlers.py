"""Handlers that answer, fail and abort in odd ways, in threads."""

from __future__ import annotations

import contextlib

import grpc

from tests.rpc.odd.in_threads import called, streamed
from tests.rpc.odd.lab import PATIENCE, Gate, path, saw, ss, su, us, uu


def returns_none(lab):
    return [called(lab, lambda r, c: None), streamed(lab, lambda r, c: None), streamed(lab, lambda r, c: iter([None]))]


def none_after_set_code(lab):
    def f(r, c):
        c.set_code(grpc.StatusCode.NOT_FOUND)
        c.set_details("gone")

    def g(r, c):
        c.set_code(grpc.StatusCode.NOT_FOUND)
        return b"reply"

    return [called(lab, f), called(lab, g)]


def set_code_ok_then_abort(lab):
    def f(r, c):
        c.set_code(grpc.StatusCode.OK)
        c.set_details("first")
        c.abort(grpc.StatusCode.ABORTED, "then")

    def g(r, c):
        c.set_code(grpc.StatusCode.OK)
        c.set_details("fine")
        return b"x"

    def h(r, c):
        c.set_code(grpc.StatusCode.OK)
        raise ValueError("broke")

    return [called(lab, f), called(lab, g), called(lab, h)]


def ok_with_details(lab):
    def g(r, c):
        c.set_details("fine")
        return b"x"

    ch = lab.connect(lab.serve(M=uu(g)))
    _, call = ch.unary_unary(path("M")).with_call(b"")
    return [call.code().name, call.details()]


def odd_codes(lab):
    def with_code(code):
        def f(r, c):
            c.set_code(code)
            c.set_details("why")
            return b"x"

        return f

    def aborts(code):
        return lambda r, c: c.abort(code, "why")

    return [
        *[called(lab, with_code(c)) for c in (5, 0, 99, -1, None, "NOT_FOUND", 3.5)],
        *[called(lab, aborts(c)) for c in (5, 0, 99, None, "x", grpc.StatusCode.OK)],
    ]


def odd_details(lab):
    def with_details(details):
        def f(r, c):
            c.set_code(grpc.StatusCode.NOT_FOUND)
            c.set_details(details)
            return b"x"

        return f

    def aborts(details):
        return lambda r, c: c.abort(grpc.StatusCode.NOT_FOUND, details)

    odd = (None, "", b"bytes", 5)
    return [*[called(lab, with_details(one)) for one in odd], *[called(lab, aborts(one)) for one in odd]]


def abort_variants(lab):
    class Status:
        code, details, trailing_metadata = grpc.StatusCode.DATA_LOSS, "lost", (("x-t", "1"),)

    def swallowed(r, c):
        with contextlib.suppress(Exception):
            c.abort(grpc.StatusCode.ABORTED, "no")
        return b"x"

    def twice(r, c):
        try:
            c.abort(grpc.StatusCode.ABORTED, "one")
        except Exception:
            c.abort(grpc.StatusCode.NOT_FOUND, "two")

    def in_finally(r, c):
        try:
            raise ValueError("first")
        finally:
            c.abort(grpc.StatusCode.ABORTED, "no")

    def then_raise(r, c):
        try:
            c.abort(grpc.StatusCode.ABORTED, "no")
        except Exception:
            raise ValueError("after") from None

    def kept(r, c):
        c.set_trailing_metadata((("x-k", "1"),))
        c.abort_with_status(Status())

    return [
        called(lab, f)
        for f in (lambda r, c: c.abort_with_status(Status()), swallowed, twice, in_finally, then_raise, kept)
    ] + [streamed(lab, lambda r, c: c.abort(grpc.StatusCode.ABORTED, "early")), streamed(lab, kept)]


def abort_catchable_as(lab):
    seen = []

    def f(r, c):
        try:
            c.abort(grpc.StatusCode.ABORTED, "no")
        except BaseException as e:
            seen.append([type(e) is Exception, isinstance(e, Exception), str(e)])
            raise

    called(lab, f)
    return seen


def abort_in_stream(lab):
    def f(r, c):
        yield r
        yield r
        c.abort(grpc.StatusCode.ABORTED, "mid")
        yield r

    def g(r, c):
        yield r
        try:
            c.abort(grpc.StatusCode.ABORTED, "mid")
        except Exception:
            yield b"after abort"

    return [streamed(lab, f), streamed(lab, g)]


def raising(lab):
    def raiser(error):
        def f(r, c):
            raise error

        return f

    def gen(r, c):
        yield r
        raise ValueError("mid")

    def stops(r, c):
        yield r
        next(iter(()))

    return [
        called(lab, raiser(e))
        for e in (ValueError("why"), KeyError("k"), Exception(), StopIteration("s"), grpc.RpcError("rpc"))
    ] + [streamed(lab, gen), streamed(lab, stops), streamed(lab, raiser(ValueError("no gen")))]


def raising_after_set_code(lab):
    def f(r, c):
        c.set_code(grpc.StatusCode.NOT_FOUND)
        c.set_details("d")
        c.set_trailing_metadata((("x-t", "1"),))
        raise ValueError("v")

    def g(r, c):
        c.set_code(grpc.StatusCode.NOT_FOUND)
        raise ValueError("v")

    def h(r, c):
        c.set_details("only details")
        raise ValueError("v")

    return [called(lab, f), called(lab, g), called(lab, h), streamed(lab, f)]


def serializers(lab):
    def bad(_):
        raise ValueError("ser")

    def f(r, c):
        return r

    def g(r, c):
        yield r

    def collect(it, c):
        return b"".join(it)

    ch = lab.connect(
        lab.serve(
            A=uu(f, response_serializer=bad),
            B=us(g, response_serializer=bad),
            C=uu(f, request_deserializer=bad),
            D=su(collect, request_deserializer=bad),
            E=uu(f, response_serializer=lambda _: None),
            F=uu(f, request_deserializer=lambda _: None),
            G=ss(lambda it, c: it, request_deserializer=bad),
            H=us(g, request_deserializer=bad),
        )
    )
    return [
        saw(ch.unary_unary(path("A")), b"x", timeout=PATIENCE),
        saw(lambda: list(ch.unary_stream(path("B"))(b"x", timeout=PATIENCE))),
        saw(ch.unary_unary(path("C")), b"x", timeout=PATIENCE),
        saw(ch.stream_unary(path("D")), iter([b"x"]), timeout=PATIENCE),
        saw(ch.unary_unary(path("E")), b"x", timeout=PATIENCE),
        saw(ch.unary_unary(path("F")), b"x", timeout=PATIENCE),
        saw(lambda: list(ch.stream_stream(path("G"))(iter([b"x"]), timeout=PATIENCE))),
        saw(lambda: list(ch.unary_stream(path("H"))(b"x", timeout=PATIENCE))),
    ]


def percent_details(lab):
    texts = ["100%", "%41", "%", "a\nb", "ü😀", "\x7f", "\0", "x" * 5000, " lead", "trail ", "%zz", "\t"]
    return [called(lab, lambda r, c, t=t: c.abort(grpc.StatusCode.ABORTED, t)) for t in texts]


def response_iterators(lab):
    class It:
        def __init__(self):
            self.n = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.n += 1
            if self.n > 3:
                raise StopIteration
            return str(self.n).encode()

    return [
        streamed(lab, lambda r, c: It()),
        streamed(lab, lambda r, c: map(bytes, [b"1", b"2"])),
        streamed(lab, lambda r, c: (b"t", b"u")),
        streamed(lab, lambda r, c: {b"d": 1}),
    ]


def request_iterator_used_oddly(lab):
    notes = []

    def f(requests, c):
        notes.append(iter(requests) is requests)
        notes.append(saw(next, requests))
        notes.append(list(requests))
        notes.append(list(requests))
        notes.append(saw(next, requests))
        return b"x"

    ch = lab.connect(lab.serve(M=su(f)))
    return [saw(ch.stream_unary(path("M")), iter([b"1", b"2", b"3"]), timeout=PATIENCE), notes]


def generator_closed_when_client_leaves(lab):
    closed, started = Gate(), Gate()

    def f(r, c):
        try:
            while True:
                started.set()
                yield b"x" * 1000
        finally:
            closed.set()

    ch = lab.connect(lab.serve(M=us(f)))
    call = ch.unary_stream(path("M"))(b"x")
    next(call)
    call.cancel()
    return [closed.wait(5)]
