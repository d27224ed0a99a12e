"""A server of ours in a process of its own, for clients that mean no good: prints its port, then answers each line with
what it costs: resident memory and its peak in bytes, descriptors, and what the reactor has counted, as JSON.

Arguments: sync or aio.
"""

import asyncio
import json
import sys
from concurrent import futures

import rpc
import rpc.aio
from examples.hello.hello_pb2_grpc import add_GreeterServicer_to_server
from tests.rpc.costs import all_descriptors, peak, resident
from tests.rpc.script import AioServicer, SyncServicer, polite
from tests.rpc.tls.ends import open_files


def say(what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def answer_lines(server):
    for _ in sys.stdin:
        counters = server._reactor.counters()
        say({"memory": resident(), "peak": peak(), "descriptors": open_files(), "counters": counters})


def serve():
    server = rpc.server(futures.ThreadPoolExecutor(4))
    add_GreeterServicer_to_server(SyncServicer(polite), server)
    say(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    answer_lines(server)
    server.stop(0).wait()


async def serve_in_loop():
    server = rpc.aio.server()
    add_GreeterServicer_to_server(AioServicer(polite), server)
    say(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await asyncio.to_thread(answer_lines, server)
    await server.stop(0)


all_descriptors()
if sys.argv[1] == "aio":
    asyncio.run(serve_in_loop())
else:
    serve()
