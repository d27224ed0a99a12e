"""Forks of members of a live mesh: the child goes on with what was known, and opens a stream of its own to call."""

from __future__ import annotations

import pytest

from tests.rpc.mesh import by_the_name_of
from tests.rpc.programs import FORKING, ended

CLIENT = f"""{FORKING}
    import asyncio, time, uvloop
    stub, aio_stub = (GreeterStub(each.insecure_channel("xds:///reviews.demo:9080")) for each in (rpc, rpc.aio))
    who = HelloRequest(name="you")

    async def aio():
        return await aio_stub.SayHello(who, timeout=30)

    def says(name):
        assert stub.SayHello(who, timeout=30).message == f"Hello, {{name}}!"
        assert len(list(stub.ListHellos(who, timeout=30))) == 1

    def connection():
        return rpc.mesh().status().connection

    def until(true):
        ends = time.monotonic() + 45
        while not true():
            assert time.monotonic() < ends, connection()
            time.sleep(0.02)

    def stream_threads():
        return [thread for thread in threading.enumerate() if thread.name.startswith("xds")]
"""


def test_a_child_calls_with_what_its_parent_knew_although_the_control_plane_is_gone(mesh):
    program = f"""{CLIENT}
    says("one")
    asyncio.run(aio())
    print("ready", flush=True)
    sys.stdin.readline()

    def child():
        says("one")
        assert uvloop.run(aio()).message == "Hello, one!"
        assert status(fork(lambda: says("one"))) == 0

    for _ in range(3):
        assert status(fork(child)) == 0
        says("one")
    print("end")
    """
    process = mesh.program(program, stdin=-1)
    assert process.stdout.readline() == "ready\n"
    mesh.plane.stop()
    process.stdin.write("go\n")
    process.stdin.flush()
    code, out, err = ended(process)
    assert (code, out) == (0, ["end"]), err


def test_parent_and_children_hear_of_changes_each_on_a_stream_of_its_own(mesh):
    program = f"""{CLIENT}
    def follows():
        until(lambda: stub.SayHello(who, timeout=30).message == "Hello, two!")

    def child():
        says("one")
        until(lambda: connection().phase.value == "connected")
        until(lambda: rpc.mesh().status().known)
        print("ready", flush=True)
        follows()

    says("one")
    children = [fork(child) for _ in range(3)]
    for pid in children:
        assert status(pid) == 0
    follows()
    assert connection().phase.value == "connected" and connection().streams == 1, connection()
    print("end")
    """
    process = mesh.program(program)
    for _ in range(3):
        assert process.stdout.readline() == "ready\n"
    mesh.route_to(by_the_name_of("two"))
    assert ended(process) == (0, ["end"], "")


def test_a_child_that_calls_nobody_has_no_stream_and_no_thread(mesh):
    program = f"""{CLIENT}
    says("one")
    assert stream_threads()

    def idle():
        assert stream_threads() == []
        assert connection().phase.value == "waiting" and "forked" in connection().last_error
        assert rpc.mesh().status().known

    def wakes():
        idle()
        says("one")
        assert stream_threads()
        until(lambda: connection().phase.value == "connected")

    assert status(fork(idle)) == 0
    assert status(fork(wakes)) == 0
    assert connection().streams == 1, connection()
    print("end")
    """
    assert ended(mesh.program(program)) == (0, ["end"], "")


def test_a_child_may_begin_with_what_its_parent_never_asked_for(mesh):
    """The exchanger was open, and nothing was observed, or its first configuration was on its way."""
    program = f"""{CLIENT}
    def child():
        says("one")
        assert asyncio.run(aio()).message == "Hello, one!"

    assert status(fork(child)) == 0
    says("one")
    print("end")
    """
    assert ended(mesh.program(program)) == (0, ["end"], "")


@pytest.mark.timeout(660)
def test_forks_under_traffic_in_the_mesh_lose_no_call(mesh, request):
    program = f"""{CLIENT}
    forks, side_by_side = int(sys.argv[1]), 3
    stopping = threading.Event()

    def traffic():
        while not stopping.is_set():
            says("one")

    def child():
        says("one")
        assert asyncio.run(aio()).message == "Hello, one!"

    says("one")
    with futures.ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(traffic) for _ in range(2)]
        statuses = []
        for first in range(0, forks, side_by_side):
            statuses += map(status, [fork(child) for _ in range(min(side_by_side, forks - first))])
        stopping.set()
        for run in runs:
            run.result()
    assert set(statuses) == {{0}}, statuses
    assert connection().phase.value == "connected" and connection().streams == 1, connection()
    print("end")
    """
    process = mesh.program(program, str(request.config.getoption("forks")))
    assert ended(process, patience=600) == (0, ["end"], "")
