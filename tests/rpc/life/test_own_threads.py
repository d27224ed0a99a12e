"""What a channel needs a thread for is done in one of our own, however many of a loop's its program has filled."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import rpc
import rpc.aio
from examples.hello.hello_pb2_grpc import GreeterStub
from rpc.workers import Workers
from tests.rpc.script import PATIENCE, polite, request


@pytest.fixture
def filled(aio_world):
    """A world whose loop has no thread free for anybody."""
    leave = threading.Event()
    pool = ThreadPoolExecutor(1)

    async def fill():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(pool)
        loop.run_in_executor(None, leave.wait)

    aio_world.loop.run(fill())
    yield aio_world
    leave.set()
    pool.shutdown()


def test_a_name_is_looked_up_though_handlers_wait_in_all_threads_of_the_loop(filled):
    port = filled.start_server(polite)[1]
    answer = filled.connect(f"localhost:{port}").call("unary", request("Ann"))
    assert answer.messages == ["Hello, Ann!"]


def test_call_credentials_are_asked_though_handlers_wait_in_all_threads_of_the_loop(filled):
    asked = threading.Event()

    class Plugin(grpc.AuthMetadataPlugin):
        def __call__(self, context, callback):
            asked.set()
            callback((("x-token", "1"),), None)

    port = filled.start_server(polite, credentials=rpc.local_server_credentials())[1]
    credentials = rpc.composite_channel_credentials(
        rpc.local_channel_credentials(), grpc.metadata_call_credentials(Plugin())
    )

    async def call():
        async with rpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            return (await GreeterStub(channel).SayHello(request("Ann"), timeout=PATIENCE)).message

    assert filled.loop.run(call()) == "Hello, Ann!"
    assert asked.is_set()


# ---- the threads themselves


def test_jobs_beyond_the_bound_wait_their_turn_and_threads_go_with_the_last():
    async def scene():
        workers = Workers("bounded workers", 2)
        both, leave = threading.Barrier(3), threading.Event()

        def stay():
            both.wait(PATIENCE)
            leave.wait(PATIENCE)

        first = [workers.run(stay) for _ in range(2)]
        await asyncio.to_thread(both.wait, PATIENCE)
        late = workers.run(lambda: "late")
        assert len([one for one in threading.enumerate() if one.name == "bounded workers"]) == 2
        leave.set()
        await asyncio.gather(*first)
        assert await late == "late"

    asyncio.run(scene())
    for thread in threading.enumerate():
        if thread.name == "bounded workers":
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_a_job_s_exception_is_its_result():
    async def scene():
        with pytest.raises(ZeroDivisionError):
            await Workers("failing workers", 1).run(lambda: 1 / 0)

    asyncio.run(scene())


def test_without_a_thread_a_job_fails(without_threads):
    without_threads()

    async def scene():
        with pytest.raises(OSError, match="no thread to be had"):
            await Workers("no workers", 1).run(lambda: None)

    asyncio.run(scene())
