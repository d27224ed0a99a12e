"""Odd uses of calls and channels in asyncio."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from tests.rpc.odd.in_tasks import about, echo, gather, serve
from tests.rpc.odd.lab import PATIENCE, path, plain, saw, seen, su, us, uu


async def awaited_twice(lab):
    ch = await serve(lab)
    call = ch.unary_unary(path("Echo"))(b"x")
    first = [await seen(call), await seen(call), *await about(call)]
    told = []
    call.add_done_callback(lambda c: told.append(c is call))
    await asyncio.sleep(0.1)
    return [
        *first,
        told,
        call.time_remaining() is None,
        isinstance(call, grpc.aio.Call),
        isinstance(call, grpc.aio.UnaryUnaryCall),
        isinstance(call, grpc.aio.RpcContext),
        await seen(call.initial_metadata),
        await seen(call.trailing_metadata),
        await seen(call.wait_for_connection),
    ]


async def awaited_by_two_tasks(lab):
    ch = await serve(lab)
    call = ch.unary_unary(path("Echo"))(b"x")

    async def wait():
        return await call

    return await asyncio.gather(wait(), wait())


async def awaited_by_two_one_cancelled(lab):
    go = asyncio.Event()

    async def slow(request, context):
        await go.wait()
        return request

    ch = lab.connect(await lab.serve(M=uu(slow)))
    call = ch.unary_unary(path("M"))(b"x")

    async def wait():
        return await call

    one, two = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
    await asyncio.sleep(0.2)
    one.cancel()
    got = await asyncio.gather(one, two, return_exceptions=True)
    go.set()
    return [plain(got[0]), plain(got[1]), await seen(call.code), call.cancelled()]


async def failed_call(lab):
    async def f(r, c):
        c.set_trailing_metadata((("x-t", "1"),))
        await c.abort(grpc.StatusCode.NOT_FOUND, "no")

    ch = lab.connect(await lab.serve(M=uu(f)))
    call = ch.unary_unary(path("M"))(b"x")
    first = [
        await seen(call),
        await seen(call),
        *await about(call),
        await seen(call.trailing_metadata),
        await seen(call.initial_metadata),
    ]
    try:
        await call
    except grpc.aio.AioRpcError as e:
        first += [
            str(e).splitlines()[:3],
            repr(e).splitlines()[:3],
            type(e).__name__,
            plain(e.code()),
            e.details(),
            plain(e.trailing_metadata()),
            plain(e.initial_metadata()),
            type(e.trailing_metadata()).__name__,
        ]
    return first


async def cancelled_call(lab):
    async def f(r, c):
        await asyncio.sleep(PATIENCE)

    ch = lab.connect(await lab.serve(M=uu(f)))
    call = ch.unary_unary(path("M"))(b"x")
    told = []
    call.add_done_callback(lambda c: told.append(c is call))
    await asyncio.sleep(0.2)
    notes = [
        call.cancel(),
        call.cancel(),
        call.done(),
        call.cancelled(),
        await seen(call),
        await seen(call),
        await seen(call.code),
        await seen(call.details),
        await seen(call.initial_metadata),
        await seen(call.trailing_metadata),
    ]
    await asyncio.sleep(0.1)
    return [*notes, told]


async def cancelled_before_it_began(lab):
    ch = await serve(lab)
    call = ch.unary_unary(path("Echo"))(b"x")
    notes = [call.cancel(), await seen(call), await seen(call.code), await seen(call.details)]
    s = ch.unary_stream(path("T"))(b"x")
    notes += [s.cancel(), await seen(s.read), await seen(s.code)]
    c = ch.stream_unary(path("G"))()
    notes += [c.cancel(), await seen(c), await seen(c.code)]
    b = ch.stream_stream(path("E"))()
    notes += [b.cancel(), await seen(b.read), await seen(b.code)]
    return notes


async def timeouts(lab):
    ch = await serve(lab)
    m = ch.unary_unary(path("Echo"))
    return [await seen(lambda t=t: m(b"x", timeout=t)) for t in (-5, 1e6, None, 1e9)] + [
        await seen(lambda: m(b"x", timeout="5")),
        await seen(lambda: ch.unary_stream(path("T"))(b"x", timeout=-1).read()),
    ]


async def deadline(lab):
    async def slow(r, c):
        await asyncio.sleep(PATIENCE)

    ch = lab.connect(await lab.serve(M=uu(slow)))
    call = ch.unary_unary(path("M"))(b"x", timeout=1.5)
    return [0 < call.time_remaining() <= 1.5, await seen(call), *await about(call), call.time_remaining()]


async def metadata_keys_and_values(lab):
    async def look(request, context):
        return repr(sorted((k, v) for k, v in context.invocation_metadata() if k.startswith("x-"))).encode()

    ch = lab.connect(await lab.serve(M=uu(look)))
    m = ch.unary_unary(path("M"))
    odd = [
        (("x-A", "1"),),
        (("x a", "1"),),
        (("", "1"),),
        (("x-a", "ü"),),
        (("x-a", "a\nb"),),
        (("x-a", b"bytes"),),
        (("x-a-bin", "text"),),
        (("x-a", 5),),
        ((5, "x"),),
        (("x-a",),),
        "x-a",
        5,
        (("x-a", None),),
        [("x-l", "1")],
        {"x-d": "1"},
        {"x-d": "1"}.items(),
        iter([("x-it", "1")]),
        (),
        grpc.aio.Metadata(("x-m", "1"), ("x-m", "2")),
        ((b"x-bytes", "1"),),
        (("x-dup", "1"), ("x-dup", "2")),
        ((":path", "/x"),),
    ]
    return [await seen(lambda o=o: m(b"", metadata=o, timeout=PATIENCE)) for o in odd]


async def metadata_types(lab):
    notes = []

    async def look(request, context):
        notes.append(
            [
                type(context.invocation_metadata()).__name__,
                isinstance(context.invocation_metadata(), (tuple, grpc.aio.Metadata)),
            ]
        )
        return b""

    ch = lab.connect(await lab.serve(M=uu(look)))
    call = ch.unary_unary(path("M"))(b"")
    await call
    return [notes, type(await call.initial_metadata()).__name__, type(await call.trailing_metadata()).__name__]


async def closed_channel(lab):
    ch = await serve(lab)
    m, s = ch.unary_unary(path("Echo")), ch.unary_stream(path("T"))
    await m(b"x")
    await ch.close()
    return [
        await seen(ch.close),
        await seen(lambda: m(b"x")),
        await seen(lambda: s(b"x")),
        await seen(ch.stream_unary(path("G"))),
        plain(saw(ch.get_state).__class__.__name__),
        await seen(ch.channel_ready),
        await seen(lambda: ch.wait_for_state_change(grpc.ChannelConnectivity.READY)),
        saw(lambda: ch.get_state(True)) is not None,
    ]


async def closed_during_calls(lab):
    async def slow(r, c):
        yield r
        await asyncio.sleep(PATIENCE)

    async def wait(r, c):
        await asyncio.sleep(PATIENCE)

    ch = lab.connect(await lab.serve(S=us(slow), W=uu(wait), G=su(gather)))
    s, w, g = ch.unary_stream(path("S"))(b"x"), ch.unary_unary(path("W"))(b"x"), ch.stream_unary(path("G"))()
    await s.read()
    await asyncio.sleep(0.2)
    await ch.close()
    return [
        await seen(s.read),
        await seen(s.code),
        await seen(s.details),
        s.cancelled(),
        await seen(w),
        await seen(w.code),
        await seen(w.details),
        w.cancelled(),
        await seen(g),
        await seen(g.code),
        await seen(lambda: g.write(b"x")),
    ]


async def closed_with_grace(lab):
    go = asyncio.Event()

    async def wait(r, c):
        await go.wait()
        return r

    ch = lab.connect(await lab.serve(W=uu(wait)))
    w = ch.unary_unary(path("W"))(b"x")
    await asyncio.sleep(0.2)
    closing = asyncio.ensure_future(ch.close(10))
    await asyncio.sleep(0.2)
    new = await seen(lambda: ch.unary_unary(path("W"))(b"y"))
    go.set()
    got = await seen(w)
    await closing
    return [got, new]


async def unary_by_wait_for(lab):
    async def slow(r, c):
        await asyncio.sleep(PATIENCE)

    ch = lab.connect(await lab.serve(M=uu(slow)))
    call = ch.unary_unary(path("M"))(b"x")
    notes = []
    try:
        await asyncio.wait_for(call, 0.2)
    except TimeoutError:
        notes.append("timeout")
    return [*notes, call.done(), call.cancelled(), await seen(call.code)]


async def connectivity(lab):
    ch = lab.connect(await lab.serve(Echo=uu(echo)))
    notes = [ch.get_state().name]
    await asyncio.wait_for(ch.channel_ready(), PATIENCE)
    notes += [ch.get_state().name, ch.get_state(try_to_connect=True).name]
    await ch.close()
    notes += [ch.get_state().name]
    return notes


async def wait_for_connection_fails(lab):
    ch = lab.connect("127.0.0.1:1")
    call = ch.unary_unary(path("M"))(b"x")
    notes = [(await seen(call.wait_for_connection))[:-1], (await seen(call))[:-1]]
    call = ch.unary_stream(path("M"))(b"x")
    notes += [(await seen(call.wait_for_connection))[:-1], (await seen(call.read))[:-1]]
    return notes


async def method_arguments(lab):
    ch = await serve(lab)
    m = ch.unary_unary(path("Echo"))
    return [
        await seen(lambda: m(b"x", 5)),
        await seen(
            lambda: m(b"x", timeout=5, metadata=(("x-a", "1"),), wait_for_ready=True, compression=grpc.Compression.Gzip)
        ),
        await seen(lambda: m(request=b"x")),
        await seen(m),
        await seen(lambda: m(b"x", nonsense=1)),
    ]


async def debug_error_strings(lab):
    ch = await serve(lab)
    call = ch.unary_unary(path("Echo"))(b"x")
    await call
    c2 = ch.unary_unary(path("Nope"))(b"x")
    await seen(c2)
    return [
        await seen(call.debug_error_string),
        "not found" in (await c2.debug_error_string()),
    ]


async def contexts(lab):
    async with lab.client.insecure_channel(await lab.serve(Echo=uu(echo))) as ch:
        first = await ch.unary_unary(path("Echo"))(b"x")
    return [first, await seen(lambda: ch.unary_unary(path("Echo"))(b"x"))]
