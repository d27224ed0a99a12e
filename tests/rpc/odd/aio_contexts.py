"""Odd handlers and uses of their contexts in asyncio."""

from __future__ import annotations

import asyncio

import grpc

from tests.rpc.odd.in_tasks import called, streamed
from tests.rpc.odd.lab import PATIENCE, path, saw, seen, ss, su, us, uu


async def returns_none(lab):
    async def f(r, c):
        return None

    async def g(r, c):
        yield None

    return [await called(lab, f), await streamed(lab, g)]


async def none_after_set_code(lab):
    async def f(r, c):
        c.set_code(grpc.StatusCode.NOT_FOUND)
        c.set_details("gone")

    async def g(r, c):
        c.set_code(grpc.StatusCode.NOT_FOUND)
        return b"reply"

    return [await called(lab, f), await called(lab, g)]


async def odd_codes(lab):
    out = []
    for code in (5, 0, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OK):

        async def f(r, c, code=code):
            c.set_code(code)
            c.set_details("why")
            return b"x"

        async def g(r, c, code=code):
            await c.abort(code, "why")

        out += [await called(lab, f)]
        if code not in (0, grpc.StatusCode.OK):
            out += [await called(lab, g)]
    return out


async def odd_details(lab):
    out = []
    for details in ("", "x", "100%"):

        async def f(r, c, details=details):
            await c.abort(grpc.StatusCode.ABORTED, details)

        out.append(await called(lab, f))

    async def no_details(r, c):
        await c.abort(grpc.StatusCode.ABORTED)

    return [*out, await called(lab, no_details)]


async def abort_variants(lab):
    async def swallowed(r, c):
        try:
            await c.abort(grpc.StatusCode.ABORTED, "no")
        except grpc.aio.AbortError:
            return b"x"

    async def twice(r, c):
        try:
            await c.abort(grpc.StatusCode.ABORTED, "one")
        except grpc.aio.AbortError:
            await c.abort(grpc.StatusCode.NOT_FOUND, "two")

    async def with_trailing(r, c):
        c.set_trailing_metadata((("x-k", "1"),))
        await c.abort(grpc.StatusCode.ABORTED, "no", trailing_metadata=(("x-a", "1"),))

    async def kept(r, c):
        c.set_trailing_metadata((("x-k", "1"),))
        await c.abort(grpc.StatusCode.ABORTED, "no")

    async def early(r, c):
        await c.abort(grpc.StatusCode.ABORTED, "early")
        yield b""

    async def mid(r, c):
        yield r
        await c.abort(grpc.StatusCode.ABORTED, "mid")

    return [
        await called(lab, swallowed),
        await called(lab, twice),
        await called(lab, kept),
        await streamed(lab, early),
        await streamed(lab, mid),
        await called(lab, with_trailing),
    ]


async def serializers(lab):
    def bad(_):
        raise ValueError("ser")

    async def f(r, c):
        return r

    async def g(r, c):
        yield r

    ch = lab.connect(
        await lab.serve(
            A=uu(f, response_serializer=bad),
            B=us(g, response_serializer=bad),
            C=uu(f, request_deserializer=bad),
            H=us(g, request_deserializer=bad),
        )
    )
    return [
        await seen(lambda: ch.unary_unary(path("A"))(b"x", timeout=2)),
        await seen(lambda: ch.unary_stream(path("B"))(b"x", timeout=2).read()),
        await seen(lambda: ch.unary_unary(path("C"))(b"x", timeout=2)),
        await seen(lambda: ch.unary_stream(path("H"))(b"x", timeout=2).read()),
    ]


async def context_basics(lab):
    notes = []

    async def f(r, c):
        notes.extend(
            [
                repr(c.code()),
                c.details(),
                repr(c.trailing_metadata()),
                c.peer().split(":")[0],
                c.peer_identities(),
                c.peer_identity_key(),
                repr(c.auth_context()),
                isinstance(c.invocation_metadata(), tuple),
                c.time_remaining() is not None,
                c.cancelled(),
                c.done(),
            ]
        )
        c.set_code(grpc.StatusCode.NOT_FOUND)
        c.set_details("d")
        c.set_trailing_metadata((("x-t", "1"),))
        notes.extend([repr(c.code()), c.details(), repr(tuple(map(tuple, c.trailing_metadata())))])
        return r

    return [await called(lab, f, metadata=(("x-a", "1"),)), notes]


async def initial_metadata_twice(lab):
    notes = []

    async def f(r, c):
        await c.send_initial_metadata((("x-i", "1"),))
        notes.append(await seen(lambda: c.send_initial_metadata((("x-i", "2"),))))
        return r

    async def g(r, c):
        yield r
        notes.append(await seen(lambda: c.send_initial_metadata((("x-i", "2"),))))
        notes.append(saw(c.set_compression, grpc.Compression.Gzip))

    return [await called(lab, f), await streamed(lab, g), notes]


async def reader_writer(lab):
    notes = []

    async def f(r, c):
        await c.write(b"1")
        await c.write(b"2")
        c.set_trailing_metadata((("x-t", "1"),))

    async def both(requests, c):
        notes.append(await seen(c.read))
        notes.append(await seen(c.read))
        notes.append(await seen(c.read))
        notes.append(await seen(c.read))
        await c.write(b"done")

    async def mixed(requests, c):
        notes.append(await seen(c.read))
        notes.append([r async for r in requests])
        notes.append(await seen(c.read))
        yield b"m"

    async def gather(requests, c):
        notes.append(await seen(c.read))
        return b"g"

    async def yields_and_writes(r, c):
        yield b"1"
        await c.write(b"2")
        yield b"3"

    ch = lab.connect(await lab.serve(B=ss(both), X=ss(mixed), G=su(gather)))

    async def drain(call):
        return [m async for m in call]

    return [
        await streamed(lab, f),
        await drain(ch.stream_stream(path("B"))([b"a", b"b"])),
        await drain(ch.stream_stream(path("X"))([b"a", b"b", b"c"])),
        await ch.stream_unary(path("G"))([b"a"]),
        notes,
        await streamed(lab, yields_and_writes),
    ]


async def write_after_client_left(lab):
    notes, done, _left = [], asyncio.Event(), asyncio.Event()

    async def f(r, c):
        try:
            await c.write(b"1")
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            notes.append("cancelled")
            notes.append([c.cancelled(), c.done()])
            raise
        finally:
            done.set()

    ch = lab.connect(await lab.serve(M=us(f)))
    call = ch.unary_stream(path("M"))(b"x")
    await call.read()
    call.cancel()
    await asyncio.wait_for(done.wait(), PATIENCE)
    return notes


async def done_callbacks(lab):
    told = []

    async def f(r, c):
        c.add_done_callback(lambda x: told.append(x is c))
        return r

    got = await called(lab, f)
    await asyncio.sleep(0.2)
    return [got, told]


async def done_callback_that_raises(lab):
    told = []

    async def f(r, c):
        def bad(_):
            told.append("bad")
            raise ValueError("bad")

        c.add_done_callback(bad)
        c.add_done_callback(lambda _: told.append("good"))
        return r

    ch = lab.connect(await lab.serve(M=uu(f)))
    got = await seen(lambda: ch.unary_unary(path("M"))(b"x", timeout=PATIENCE))
    again = await seen(lambda: ch.unary_unary(path("M"))(b"x", timeout=PATIENCE))
    return [got, again]


async def raising(lab):
    out = []
    for e in (ValueError("why"), Exception(), grpc.RpcError("rpc")):

        async def f(r, c, e=e):
            raise e

        out.append(await called(lab, f))

    async def gen(r, c):
        yield r
        raise ValueError("mid")

    async def coded(r, c):
        c.set_code(grpc.StatusCode.NOT_FOUND)
        c.set_details("d")
        raise ValueError("v")

    async def coded_only(r, c):
        c.set_code(grpc.StatusCode.NOT_FOUND)
        raise ValueError("v")

    async def trailing(r, c):
        c.set_trailing_metadata((("x-t", "1"),))
        yield r
        raise ValueError("v")

    return [
        *out,
        await streamed(lab, gen),
        await called(lab, coded),
        await called(lab, coded_only),
        await streamed(lab, trailing),
    ]
