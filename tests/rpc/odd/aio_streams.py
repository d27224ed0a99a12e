"""Odd uses of streams in asyncio."""

from __future__ import annotations

import asyncio

from tests.rpc.odd.in_tasks import about, serve
from tests.rpc.odd.lab import PATIENCE, path, plain, seen, us


async def stream_iterated_twice(lab):
    ch = await serve(lab)
    call = ch.unary_stream(path("T"))(b"x")
    return [[m async for m in call], [m async for m in call], await seen(call.read), *await about(call)]


async def stream_read_past_the_end(lab):
    ch = await serve(lab)
    call = ch.unary_stream(path("T"))(b"x")
    return [await seen(call.read) for _ in range(6)] + await about(call)


async def read_then_iterate(lab):
    ch = await serve(lab)
    call = ch.unary_stream(path("T"))(b"x")

    async def it():
        return [m async for m in call]

    notes = [await seen(call.read), await seen(it), await seen(call.read)]
    call = ch.unary_stream(path("T"))(b"x")
    i = aiter(call)
    notes += [await anext(i), await seen(call.read)]
    return notes


async def aiter_twice(lab):
    ch = await serve(lab)
    call = ch.unary_stream(path("T"))(b"x")
    a, b = aiter(call), aiter(call)
    return [a is b, await anext(a), await anext(b), await anext(a), await anext(b, "end")]


async def bidi_mixed(lab):
    ch = await serve(lab)
    call = ch.stream_stream(path("E"))(iter([b"1", b"2"]))
    notes = [
        await seen(lambda: call.write(b"3")),
        await seen(call.done_writing),
        await seen(call.read),
        await seen(call.read),
        await seen(call.read),
    ]
    call = ch.stream_stream(path("E"))()
    await call.write(b"1")
    notes += [await seen(call.read)]

    async def it():
        return [m async for m in call]

    notes += [await seen(it)] if False else []
    await call.done_writing()
    notes += [
        await seen(call.done_writing),
        await seen(lambda: call.write(b"2")),
        await seen(call.read),
        await seen(lambda: call.write(b"3")),
        await seen(call.done_writing),
        await seen(call.read),
    ]
    return notes


async def bidi_iterator_read(lab):
    ch = await serve(lab)
    call = ch.stream_stream(path("E"))(iter([b"1", b"2"]))
    return [await seen(call.read), await seen(call.read), await seen(call.read)]


async def bidi_iterated_after_write(lab):
    ch = await serve(lab)
    call = ch.stream_stream(path("E"))()
    await call.write(b"1")
    await call.done_writing()

    async def it():
        return [m async for m in call]

    return [await seen(it), await seen(call.code)]


async def client_stream_mixed(lab):
    ch = await serve(lab)
    call = ch.stream_unary(path("G"))(iter([b"1", b"2"]))
    notes = [await seen(lambda: call.write(b"3")), await seen(call.done_writing), await seen(call), await seen(call)]
    call = ch.stream_unary(path("G"))()
    notes += [
        await seen(lambda: call.write(b"1")),
        await seen(call.done_writing),
        await seen(call.done_writing),
        await seen(lambda: call.write(b"2")),
        await seen(call),
        await seen(lambda: call.write(b"2")),
        await seen(call.done_writing),
    ]
    return notes


async def request_iterators(lab):
    ch = await serve(lab)

    async def agen():
        yield b"a"
        yield b"b"

    class It:
        def __init__(self):
            self.left = [b"1", b"2"]

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    class Both(It):
        def __iter__(self):
            return iter([b"sync"])

    gather = ch.stream_unary(path("G"))
    return [
        await seen(gather(x, timeout=PATIENCE))
        for x in (agen(), It(), [b"l"], (b"t",), iter([b"i"]), {b"d": 1}, Both())
    ] + [await seen(lambda: gather(5, timeout=3)), await seen(lambda: gather(b"ab", timeout=3))]


async def request_iterator_raises(lab):
    ch = await serve(lab)

    async def bad():
        yield b"a"
        raise ValueError("broke")

    def bad2():
        yield b"a"
        raise ValueError("broke")

    call = ch.stream_unary(path("G"))(bad(), timeout=2)
    notes = [await seen(call), await seen(call.code)]
    call = ch.stream_stream(path("E"))(bad2(), timeout=2)
    notes += [await seen(call.read), await seen(call.read), await seen(call.code)]
    return notes


async def stream_cancelled_by_task(lab):
    async def slow(r, c):
        yield r
        await asyncio.sleep(PATIENCE)

    ch = lab.connect(await lab.serve(M=us(slow)))
    call = ch.unary_stream(path("M"))(b"x")

    async def read():
        return [m async for m in call]

    t = asyncio.ensure_future(read())
    await asyncio.sleep(0.3)
    t.cancel()
    got = await asyncio.gather(t, return_exceptions=True)
    return [plain(got), *await about(call), await seen(call.read)]


async def read_by_wait_for(lab):
    async def slow(r, c):
        yield r
        await asyncio.sleep(PATIENCE)

    ch = lab.connect(await lab.serve(M=us(slow)))
    call = ch.unary_stream(path("M"))(b"x")
    notes = [await seen(call.read)]
    try:
        await asyncio.wait_for(call.read(), 0.2)
    except TimeoutError:
        notes.append("timeout")
    return [*notes, call.done(), call.cancelled(), await seen(call.read)]


async def awaiting_streams(lab):
    ch = await serve(lab)

    async def await_it(c):
        return await c

    s = ch.unary_stream(path("T"))(b"x")
    return [await seen(lambda: await_it(s)), s.cancel()]
