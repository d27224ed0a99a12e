"""Programs that tests run as processes of their own, with Python's development mode on and warnings as errors."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.rpc.script import PATIENCE

ROOT = Path(__file__).parents[2]

PROLOGUE = """
    import logging, sys, threading
    from concurrent import futures
    import rpc, rpc.aio
    from examples.hello.hello_pb2 import HelloRequest
    from examples.hello.hello_pb2_grpc import GreeterStub, add_GreeterServicer_to_server
    from tests.rpc.script import READ, AioServicer, SyncServicer, greet, polite

    logging.getLogger("asyncio").setLevel(logging.ERROR)  # a slow machine is no news

    def serve(script, options=None):
        server = rpc.server(futures.ThreadPoolExecutor(8), options=options)
        port = server.add_insecure_port("127.0.0.1:0")
        add_GreeterServicer_to_server(SyncServicer(script), server)
        server.start()
        return server, f"127.0.0.1:{port}"
"""

# For parents: `fork(function)` runs it in a child; `status(pid)` waits for the child and is 0 if all was well. A child
# that hangs is ended by its alarm. (Python 3.12 warns of forks in processes with threads; that is the point here.)
FORKING = (
    PROLOGUE
    + """
    import os, signal, traceback, warnings
    warnings.filterwarnings("ignore", ".*multi-threaded, use of fork.*", DeprecationWarning)

    def fork(function):
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            signal.alarm(60)
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def status(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
)

# Calls of a `CLIENT`, each of which ends.
CALLS = {
    "unary": "assert stub.SayHello(quick, timeout=20).message == 'Hello, quick!'",
    "future": "assert stub.SayHello.future(quick, timeout=20).result().message == 'Hello, quick!'",
    "server stream": "assert len(list(stub.ListHellos(quick, timeout=20))) == 1",
    "client stream": "assert stub.CollectHellos(iter([quick]), timeout=20).message == 'Hello, quick!'",
    "bidi": "assert len(list(stub.Chat(iter([quick]), timeout=20))) == 1",
    "aio": "assert asyncio.run(aio()).message == 'Hello, quick!'",
    "aio on uvloop": "assert uvloop.run(aio()).message == 'Hello, quick!'",
}

# Forks, and has channels of both worlds to the server whose address is its first argument.
CLIENT = f"""{FORKING}
    import asyncio, uvloop
    address = sys.argv[1]
    stub, aio_stub = GreeterStub(rpc.insecure_channel(address)), GreeterStub(rpc.aio.insecure_channel(address))
    quick, stay, mute = (HelloRequest(name=name) for name in ("quick", "stay", "mute"))

    async def aio():
        return await aio_stub.SayHello(quick, timeout=20)
"""

# A server in a process of its own, so that the process under test has nothing but its client. Its handlers greet
# whoever is not called "mute", and then stay with everyone but "quick". An argument: so many streams of a connection.
ELSEWHERE = (
    PROLOGUE
    + """
    import os

    def script():
        asked = yield READ
        if asked.name != "mute":
            yield greet(asked)
        if asked.name != "quick":
            os.write(1, b"arrived\\n")  # whole, whoever else writes
            yield lambda context: threading.Event().wait(3600)

    server, address = serve(script, [("grpc.max_concurrent_streams", int(limit)) for limit in sys.argv[1:]])
    print(address, flush=True)
    threading.Event().wait()
"""
)


def python(program, *arguments, environment=None, **options):
    flags = ["-X", "dev", "-W", "error"]
    return subprocess.Popen(
        [sys.executable, *flags, "-c", textwrap.dedent(program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        cwd=ROOT,
        **options,
    )


def ended(process, patience=2 * PATIENCE):
    """Exit status, words of standard output, standard error."""
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out.split(), err
