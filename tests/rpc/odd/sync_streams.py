"""Odd uses of streams of responses, in threads."""

from __future__ import annotations

import threading

import grpc

from tests.rpc.odd.in_threads import three
from tests.rpc.odd.lab import PATIENCE, Gate, path, saw, us


def _held(lab):
    """A stream that answers once and stays until the gate is set."""
    gate = Gate()

    def slow(request, context):
        yield request
        gate.wait(PATIENCE)

    ch = lab.connect(lab.serve(M=us(slow)))
    call = ch.unary_stream(path("M"))(b"x")
    return gate, call


def stream_iterated_twice(lab):
    ch = lab.connect(lab.serve(M=us(three)))
    call = ch.unary_stream(path("M"))(b"x")
    return [
        list(call),
        list(call),
        saw(next, call),
        saw(next, call, "end"),
        iter(call) is call,
        saw(call.code),
        call.cancel(),
        saw(call.code),
        call.is_active(),
        call.done(),
        call.running(),
        call.cancelled(),
        saw(call.result),
        saw(call.exception),
        saw(call.traceback),
        saw(call.details),
        saw(call.time_remaining),
    ]


def failed_stream_iterated_twice(lab):
    def fail(request, context):
        yield request
        context.abort(grpc.StatusCode.ABORTED, "enough")

    ch = lab.connect(lab.serve(M=us(fail)))
    call = ch.unary_stream(path("M"))(b"x")
    notes = [
        saw(next, call),
        saw(next, call),
        saw(next, call),
        saw(list, call),
        saw(call.code),
        saw(call.result),
        saw(call.exception),
        call.traceback() is not None,
        call.cancelled(),
        call.done(),
    ]
    try:
        next(call)
    except grpc.RpcError as e:
        notes += [e is call, str(e).splitlines()[1:3]]
    return notes


def cancelled_stream(lab):
    gate, call = _held(lab)
    notes = [
        saw(next, call),
        call.cancel(),
        call.cancel(),
        saw(next, call),
        saw(next, call),
        saw(call.code),
        saw(call.details),
        call.cancelled(),
        call.done(),
        call.running(),
        call.is_active(),
        saw(call.result),
        saw(call.exception),
        saw(call.traceback),
        saw(call.trailing_metadata),
    ]
    gate.set()
    return notes


def stream_result_while_running(lab):
    gate, call = _held(lab)
    notes = [
        saw(call.result, 0.05),
        saw(call.exception, 0.05),
        saw(call.traceback, 0.05),
        call.running(),
        call.done(),
        call.cancelled(),
    ]
    gate.set()
    return [*notes, saw(list, call)]


def stream_result_value(lab):
    ch = lab.connect(lab.serve(M=us(three)))
    call = ch.unary_stream(path("M"))(b"x")
    got = list(call)
    return [got, saw(call.result, 5), saw(call.exception, 5), saw(call.traceback, 5)]


def stream_done_callbacks(lab):
    ch = lab.connect(lab.serve(M=us(three)))
    call = ch.unary_stream(path("M"))(b"x")
    told, said = [], threading.Event()
    call.add_done_callback(lambda c: (told.append(c is call), said.set()))
    list(call)
    said.wait(PATIENCE)
    late = threading.Event()
    call.add_done_callback(lambda c: (told.append("late"), late.set()))
    late.wait(PATIENCE)
    return [told, call.add_callback(print)]
