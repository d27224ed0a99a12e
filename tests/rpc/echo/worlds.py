"""Servers that echo, and clients: by threads, and on an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading

from bench.echo_engine import engine
from rpc.security.chain import Chain
from tests.rpc.script import PATIENCE

CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE = 1, 4, 14
WAIT = b"wait"  # what is not answered


class Certified:
    """Both ends' TLS; `None` where they speak plaintext."""

    def __init__(self, authority=None):
        self.client, self.port_policy, self.refusals = None, None, []
        if authority is not None:
            native, leaf = engine(), authority.issue(dns=["localhost"])
            answers = native.ServerTls(chain=leaf.chain, key=leaf.key, alpn=["h2", "echo"])
            self.port_policy = native.PortPolicy(lambda *refusal: self.refusals.append(refusal), lambda _: None)
            self.port_policy.set([Chain(name="tls", transport="tls", tls=answers)])
            self.client = native.ClientTls(
                roots=authority.pem, chain=None, key=None, sni="localhost", alpn=[], host="localhost"
            )


class Server:
    """Answers what comes with what it asked; of gRPC too where a ``config`` is given."""

    def __init__(self, certified=None, config=None):
        self.waiting = []  # calls that asked to wait; each has `over`, set when it is
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = listener.getsockname()
        self._begin()
        port_policy = certified.port_policy if certified is not None else None
        engine().echo_listen(self.reactor, listener.detach(), config, port_policy)

    def _answer(self, calls):
        for call in calls:
            if not isinstance(call, engine().EchoCall):
                call.reply(call.request(), None, None, "")
            elif call.payload == WAIT:
                over = threading.Event()
                if not call.watch(over.set):
                    over.set()
                self.waiting.append((call, over))
            else:
                call.reply(call.payload)


class BlockingServer(Server):
    def _begin(self):
        self.reactor, self._over = engine().Reactor(), False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._over:
            self._answer(self.reactor.poll(None))

    def close(self):
        self._over = True
        self.reactor.wake()
        self._thread.join(PATIENCE)
        self.reactor.close("the server is over")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, function, *args):
        done = concurrent.futures.Future()

        def run():
            try:
                done.set_result(function(*args))
            except BaseException as error:
                done.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return done.result(PATIENCE)

    def reactor(self, answer):
        """A reactor that this loop drives."""

        def make():
            reactor = engine().Reactor(lambda: self.loop.call_soon(reactor.flush))
            self.loop.add_reader(reactor.fileno(), lambda: answer(reactor.poll(0)))
            return reactor

        return self.do(make)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


class AioServer(Server):
    def _begin(self):
        self._loop = Loop()
        self.reactor = self._loop.reactor(self._answer)

    def close(self):
        if not self._loop.loop.is_closed():
            self._loop.do(self.reactor.close, "the server is over")
            self._loop.do(self.waiting.clear)  # what is let go of later would ask a loop that is closed
            self._loop.close()


class BlockingClient:
    """`begin` gives a handle with `result(timeout)` and `cancel()`."""

    def __init__(self, address, tls=None):
        self.lost, self.heard = threading.Event(), concurrent.futures.Future()
        self._reactor = engine().Reactor()
        self.link = engine().echo_connect(
            self._reactor, socket.create_connection(address).detach(), self.lost.set, self.heard.set_result, tls
        )
        self._pool = concurrent.futures.ThreadPoolExecutor(16)
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)  # for what nobody waits for
        self._thread.start()

    def _run(self):
        while not self._over:
            self._reactor.poll(None)

    def call(self, payload, timeout=PATIENCE):
        return self.link.call(payload, timeout)

    def calls(self, payloads):
        return list(self._pool.map(self.call, payloads))

    def begin(self, payload, timeout=None):
        done = concurrent.futures.Future()
        key = self.link.start(payload, timeout, done.set_result)
        return key, done

    def cancel(self, key):
        self.link.cancel(key, CANCELLED, "not wanted any more")

    def close(self):
        self._over = True
        self._reactor.wake()
        self._thread.join(PATIENCE)
        self.link.close("the client is over")
        self._pool.shutdown()


class AioClient:
    def __init__(self, address, tls=None):
        self.lost, self.heard = threading.Event(), concurrent.futures.Future()
        self._loop = Loop()
        self._reactor = self._loop.reactor(lambda _: None)
        descriptor = socket.create_connection(address).detach()
        self.link = self._loop.do(
            engine().echo_connect, self._reactor, descriptor, self.lost.set, self.heard.set_result, tls
        )

    def begin(self, payload, timeout=None):
        done = concurrent.futures.Future()
        return self._loop.do(self.link.start, payload, timeout, done.set_result), done

    def call(self, payload, timeout=PATIENCE):
        key, done = self.begin(payload, timeout)
        return None if key is None else done.result(PATIENCE)

    def calls(self, payloads):
        begun = [self.begin(payload) for payload in payloads]
        return [done.result(PATIENCE) for _, done in begun]

    def cancel(self, key):
        self._loop.do(self.link.cancel, key, CANCELLED, "not wanted any more")

    def close(self):
        self._loop.do(self.link.close, "the client is over")
        self._loop.close()


WORLDS = {"threads": (BlockingServer, BlockingClient), "asyncio": (AioServer, AioClient)}
