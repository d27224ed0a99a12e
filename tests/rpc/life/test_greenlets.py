"""gevent and eventlet: a process that they have patched is told so at once, where its calls would wait for ever."""

import pytest

from tests.rpc.programs import ended, python

PATCH = {
    "gevent": "from gevent import monkey; patch = monkey.patch_all",
    "eventlet": """
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import eventlet
patch = eventlet.monkey_patch
""",
}
WORDS = {
    "gevent": "gevent.monkey.patch_all() has put greenlets",
    "eventlet": "eventlet.monkey_patch() has put greenlets",
}

EARLY = """
patch()
import asyncio
from concurrent import futures
import rpc, rpc.aio
import xds_client

async def aio_server():
    rpc.aio.server()

for make in (
    lambda: rpc.server(futures.ThreadPoolExecutor(1)),
    lambda: rpc.insecure_channel("127.0.0.1:1"),
    lambda: rpc.aio.insecure_channel("127.0.0.1:1"),
    lambda: rpc.aio.server(),
    lambda: xds_client.PilotExchanger(None),
):
    try:
        make()
    except RuntimeError as error:
        print(error)
"""

# What was made before the patch: the first call, and the start of a server.
LATE = """
from concurrent import futures
import rpc
server = rpc.server(futures.ThreadPoolExecutor(1))
channel = rpc.insecure_channel("127.0.0.1:1")
patch()
for use in (
    server.start,
    lambda: channel.unary_unary("/any/Method")(b"", timeout=5),
    lambda: next(channel.unary_stream("/any/Method")(b"", timeout=5)),
    lambda: channel.unary_unary("/any/Method").future(b"", timeout=5).result(),
):
    try:
        use()
    except RuntimeError as error:
        print(error)
import os
os._exit(0)  # what was made is of no use now, and its locks are of two kinds
"""


def lines(program):
    process = python(program)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.splitlines()


@pytest.mark.parametrize("library", PATCH)
@pytest.mark.parametrize(("program", "refused"), [(EARLY, 5), (LATE, 4)], ids=["patched first", "patched later"])
def test_a_patched_process_is_refused_by_one_sentence_and_does_not_hang(library, program, refused):
    said = lines(PATCH[library] + program)
    assert len(said) == refused, said
    for line in said:
        assert line.startswith(WORDS[library])
        assert "run it in a process that is not patched (gunicorn: worker class gthread" in line


# Other parts may be patched: nothing of them is waited in here.
UNHARMED = """
import gevent.monkey
gevent.monkey.patch_subprocess()
from tests.rpc.programs import PROLOGUE
import textwrap
exec(textwrap.dedent(PROLOGUE))
server, address = serve(polite)
with rpc.insecure_channel(address) as channel:
    print(GreeterStub(channel).SayHello(HelloRequest(name="Ann"), timeout=30).message)
server.stop(None).wait()
"""


def test_a_process_whose_threads_are_threads_is_served():
    status, words, errors = ended(python(UNHARMED))
    assert (status, words) == (0, ["Hello,", "Ann!"]), errors
