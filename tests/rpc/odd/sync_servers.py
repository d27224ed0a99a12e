"""Odd uses of servers for threads."""

from __future__ import annotations

from concurrent import futures

import grpc

from tests.rpc.odd.lab import PATIENCE, SERVICE, Gate, path, saw, uu


def server_lifecycle(lab):
    server = lab.server.server(futures.ThreadPoolExecutor(2))
    notes = [saw(server.wait_for_termination, 0.05)]
    port = server.add_insecure_port("127.0.0.1:0")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"M": uu(lambda r, c: r)}),))
    server.start()
    ch = lab.connect(f"127.0.0.1:{port}")
    notes += [
        saw(server.start),
        saw(ch.unary_unary(path("M")), b"x"),
        saw(server.wait_for_termination, 0.05),
        saw(server.wait_for_termination, 0),
    ]
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("late", {"M": uu(lambda r, c: b"late")}),))
    notes += [saw(ch.unary_unary("/late/M"), b"x")]
    server.add_registered_method_handlers("reg", {"M": uu(lambda r, c: b"reg")})
    notes += [saw(ch.unary_unary("/reg/M"), b"x")]
    one = server.stop(None)
    two = server.stop(None)
    notes += [
        one.wait(PATIENCE),
        two.wait(PATIENCE),
        saw(server.wait_for_termination, 5),
        saw(server.start),
        saw(server.stop, 0) is not None,
        saw(server.stop, 0.1) is not None,
    ]
    return notes


def stop_during_calls(lab):
    out = []
    for grace in (None, 0, 0.3, 20):
        started, go = Gate(), Gate()

        def f(r, c, started=started, go=go):
            started.set()
            go.wait(PATIENCE)
            return r

        ch = lab.connect(lab.serve(M=uu(f)))
        server = lab.last_server
        call = ch.unary_unary(path("M")).future(b"x", timeout=PATIENCE)
        started.wait(PATIENCE)
        e = server.stop(grace)
        if grace == 20:
            go.set()
        got = saw(call.result, PATIENCE)
        go.set()
        out.append([got[:5] if isinstance(got, list) else got, e.wait(PATIENCE)])
    return out


def stop_event_and_handlers(lab):
    """Whether stop(0)'s event waits for a handler that does not end."""
    started, go = Gate(), Gate()

    def f(r, c):
        started.set()
        go.wait(PATIENCE)
        return r

    ch = lab.connect(lab.serve(M=uu(f)))
    call = ch.unary_unary(path("M")).future(b"x", timeout=PATIENCE)
    started.wait(PATIENCE)
    e = lab.last_server.stop(0)
    notes = [e.wait(PATIENCE)]
    go.set()
    notes += [e.wait(PATIENCE), saw(call.code)]
    return notes


def handlers_given_oddly(lab):
    server = lab.server.server(futures.ThreadPoolExecutor(2))
    return [
        saw(server.add_generic_rpc_handlers, ()),
        saw(server.add_generic_rpc_handlers, ("x",)),
        saw(server.add_generic_rpc_handlers, None),
        saw(server.add_registered_method_handlers, "s", {}),
        saw(server.add_generic_rpc_handlers, 5),
    ]


def odd_interceptors(lab):
    class Interceptor(grpc.ServerInterceptor):
        def __init__(self, f):
            self.f = f

        def intercept_service(self, continuation, details):
            return self.f(continuation, details)

    def raises(c, d):
        raise ValueError("interceptor")

    def twice(c, d):
        c(d)
        return c(d)

    def other(c, d):
        class D(grpc.HandlerCallDetails):
            method = path("N")
            invocation_metadata = (("x-new", "1"),)

        return c(D())

    out = []
    for f in (raises, twice, lambda c, d: None, other):
        ch = lab.connect(
            lab.serve(
                interceptors=(Interceptor(f),),
                M=uu(lambda r, c: b"m"),
                N=uu(lambda r, c: repr([tuple(m) for m in c.invocation_metadata() if m[0].startswith("x-")]).encode()),
            )
        )
        out.append(saw(ch.unary_unary(path("M")), b"", timeout=PATIENCE, metadata=(("x-a", "1"),)))
    return out
