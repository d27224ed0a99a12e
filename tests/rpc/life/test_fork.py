"""Forks: channels work in parent and child, and neither disturbs the other. For servers see `test_fork_servers.py`.

Each test is a program whose parent has used what its children inherit.
"""

from __future__ import annotations

import pytest

from tests.rpc.programs import CALLS, CLIENT, ELSEWHERE, ended, python


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_parent_child_and_grandchild_call_by_turns(elsewhere, call):
    program = f"""{CLIENT}
    def call():
        {call}

    def child():
        call()
        assert status(fork(call)) == 0
        call()

    for _ in range(3):
        call()
        assert status(fork(child)) == 0
    call()
    print("end")
    """
    assert ended(python(program, elsewhere[0])) == (0, ["end"], "")


@pytest.mark.timeout(660)
def test_forks_under_traffic_lose_no_call(elsewhere, request):
    """In the parent, threads and two event loops call all the time; children call at once and do not wait for them."""
    program = f"""{CLIENT}
    forks, side_by_side = int(sys.argv[2]), 3
    stopping, calls = threading.Event(), []

    def in_threads():
        while not stopping.is_set():
            {CALLS["unary"]}
            {CALLS["future"]}
            {CALLS["server stream"]}
            calls.append(1)

    async def in_loop():
        stub = GreeterStub(rpc.aio.insecure_channel(address))
        while not stopping.is_set():
            await asyncio.gather(*(stub.SayHello(quick, timeout=20) for _ in range(8)))
            calls.append(8)

    def child():
        {CALLS["unary"]}
        {CALLS["future"]}
        {CALLS["bidi"]}
        {CALLS["aio"]}

    with futures.ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(run) for run in (in_threads, in_threads)]
        runs += [pool.submit(run, in_loop()) for run in (asyncio.run, uvloop.run)]
        statuses = []
        for first in range(0, forks, side_by_side):
            statuses += map(status, [fork(child) for _ in range(min(side_by_side, forks - first))])
        stopping.set()
        for run in runs:
            run.result()
    assert set(statuses) == {{0}}, statuses
    assert len(statuses) == forks
    assert sum(calls) > forks
    print("end")
    """
    process = python(program, elsewhere[0], str(request.config.getoption("forks")))
    assert ended(process, patience=600) == (0, ["end"], "")


def test_calls_in_progress_are_the_parents(elsewhere):
    program = f"""{CLIENT}
    from grpc import StatusCode
    future, stream = stub.SayHello.future(mute), stub.ListHellos(stay)
    lost = GreeterStub(rpc.insecure_channel("127.0.0.1:1"))
    waiting = lost.SayHello.future(quick, wait_for_ready=True)
    assert next(stream).message == "Hello, stay!"

    def child():
        for call in (future, waiting, stream):
            assert call.code() is StatusCode.CANCELLED, call.code()
            assert "forked" in call.details()
        assert list(stub.ListHellos(quick))

    assert status(fork(child)) == 0
    assert not future.done() and not waiting.done() and stream.is_active()
    for call in (future, waiting, stream):
        call.cancel()
        assert call.code() is StatusCode.CANCELLED
    print("end")
    """
    assert ended(python(program, elsewhere[0])) == (0, ["end"], "")


def test_a_child_keeps_nothing_of_its_parents_open(elsewhere):
    """Else a peer would not see the parent hang up, as long as some child lives."""
    program = f"""{CLIENT}
    import gc

    def sockets():
        links = (os.readlink(entry) for entry in os.scandir("/proc/self/fd") if os.path.exists(entry))
        return sum(link.startswith("socket:") for link in links)

    server, there = serve(polite)
    own = GreeterStub(rpc.insecure_channel(there))
    own.SayHello(quick)
    stub.SayHello(quick)
    assert sockets() == 4, sockets()  # a listener, both ends of a connection, and one to elsewhere

    def child():
        assert sockets() == 0, sockets()
        {CALLS["unary"]}
        assert sockets() == 1, sockets()
        assert status(fork(grandchild)) == 0
        {CALLS["unary"]}

    def grandchild():
        assert sockets() == 0, sockets()

    assert status(fork(child)) == 0
    own.SayHello(quick)
    print("end")
    """
    assert ended(python(program, elsewhere[0])) == (0, ["end"], "")


@pytest.mark.parametrize("leave", ["sys.exit(7)", "raise SystemExit(7)", "gc.collect(); sys.exit(7)"])
def test_a_child_that_ends_like_any_program_leaves_the_parent_alone(elsewhere, leave):
    """With all destructors and exit hooks of what it inherited, half of it used."""
    program = f"""{CLIENT}
    import gc, time
    server, there = serve(polite)
    own, half = GreeterStub(rpc.insecure_channel(there)), stub.ListHellos(stay)
    own.SayHello(quick), next(half)
    asyncio.run(aio())
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        {CALLS["unary"]}
        {leave}
    assert status(pid) == 7
    {CALLS["unary"]}
    own.SayHello(quick)
    assert half.is_active()
    print("end")
    """
    assert ended(python(program, elsewhere[0])) == (0, ["end"], "")


def test_multiprocessing_and_process_pools_that_fork(elsewhere):
    program = f"""{CLIENT}
    import multiprocessing

    def call(number):
        return stub.SayHello(quick, timeout=30).message

    fork_context = multiprocessing.get_context("fork")
    for _ in range(2):
        {CALLS["unary"]}
        with fork_context.Pool(3) as pool:
            assert set(pool.map(call, range(30))) == {{"Hello, quick!"}}
            {CALLS["unary"]}
        with futures.ProcessPoolExecutor(3, mp_context=fork_context) as pool:
            assert set(pool.map(call, range(30))) == {{"Hello, quick!"}}
    print("end")
    """
    assert ended(python(program, elsewhere[0])) == (0, ["end"], "")


def test_other_programs_may_be_started_meanwhile(elsewhere):
    program = f"""{CLIENT}
    import subprocess
    stream = stub.Chat(iter([stay]))
    next(stream)
    for how in ({{}}, {{"close_fds": False}}, {{"start_new_session": True}}):
        subprocess.run(["true"], check=True, **how)
        {CALLS["unary"]}
    assert stream.is_active()
    print("end")
    """
    assert ended(python(program, elsewhere[0])) == (0, ["end"], "")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_child_of_one_whose_connections_are_full_has_its_own(call):
    """Neither the parent's streams nor its queue are the child's."""
    program = f"""{CLIENT}
    import grpc, time
    options = [("grpc.max_connections_per_subchannel_cap", 2)]
    stub = GreeterStub(rpc.insecure_channel(address, options))
    aio_stub = GreeterStub(rpc.aio.insecure_channel(address, options))

    def child():
        {call}
        {call}

    staying = [stub.ListHellos(stay) for _ in range(4)]
    for each in staying:
        assert next(each).message == "Hello, stay!"
    waiting = stub.SayHello.future(quick, timeout=60)
    for _ in range(3):
        assert status(fork(child)) == 0
    assert not waiting.done()
    try:
        stub.SayHello(quick, timeout=0.2)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, error
    staying.pop().cancel()
    assert waiting.result().message == "Hello, quick!"
    print("end")
    """
    with python(ELSEWHERE, "2") as server:
        address = server.stdout.readline().strip()
        assert ended(python(program, address)) == (0, ["end"], "")
        server.kill()
