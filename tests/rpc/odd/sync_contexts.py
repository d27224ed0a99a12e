"""Odd uses of `grpc.ServicerContext`, in threads."""

from __future__ import annotations

import time

import grpc

from tests.rpc.odd.in_threads import called, streamed
from tests.rpc.odd.lab import PATIENCE, Gate, path, saw, us, uu


def context_basics(lab):
    notes = []

    def f(r, c):
        notes.extend(
            [
                c.is_active(),
                c.code(),
                c.details(),
                c.trailing_metadata(),
                c.peer().split(":")[0],
                c.peer_identities(),
                c.peer_identity_key(),
                c.auth_context(),
                isinstance(c, grpc.ServicerContext),
                isinstance(c, grpc.RpcContext),
                type(c.invocation_metadata()).__name__,
                c.time_remaining() is not None,
            ]
        )
        c.set_code(grpc.StatusCode.NOT_FOUND)
        c.set_details("d")
        c.set_trailing_metadata((("x-t", "1"),))
        notes.extend([saw(c.code), saw(c.details), saw(c.trailing_metadata)])
        m = c.invocation_metadata()[0]
        notes.extend([hasattr(m, "key"), hasattr(m, "value")])
        return r

    return [
        called(lab, f, metadata=(("x-a", "1"),)),
        [n if isinstance(n, (bool, str, list, type(None))) else repr(n) for n in notes],
    ]


def initial_metadata_twice(lab):
    notes = []

    def f(r, c):
        c.send_initial_metadata((("x-i", "1"),))
        notes.append(saw(c.send_initial_metadata, (("x-i", "2"),)))
        notes.append(saw(c.set_compression, grpc.Compression.Gzip))
        return r

    def g(r, c):
        yield r
        notes.append(saw(c.send_initial_metadata, (("x-i", "2"),)))
        notes.append(saw(c.set_compression, grpc.Compression.Gzip))

    return [called(lab, f), streamed(lab, g), notes]


def trailing_metadata_replaced(lab):
    def f(r, c):
        c.set_trailing_metadata((("x-a", "1"),))
        c.set_trailing_metadata((("x-b", "2"),))
        yield r
        c.set_trailing_metadata((("x-c", "3"), ("x-c", "4")))

    return [streamed(lab, f)]


def odd_initial_metadata(lab):
    odd = [(("X-Up", "1"),), (("x-a", "a\nb"),), (("x-a", 5),), 5, None, (), [("x-l", "1")], (("x-a",),)]
    out = []
    for o in odd:
        notes = []

        def f(r, c, o=o, notes=notes):
            notes.append(saw(c.send_initial_metadata, o))
            return b"r"

        out.append([called(lab, f), notes])
    return out


def context_after_the_call(lab):
    kept, over = [], Gate()

    def f(r, c):
        kept.append(c)
        c.add_callback(over.set)
        return r

    ch = lab.connect(lab.serve(M=uu(f)))
    ch.unary_unary(path("M"))(b"x")
    over.wait(PATIENCE)
    time.sleep(0.3)
    c = kept[0]
    return [
        c.is_active(),
        saw(c.add_callback, print),
        saw(c.cancel),
        saw(c.send_initial_metadata, ()),
        saw(c.set_code, grpc.StatusCode.OK),
        saw(c.set_trailing_metadata, ()),
        saw(c.peer).split(":")[0],
        len(c.invocation_metadata()) > 0,
        saw(c.abort, grpc.StatusCode.ABORTED, "late"),
        saw(c.set_details, "d"),
        saw(c.disable_next_message_compression),
        saw(c.auth_context),
    ]


def callbacks_of_a_context(lab):
    order, over = [], Gate()

    def f(r, c):
        c.add_callback(lambda: order.append(1))

        def bad():
            order.append("bad")
            raise ValueError("callback")

        c.add_callback(bad)
        c.add_callback(lambda: order.append(2))
        c.add_callback(over.set)
        return r

    got = called(lab, f)
    return [got, over.wait(5), order]


def cancel_in_handler(lab):
    notes = []

    def f(r, c):
        notes.append(saw(c.cancel))
        notes.append(saw(c.is_active))
        return b"x"

    def g(r, c):
        yield r
        c.cancel()
        yield r

    a = called(lab, f)
    b = streamed(lab, g)
    return [a[:5], b[-4:-3], len(b)]


def handler_after_client_cancel(lab):
    notes, started, over, done = [], Gate(), Gate(), Gate()

    def f(r, c):
        c.add_callback(over.set)
        started.set()
        over.wait(PATIENCE)
        notes.extend(
            [c.is_active(), saw(c.send_initial_metadata, ()), saw(c.add_callback, print), saw(c.cancel), saw(c.code)]
        )
        notes.append(saw(c.abort, grpc.StatusCode.ABORTED, "late"))
        done.set()
        return r

    ch = lab.connect(lab.serve(M=uu(f)))
    call = ch.unary_unary(path("M")).future(b"x")
    started.wait(PATIENCE)
    call.cancel()
    done.wait(PATIENCE)
    return notes


def deadline_in_handler(lab):
    over, notes = Gate(), []

    def f(r, c):
        c.add_callback(over.set)
        over.wait(PATIENCE)
        notes.extend([c.is_active(), c.time_remaining() <= 0.01])
        return r

    ch = lab.connect(lab.serve(M=uu(f)))
    got = saw(ch.unary_unary(path("M")), b"", timeout=1.5)
    deadline = time.monotonic() + PATIENCE
    while len(notes) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return [got, notes]


def stream_handler_writes_after_deadline(lab):
    closed = Gate()

    def f(r, c):
        try:
            while True:
                time.sleep(0.02)
                yield b"x"
        finally:
            closed.set()

    ch = lab.connect(lab.serve(M=us(f)))
    call = ch.unary_stream(path("M"))(b"x", timeout=1.5)
    got = saw(lambda: list(call))
    return [got[:5], closed.wait(PATIENCE)]


def first_reply_then_metadata_to_client(lab):
    def f(r, c):
        c.send_initial_metadata((("x-i", "1"),))
        yield r
        c.set_trailing_metadata((("x-t", "2"),))

    ch = lab.connect(lab.serve(M=us(f)))
    call = ch.unary_stream(path("M"))(b"x", timeout=PATIENCE)
    return [
        saw(call.initial_metadata),
        saw(call.trailing_metadata) if False else None,
        saw(list, call),
        saw(call.trailing_metadata),
    ]
