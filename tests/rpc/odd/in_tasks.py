"""What the probes in asyncio share: handlers, a server of them, and one call told whole."""

from __future__ import annotations

from tests.rpc.odd.lab import PATIENCE, path, seen, ss, su, us, uu


async def echo(request, context):
    return request


async def three(request, context):
    for _ in range(3):
        yield request


async def gather(requests, context):
    got = [r async for r in requests]
    return b"".join(got)


async def each(requests, context):
    async for r in requests:
        yield r


async def serve(lab):
    return lab.connect(await lab.serve(Echo=uu(echo), T=us(three), G=su(gather), E=ss(each)))


async def about(call):
    return [
        call.done(),
        call.cancelled(),
        await seen(call.code),
        await seen(call.details),
        call.cancel(),
        call.done(),
        call.cancelled(),
    ]


async def called(lab, handler, request=b"x", **how):
    ch = lab.connect(await lab.serve(M=uu(handler)))
    return await seen(lambda: ch.unary_unary(path("M"))(request, timeout=PATIENCE, **how))


async def streamed(lab, handler, **how):
    ch = lab.connect(await lab.serve(M=us(handler)))
    call = ch.unary_stream(path("M"))(b"x", timeout=PATIENCE, **how)
    got = []
    while True:
        one = await seen(call.read)
        got.append(one)
        if isinstance(one, list) or one == "EOF":
            return [
                *got,
                await seen(call.code),
                await seen(call.details),
                await seen(call.initial_metadata),
                await seen(call.trailing_metadata),
            ]
