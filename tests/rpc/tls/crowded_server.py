"""A server of ours in a process of its own, for crowds: prints its port, then answers each line with its memory.

Arguments: sync or aio, how many descriptors it may have, key and chain in PEM files.
"""

import asyncio
import resource
import sys
from concurrent import futures
from pathlib import Path

import rpc
import rpc.aio
from examples.hello.hello_pb2_grpc import add_GreeterServicer_to_server
from tests.rpc.script import AioServicer, SyncServicer, polite
from tests.rpc.tls.ends import open_files, resident

kind, descriptors, key, chain = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(descriptors), int(descriptors)))
CREDENTIALS = rpc.ssl_server_credentials([(Path(key).read_bytes(), Path(chain).read_bytes())])


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def answer_lines():
    for _ in sys.stdin:
        say(resident(), open_files() if int(descriptors) > 1000 else 0)


def serve():
    server = rpc.server(futures.ThreadPoolExecutor(4))
    add_GreeterServicer_to_server(SyncServicer(polite), server)
    say(server.add_secure_port("127.0.0.1:0", CREDENTIALS))
    server.start()
    answer_lines()
    server.stop(0).wait()


async def serve_in_loop():
    server = rpc.aio.server()
    add_GreeterServicer_to_server(AioServicer(polite), server)
    say(server.add_secure_port("127.0.0.1:0", CREDENTIALS))
    await server.start()
    await asyncio.to_thread(answer_lines)
    await server.stop(0)


if kind == "aio":
    asyncio.run(serve_in_loop())
else:
    serve()
