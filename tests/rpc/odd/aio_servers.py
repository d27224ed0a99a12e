"""Odd uses of asyncio servers."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from tests.rpc.odd.in_tasks import called, streamed
from tests.rpc.odd.lab import PATIENCE, SERVICE, path, seen, uu


async def server_lifecycle(lab):
    async def echo(r, c):
        return r

    server = lab.server.server()
    notes = [await seen(lambda: server.wait_for_termination(0.05)), await seen(lambda: server.stop(None))]
    server = lab.server.server()
    port = server.add_insecure_port("127.0.0.1:0")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"M": uu(echo)}),))
    await server.start()
    ch = lab.connect(f"127.0.0.1:{port}")
    notes += [
        await seen(server.start),
        await seen(lambda: ch.unary_unary(path("M"))(b"x")),
        await seen(lambda: server.wait_for_termination(0.05)),
        await seen(lambda: server.wait_for_termination(0)),
    ]
    one, two = asyncio.ensure_future(server.stop(None)), asyncio.ensure_future(server.stop(1))
    await asyncio.gather(one, two)
    notes += [
        await seen(lambda: server.wait_for_termination(5)),
        await seen(lambda: server.stop(None)),
        await seen(server.start),
    ]
    return notes


async def stop_during_calls(lab):
    out = []
    for grace in (None, 0, 0.3, 5):
        started, go, ended = asyncio.Event(), asyncio.Event(), []

        async def f(r, c, started=started, go=go, ended=ended):
            started.set()
            try:
                await go.wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            return r

        ch = lab.connect(await lab.serve(M=uu(f)))
        server = lab.last_server
        call = ch.unary_unary(path("M"))(b"x", timeout=PATIENCE)
        await started.wait()
        stopping = asyncio.ensure_future(server.stop(grace))
        if grace == 5:
            await asyncio.sleep(0.2)
            go.set()
        got = await seen(call)
        await asyncio.wait_for(stopping, PATIENCE)
        out.append([got[:4] if isinstance(got, list) else got, ended])
    return out


async def handlers_that_are_no_coroutines(lab):
    def f(r, c):
        return r

    def g(r, c):
        yield r
        yield r

    def h(r, c):
        c.abort(grpc.StatusCode.ABORTED, "sync abort")

    return [await called(lab, f), await streamed(lab, g), await called(lab, h)]


async def odd_interceptors(lab):
    class Interceptor(grpc.aio.ServerInterceptor):
        def __init__(self, f):
            self.f = f

        async def intercept_service(self, continuation, details):
            return await self.f(continuation, details)

    async def raises(c, d):
        raise ValueError("interceptor")

    async def twice(c, d):
        await c(d)
        return await c(d)

    async def none(c, d):
        return None

    async def look(c, d):
        assert d.method == path("M")
        assert any(k == "x-a" for k, _ in d.invocation_metadata)
        return await c(d)

    async def m(r, c):
        return b"m"

    out = []
    for f in (twice, none, look):
        ch = lab.connect(await lab.serve(interceptors=(Interceptor(f),), M=uu(m)))
        out.append(await seen(ch.unary_unary(path("M"))(b"", timeout=PATIENCE, metadata=(("x-a", "1"),))))
    return out


async def interceptor_that_raises(lab):
    class Interceptor(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation, details):
            raise ValueError("interceptor")

    async def m(r, c):
        return b"m"

    ch = lab.connect(await lab.serve(interceptors=(Interceptor(),), M=uu(m)))
    return [await seen(lambda: ch.unary_unary(path("M"))(b"", timeout=2))]


async def interceptor_that_aborts(lab):
    class Interceptor(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation, details):
            async def deny(request, context):
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who")

            return uu(deny)

    async def m(r, c):
        return b"m"

    ch = lab.connect(await lab.serve(interceptors=(Interceptor(),), M=uu(m)))
    return [await seen(lambda: ch.unary_unary(path("M"))(b"", timeout=2))]


async def deadline_in_handler(lab):
    notes, done = [], asyncio.Event()

    async def f(r, c):
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            notes.append("cancelled")
            raise
        finally:
            done.set()

    ch = lab.connect(await lab.serve(M=uu(f)))
    got = await seen(lambda: ch.unary_unary(path("M"))(b"", timeout=2))
    await asyncio.wait_for(done.wait(), PATIENCE)
    return [got, notes]


async def odd_metadata_of_handlers(lab):
    out = []
    for m in ((("x-a", 5),), ((("X-Up"), "1"),), [("x-l", "1")], grpc.aio.Metadata(("x-m", "1")), None, ()):

        async def f(r, c, m=m):
            c.set_trailing_metadata(m)
            return r

        async def g(r, c, m=m):
            await c.send_initial_metadata(m)
            return r

        out += [[(await called(lab, f))[:1]], [(await called(lab, g))[:1]]]
    return out
