"""Odd uses of blocking calls and channels."""

from __future__ import annotations

import threading
import time

import grpc

from tests.rpc.odd.in_threads import echo, three
from tests.rpc.odd.lab import PATIENCE, Gate, path, saw, su, us, uu


def unary_outcomes(lab):
    ch = lab.connect(lab.serve(Echo=uu(echo)))
    call = ch.unary_unary(path("Echo"))
    reply, ended = call.with_call(b"x", metadata=(("x-a", "1"),))
    return [
        reply,
        ended.code(),
        ended.details(),
        ended.is_active(),
        ended.cancel(),
        ended.time_remaining() is None,
        saw(ended.add_callback, print),
        isinstance(ended, grpc.Call),
        isinstance(ended, grpc.Future),
        isinstance(ended, grpc.RpcError),
        saw(ended.initial_metadata),
        saw(ended.trailing_metadata),
        [
            saw(getattr, ended, n) is not None
            for n in ("result", "exception", "done", "cancelled", "running", "traceback")
        ],
    ]


def with_call_and_deadline(lab):
    ch = lab.connect(lab.serve(Echo=uu(echo)))
    _, ended = ch.unary_unary(path("Echo")).with_call(b"x", timeout=100)
    left = ended.time_remaining()
    return [left is None, left is not None and 0 < left <= 100]


def future_outcomes(lab):
    ch = lab.connect(lab.serve(Echo=uu(echo)))
    f = ch.unary_unary(path("Echo")).future(b"x")
    told = []
    first = [
        f.result(PATIENCE),
        f.result(),
        f.exception(),
        f.traceback(),
        f.done(),
        f.running(),
        f.cancelled(),
        f.cancel(),
        f.cancelled(),
        f.code(),
        f.details(),
    ]
    f.add_done_callback(lambda g: told.append(g is f))
    deadline = time.monotonic() + PATIENCE
    while not told and time.monotonic() < deadline:
        time.sleep(0.01)
    return [
        *(v if not isinstance(v, grpc.StatusCode) else v.name for v in first),
        told,
        f.is_active(),
        f.add_callback(print),
    ]


def future_times_out_then_cancel(lab):
    gate, over = Gate(), Gate()

    def wait(request, context):
        context.add_callback(over.set)
        gate.wait(PATIENCE)
        return request

    ch = lab.connect(lab.serve(Wait=uu(wait)))
    f = ch.unary_unary(path("Wait")).future(b"x", timeout=PATIENCE)
    told = []
    f.add_done_callback(lambda g: told.append(g is f))
    notes = [
        saw(f.result, 0.05),
        saw(f.exception, 0.05),
        saw(f.traceback, 0.05),
        saw(f.result, 0),
        f.done(),
        f.running(),
        f.cancelled(),
        f.is_active(),
    ]
    notes += [
        f.cancel(),
        f.cancel(),
        saw(f.result),
        saw(f.exception),
        saw(f.traceback),
        f.cancelled(),
        f.done(),
        f.running(),
        saw(f.code),
        saw(f.details),
        saw(f.initial_metadata),
        saw(f.trailing_metadata),
    ]
    deadline = time.monotonic() + PATIENCE
    while not told and time.monotonic() < deadline:
        time.sleep(0.01)
    gate.set()
    return [*notes, told]


def failed_future(lab):
    def refuse(request, context):
        context.set_trailing_metadata((("x-t", "1"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    ch = lab.connect(lab.serve(M=uu(refuse)))
    f = ch.unary_unary(path("M")).future(b"x")
    return [
        saw(f.result),
        saw(f.exception),
        f.traceback() is not None,
        f.cancelled(),
        f.done(),
        f.cancel(),
        saw(f.code),
        saw(f.details),
        saw(f.trailing_metadata),
        f.exception() is f,
        saw(f.initial_metadata),
    ]


def raised_error(lab):
    def refuse(request, context):
        context.send_initial_metadata((("x-i", "0"),))
        context.set_trailing_metadata((("x-t", "1"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    ch = lab.connect(lab.serve(M=uu(refuse)))
    try:
        ch.unary_unary(path("M"))(b"x")
    except grpc.RpcError as e:
        text = str(e).splitlines()
        return [
            type(e).__name__[:1] is not None,
            saw(e.code),
            saw(e.details),
            saw(e.initial_metadata),
            saw(e.trailing_metadata),
            saw(e.cancel),
            saw(e.is_active),
            saw(e.time_remaining),
            saw(e.add_callback, print),
            text[1:3],
            repr(e).splitlines()[1:3],
            isinstance(e.debug_error_string(), str),
            saw(e.cancelled),
            saw(e.running),
            saw(e.done),
            saw(e.result),
            saw(e.exception),
            saw(e.traceback) is not None,
            "no such thing" in e.debug_error_string(),
        ]


def callback_that_raises(lab):
    ch = lab.connect(lab.serve(Echo=uu(echo)))
    said = threading.Event()

    def bad(_):
        raise ValueError("bad")

    f = ch.unary_unary(path("Echo")).future(b"x")
    f.add_done_callback(bad)
    f.add_done_callback(lambda _: said.set())
    notes = [saw(f.result, PATIENCE), said.wait(5)]
    notes += [saw(f.add_done_callback, bad), ch.unary_unary(path("Echo"))(b"y", timeout=PATIENCE)]
    return notes


def wait_for_ready_and_deadline(lab):
    ch = lab.connect("127.0.0.1:1")
    m = ch.unary_unary(path("M"))
    e = saw(m, b"x", timeout=0.3, wait_for_ready=True)
    f = m.future(b"x", timeout=0.3, wait_for_ready=True)
    g = m.future(b"x", wait_for_ready=True)
    s = ch.unary_stream(path("M"))(b"x", wait_for_ready=True)
    return [
        e[:-1],
        saw(f.result)[:-1],
        saw(g.result, 0.1),
        g.cancel(),
        saw(g.code),
        saw(s.result, 0.1),
        s.is_active(),
        s.cancel(),
        saw(s.code),
        saw(next, s),
    ]


def unavailable(lab):
    ch = lab.connect("127.0.0.1:1")
    return [
        saw(ch.unary_unary(path("M")), b"x")[:-1],
        saw(ch.unary_unary(path("M")), b"x", wait_for_ready=False)[:-1],
        saw(lambda: list(ch.unary_stream(path("M"))(b"x")))[:-1],
        saw(ch.stream_unary(path("M")), iter([b"x"]))[:-1],
    ]


def closed_channel(lab):
    ch = lab.connect(lab.serve(Echo=uu(echo), T=us(three)))
    m, s = ch.unary_unary(path("Echo")), ch.unary_stream(path("T"))
    m(b"x")
    ch.close()
    return [
        saw(ch.close),
        saw(m, b"x"),
        saw(m.with_call, b"x"),
        saw(m.future, b"x"),
        saw(s, b"x"),
        saw(ch.unary_unary, path("Echo")) is not None,
        saw(lambda: ch.unary_unary(path("Echo"))(b"x")),
        saw(ch.__enter__) is not None,
    ]


def closed_during_calls(lab):
    gate = Gate()

    def wait(request, context):
        gate.wait(PATIENCE)
        return request

    def slow(request, context):
        yield request
        gate.wait(PATIENCE)

    ch = lab.connect(lab.serve(W=uu(wait), S=us(slow)))
    f = ch.unary_unary(path("W")).future(b"x")
    s = ch.unary_stream(path("S"))(b"x")
    next(s)
    got = []
    t = threading.Thread(target=lambda: got.append(saw(ch.unary_unary(path("W")), b"x")))
    t.start()
    time.sleep(0.3)
    ch.close()
    t.join(PATIENCE)
    notes = [
        got,
        saw(f.result, 5),
        saw(f.code),
        saw(f.details),
        f.cancelled(),
        saw(next, s),
        saw(s.code),
        saw(s.details),
        s.cancelled(),
    ]
    gate.set()
    return notes


def channel_in_with(lab):
    with lab.connect(lab.serve(Echo=uu(echo))) as ch:
        m = ch.unary_unary(path("Echo"))
        first = m(b"x")
    return [first, saw(m, b"x")]


def deadline_wins_over_slow_handler(lab):
    over = Gate()

    def wait(request, context):
        context.add_callback(over.set)
        over.wait(PATIENCE)
        return request

    ch = lab.connect(lab.serve(M=uu(wait)))
    f = ch.unary_unary(path("M")).future(b"x", timeout=1.5)
    return [saw(f.result), f.cancelled(), saw(f.exception), over.wait(PATIENCE), saw(f.time_remaining)]


def stream_unary_initial_metadata_before_the_end(lab):
    gate = Gate()

    def early(requests, context):
        context.send_initial_metadata((("x-i", "1"),))
        gate.wait(PATIENCE)
        return b"".join(requests)

    ch = lab.connect(lab.serve(M=su(early)))
    f = ch.stream_unary(path("M")).future(iter([b"x"]))
    got = []
    t = threading.Thread(target=lambda: got.append(saw(f.initial_metadata)))
    t.start()
    t.join(3)
    notes = [got.copy()]
    gate.set()
    t.join(PATIENCE)
    return [*notes, got]
