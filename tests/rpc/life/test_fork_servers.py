"""Forks: servers stay with the process that they are of. Each test is a program whose parent has used what its children
inherit.
"""

from __future__ import annotations

import pytest

from tests.rpc.programs import CALLS, CLIENT, FORKING, ended, python


def test_a_handler_may_fork_and_its_server_serves_on(elsewhere):
    program = f"""{CLIENT}
    def forking():
        asked = yield READ
        assert status(fork(child)) == 0
        yield greet(asked)

    def child():
        {CALLS["unary"]}  # elsewhere
        assert server.stop(None).wait(0)  # it is over here
        assert not server.wait_for_termination(0)

    server, there = serve(forking)
    own = GreeterStub(rpc.insecure_channel(there))
    for _ in range(3):
        assert own.SayHello(quick, timeout=30).message == "Hello, quick!"
    print("end")
    """
    assert ended(python(program, elsewhere[0])) == (0, ["end"], "")


def test_an_asyncio_server_and_its_clients_go_on_after_a_fork_in_their_loop(elsewhere):
    """multiprocessing starts children from inside coroutines, too; they never come back to the loop."""
    program = f"""{CLIENT}
    def forking():
        asked = yield READ
        assert status(fork(child)) == 0
        yield greet(asked)

    def child():
        {CALLS["aio"]}
        {CALLS["unary"]}

    async def main():
        server = rpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        add_GreeterServicer_to_server(AioServicer(forking), server)
        await server.start()
        own = GreeterStub(rpc.aio.insecure_channel(f"127.0.0.1:{{port}}"))
        for _ in range(3):
            assert (await own.SayHello(quick, timeout=30)).message == "Hello, quick!"
            assert (await aio_stub.SayHello(quick, timeout=30)).message == "Hello, quick!"
        await server.stop(0)

    (uvloop if "uvloop" in sys.argv else asyncio).run(main())
    print("end")
    """
    for loop in ("stock", "uvloop"):
        assert ended(python(program, elsewhere[0], loop)) == (0, ["end"], "")


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_a_server_bound_before_the_fork_is_started_by_the_children(kind):
    """Prefork: all children accept from the one port, and the parent from none."""
    program = f"""{FORKING}
    import asyncio, grpc
    kind = sys.argv[1]

    def script():
        yield READ
        yield greet(HelloRequest(name=str(os.getpid())))

    def sync_child():
        server.start()
        os.write(1, b"serving\\n")
        server.wait_for_termination()

    async def aio_child():
        await server.start()
        os.write(1, b"serving\\n")
        await server.wait_for_termination()

    if kind == "sync":
        pool = futures.ThreadPoolExecutor(4)  # has no thread before its first job
        server, servicer, child = rpc.server(pool), SyncServicer(script), sync_child
    else:
        server, servicer, child = rpc.aio.server(), AioServicer(script), lambda: asyncio.run(aio_child())
    port = server.add_insecure_port("127.0.0.1:0")
    add_GreeterServicer_to_server(servicer, server)
    children = {{fork(child) for _ in range(3)}}

    answered = set()
    for _ in range(2000):  # who accepts is the kernel's choice, and rarely the same child for long
        with rpc.insecure_channel(f"127.0.0.1:{{port}}") as channel:
            said = GreeterStub(channel).SayHello(HelloRequest(), timeout=20, wait_for_ready=True).message
        answered.add(int(said.removeprefix("Hello, ").removesuffix("!")))
        if answered == children:
            break
    assert answered <= children and len(answered) > 1, (answered, children)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    print("end")
    """
    code, out, err = ended(python(program, kind))
    assert (code, sorted(out), err) == (0, ["end", *["serving"] * 3], "")


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_a_server_that_was_started_before_the_fork_is_over_in_the_child(kind):
    program = f"""{FORKING}
    import asyncio, pytest

    def child():
        assert not server.ready
        with pytest.raises(ValueError, match="before the server is started"):
            server.add_insecure_port("127.0.0.1:0")

    async def aio_start():
        await server.start()
        forked()

    def forked():
        assert server.ready
        assert status(fork(child)) == 0
        assert server.ready
        print("end")

    server = rpc.server(None) if sys.argv[1] == "sync" else rpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    if sys.argv[1] == "sync":
        server.start()
        forked()
    else:
        asyncio.run(aio_start())
    """
    assert ended(python(program, kind)) == (0, ["end"], "")
