"""Asyncio handlers, also those that end in their first step: each is a task of its own, in a context of its own."""

from __future__ import annotations

import asyncio
import contextvars
import sys

import pytest
import uvloop

import rpc.aio
from examples.hello.hello_pb2_grpc import GreeterServicer, GreeterStub, add_GreeterServicer_to_server
from tests.rpc.script import PATIENCE, greet, request

USER = contextvars.ContextVar("USER", default="nobody")


class Greeter(GreeterServicer):
    """Does what the test's coroutine function does before it answers."""

    def __init__(self, behaviour):
        self._behaviour = behaviour

    async def SayHello(self, asked, context):  # noqa: N802 - grpc's name
        await self._behaviour(asked)
        return greet(asked)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Run test(stub, server) beside a server whose handlers behave so; everything ends within PATIENCE."""

    async def both(behaviour, test):
        server = rpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        add_GreeterServicer_to_server(Greeter(behaviour), server)
        await server.start()
        async with asyncio.timeout(PATIENCE), rpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await test(GreeterStub(channel), server)
        await server.stop(None)

    def start(behaviour, test):
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(both(behaviour, test))

    return start


async def at_once(count, stub, prefix=""):
    replies = await asyncio.gather(*[stub.SayHello(request(f"{prefix}{n}"), timeout=PATIENCE) for n in range(count)])
    assert [reply.message for reply in replies] == [f"Hello, {prefix}{n}!" for n in range(count)]


async def all_over(server):
    if tasks := tuple(server._tasks):
        await asyncio.wait(tasks)
    assert not server._tasks


def test_each_call_is_a_task_of_its_own(run):
    tasks = []

    async def behaviour(asked):
        tasks.append(asyncio.current_task())
        if int(asked.name) % 2:
            await asyncio.sleep(0)
            assert tasks.count(asyncio.current_task()) == 1

    run(behaviour, lambda stub, _: at_once(50, stub))
    assert len(set(tasks)) == 50
    assert None not in tasks


def test_what_needs_a_task_works_in_the_first_step(run):
    async def behaviour(asked):
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            if int(asked.name) % 2:
                group.create_task(asyncio.sleep(0))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(PATIENCE)
        assert asyncio.current_task().cancelling() == 0

    run(behaviour, lambda stub, _: at_once(20, stub))


def test_what_a_handler_sets_in_its_context_stays_there(run):
    seen = []

    async def behaviour(asked):
        seen.append(USER.get())
        USER.set(asked.name)
        if int(asked.name) % 2:
            await asyncio.sleep(0)
            assert USER.get() == asked.name

    async def test(stub, _):
        await at_once(50, stub)
        assert USER.get() == "nobody"

    run(behaviour, test)
    assert seen == ["nobody"] * 50


def test_a_cancelled_call_cancels_its_handler_wherever_it_waits(run):
    cancelled = []

    async def test(stub, server):
        waits = asyncio.Event()

        async def behaviour(_):
            waits.set()
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                cancelled.append(asyncio.current_task())
                raise

        server_behaviour.append(behaviour)
        call = stub.SayHello(request("Ann"))
        await waits.wait()
        call.cancel()
        await all_over(server)

    server_behaviour = []

    async def behaviour(asked):
        await server_behaviour[0](asked)

    run(behaviour, test)
    assert len(cancelled) == 1


def test_a_handler_that_cancels_itself_ends_its_own_call_only(run):
    async def behaviour(asked):
        if asked.name == "bad":
            asyncio.current_task().cancel()

    async def test(stub, _):
        for n in range(10):
            bad = stub.SayHello(request("bad"))
            await asyncio.wait([asyncio.ensure_future(bad.code())])
            await at_once(3, stub, prefix=f"{n}/")

    run(behaviour, test)


def test_finished_handlers_leave_nothing_behind(run):
    async def behaviour(asked):
        if int(asked.name) % 2:
            await asyncio.sleep(0)

    async def test(stub, server):
        await at_once(50, stub)
        await all_over(server)

    run(behaviour, test)


def test_a_task_factory_of_the_loop_is_asked(run):
    made = []

    def factory(loop, coroutine, **how):
        made.append(coroutine.__name__)
        return asyncio.Task(coroutine, loop=loop, **how)

    async def nothing(_):
        """Answer at once."""

    async def test(stub, _):
        asyncio.get_running_loop().set_task_factory(factory)
        await at_once(10, stub)

    run(nothing, test)
    assert made.count("serve_call") == 10


def test_where_python_can_a_handler_is_begun_at_once(run):
    """Without a place in the loop's queue, that is: when the handler of a call runs, none of another is waiting."""
    queued = []

    async def behaviour(_):
        queued.append(sum(task.get_coro().__name__ == "serve_call" for task in asyncio.all_tasks()))

    run(behaviour, lambda stub, _: at_once(50, stub))
    if sys.version_info >= (3, 12):
        assert max(queued) == 1
    assert len(queued) == 50
