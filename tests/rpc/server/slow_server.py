"""A server whose handlers take a while, in a process of its own, for clients that do not wait for them: prints its
port, then answers each line with what it costs and what its handlers have seen, as JSON. By SIGTERM it
ends, and says at last how many handlers have begun.

Arguments: ours or grpcio; sync or aio (whose handlers are blocking ones, in its pool); so many descriptors at the most.
"""

import asyncio
import json
import resource
import sys
import threading
import time
from concurrent import futures

import grpc
import grpc.aio

import rpc
import rpc.aio
from examples.hello.hello_pb2_grpc import GreeterServicer, add_GreeterServicer_to_server
from tests.rpc.costs import peak, resident
from tests.rpc.script import greet
from tests.rpc.tls.ends import open_files

WORKERS = 4
TAKES = 0.2  # seconds of a handler
GRACE = 2.0


class Slow(GreeterServicer):
    """``begun`` counts the handlers, ``dead`` those of calls that were over when they began."""

    def __init__(self):
        self.lock = threading.Lock()
        self.begun = self.dead = 0

    def _note(self, context):
        with self.lock:
            self.begun += 1
            self.dead += not context.is_active()

    def SayHello(self, request, context):  # noqa: N802 - the name of the method on the wire
        self._note(context)
        if request.name != "quick":
            time.sleep(TAKES)
        return greet(request)

    def Chat(self, request_iterator, context):  # noqa: N802
        self._note(context)
        time.sleep(TAKES)
        for request in request_iterator:
            yield greet(request)


def say(what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def answer_lines(slow, pool):
    for _ in sys.stdin:
        waiting = pool._work_queue.qsize()
        costs = {"memory": resident(), "peak": peak(), "descriptors": open_files(), "threads": threading.active_count()}
        say({"begun": slow.begun, "dead": slow.dead, "queued": waiting, **costs})


def serve(module, pool):
    slow = Slow()
    server = module.server(pool)
    add_GreeterServicer_to_server(slow, server)
    say(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    threading.Thread(target=answer_lines, args=(slow, pool), daemon=True).start()
    rpc.serve_until_terminated(server, endpoint_delay=0.0, grace=GRACE)
    pool.shutdown()
    say({"begun": slow.begun})


async def serve_in_loop(module, pool):
    slow = Slow()
    server = module.aio.server(pool)
    add_GreeterServicer_to_server(slow, server)
    say(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    threading.Thread(target=answer_lines, args=(slow, pool), daemon=True).start()
    server.announce_end = getattr(server, "announce_end", lambda: None)
    await rpc.aio.serve_until_terminated(server, endpoint_delay=0.0, grace=GRACE)
    pool.shutdown()
    say({"begun": slow.begun})


def main(make, kind, limit=0):
    if limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
    module = rpc if make == "ours" else grpc
    pool = futures.ThreadPoolExecutor(WORKERS)
    if kind == "aio":
        asyncio.run(serve_in_loop(module, pool))
    else:
        if make != "ours":
            grpc.Server.announce_end = lambda _: None
        serve(module, pool)


if __name__ == "__main__":
    main(*sys.argv[1:])
