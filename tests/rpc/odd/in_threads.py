"""What the probes in threads share: handlers, and one call told whole."""

from __future__ import annotations

from tests.rpc.odd.lab import PATIENCE, path, saw, us, uu


def echo(request, context):
    return request


def three(request, context):
    yield from (request, request, request)


def called(lab, handler, request=b"x", **how):
    ch = lab.connect(lab.serve(M=uu(handler)))
    return saw(ch.unary_unary(path("M")), request, timeout=PATIENCE, **how)


def streamed(lab, handler, **how):
    ch = lab.connect(lab.serve(M=us(handler)))
    call = ch.unary_stream(path("M"))(b"x", timeout=PATIENCE, **how)
    got = []
    while True:
        one = saw(next, call)
        got.append(one)
        if isinstance(one, list):
            return [*got, saw(call.code), saw(call.details), saw(call.initial_metadata), saw(call.trailing_metadata)]
