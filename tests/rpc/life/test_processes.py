"""Whole processes: signals while a call waits, and the end of the interpreter with everything still open."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from tests.rpc.programs import PROLOGUE, ended, python

WAITING_CALLS = {
    "unary": "stub.SayHello(mute, timeout=600)",
    "server stream": "list(stub.ListHellos(mute, timeout=600))",
    "client stream": "stub.CollectHellos(iter([mute]), timeout=600)",
    "bidi": "list(stub.Chat(iter([mute]), timeout=600))",
    "future": "stub.SayHello.future(mute, timeout=600).result()",
    "client stream's future": "stub.CollectHellos.future(iter([mute]), timeout=600).exception()",
    "code": "stub.ListHellos(mute, timeout=600).code()",
    "initial metadata": "stub.ListHellos(mute, timeout=600).initial_metadata()",
    "requests that are too many": "stub.CollectHellos(endless(), timeout=600)",
    "aio": "asyncio.run(aio())",
    "uvloop": "uvloop.run(aio())",
}


@pytest.mark.parametrize("call", WAITING_CALLS.values(), ids=WAITING_CALLS)
def test_ctrl_c_interrupts_a_call_that_waits(elsewhere, call):
    address, next_arrival = elsewhere
    program = f"""{PROLOGUE}
    import asyncio, uvloop
    stub, mute = GreeterStub(rpc.insecure_channel(sys.argv[1])), HelloRequest(name="mute")

    def endless():
        while True:
            yield HelloRequest(name="mute", payload=bytes(1 << 16))

    async def aio():
        await GreeterStub(rpc.aio.insecure_channel(sys.argv[1])).SayHello(mute, timeout=600)

    try:
        {call}
    except KeyboardInterrupt:
        print("interrupted")
    """
    process = python(program, address)
    assert next_arrival() == "arrived\n"
    process.send_signal(signal.SIGINT)
    assert ended(process) == (0, ["interrupted"], "")


OTHER_WAITS = {
    "a call for its server": "stub.SayHello(HelloRequest(), wait_for_ready=True, timeout=600)",
    "a future for its server": "stub.SayHello.future(HelloRequest(), wait_for_ready=True, timeout=600).result()",
    "a stream for its server": "next(stub.ListHellos(HelloRequest(), wait_for_ready=True, timeout=600))",
    "a channel for readiness": "grpc.channel_ready_future(channel).result(600)",
    "a server for its end": "server.wait_for_termination()",
    "a stopping server for its last call": "linger()",
}


@pytest.mark.parametrize("wait", OTHER_WAITS)
def test_ctrl_c_interrupts(wait):
    program = f"""{PROLOGUE}
    import grpc
    channel = rpc.insecure_channel("127.0.0.1:1")
    stub = GreeterStub(channel)

    arrived = threading.Event()

    def stay():
        yield READ
        arrived.set()
        yield lambda context: threading.Event().wait(2)  # the interpreter's end waits for it

    server, there = serve(stay)

    def linger():
        call = GreeterStub(rpc.insecure_channel(there)).SayHello.future(HelloRequest())
        arrived.wait()
        server.stop(600).wait()

    print("ready", flush=True)
    try:
        {OTHER_WAITS[wait]}
    except KeyboardInterrupt:
        print("interrupted")
    """
    process = python(program)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)  # inside the call by now; earlier would interrupt as well
    process.send_signal(signal.SIGINT)
    assert ended(process) == (0, ["interrupted"], "")


def test_after_ctrl_c_the_channel_still_works(elsewhere):
    address, next_arrival = elsewhere
    program = f"""{PROLOGUE}
    stub = GreeterStub(rpc.insecure_channel(sys.argv[1]))
    for _ in range(3):
        try:
            stub.SayHello(HelloRequest(name="mute"), timeout=600)
        except KeyboardInterrupt:
            print(stub.SayHello(HelloRequest(name="quick"), timeout=60).message)
    """
    process = python(program, address)
    for _ in range(3):
        assert next_arrival() == "arrived\n"
        process.send_signal(signal.SIGINT)
    assert ended(process) == (0, ["Hello,", "quick!"] * 3, "")


ENDS = {
    "an open channel": "stub.SayHello(HelloRequest(name='quick'))",
    "a future in flight": "call = stub.SayHello.future(stay)",
    "a stream half read": "call = stub.ListHellos(stay); next(call)",
    "a conversation half held": "call = stub.Chat(iter(requests.get, None)); next(call)",
    "a thread in a call": "call = threading.Thread(target=stub.SayHello, args=(stay,), daemon=True); call.start()",
    "a thread that reads a stream": "call = threading.Thread(target=lambda: list(stub.ListHellos(stay)), daemon=True);"
    "call.start()",
    "a call that cannot connect": "call = lost.SayHello.future(stay, wait_for_ready=True)",
    "a server that was not stopped": "server, there = serve(polite);"
    "GreeterStub(rpc.insecure_channel(there)).SayHello(stay)",
    "an asyncio call in flight": "asyncio.run(leave('SayHello'))",
    "an asyncio stream in flight": "asyncio.run(leave('ListHellos'))",
    "an asyncio server that was not stopped": "asyncio.run(leave_server())",
    "a call in flight in uvloop": "uvloop.run(leave('SayHello'))",
    "a client stream's future in flight": "call = stub.CollectHellos.future(iter(requests.get, None))",
    "a subscription to a channel": "told = channel.subscribe(lambda state: None, try_to_connect=True)",
    "a wait for a channel": "ready = grpc.channel_ready_future(rpc.insecure_channel('127.0.0.1:1'))",
}
NO_ARRIVAL = {name for name in ENDS if name.endswith(("stopped", "connect", "channel"))}


@pytest.mark.parametrize("left", ENDS)
def test_a_process_ends_quietly_with(left, elsewhere):
    address, next_arrival = elsewhere
    program = f"""{PROLOGUE}
    import asyncio, grpc, queue, uvloop
    channel = rpc.insecure_channel(sys.argv[1])
    stub, stay = GreeterStub(channel), HelloRequest(name="stay")
    lost = GreeterStub(rpc.insecure_channel("127.0.0.1:1"))
    requests = queue.SimpleQueue()
    requests.put(stay)

    async def leave(method):
        call = getattr(GreeterStub(rpc.aio.insecure_channel(sys.argv[1])), method)(stay)
        await asyncio.to_thread(sys.stdin.readline)

    async def leave_server():
        server = rpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        add_GreeterServicer_to_server(AioServicer(polite), server)
        await server.start()
        await GreeterStub(rpc.aio.insecure_channel(f"127.0.0.1:{{port}}")).SayHello(stay)

    {ENDS[left]}
    sys.stdin.readline()
    print("end")
    """
    process = python(program, address, stdin=subprocess.PIPE)
    if left not in NO_ARRIVAL:
        assert next_arrival() == "arrived\n"
    process.stdin.write("go\ngo\n")
    process.stdin.flush()
    assert ended(process) == (0, ["end"], "")


MESH_ENDS = {
    "an open channel": "channel = open()",
    "a call in flight": "call = GreeterStub(open()).SayHello.future(HelloRequest())",
    "an asyncio channel": "asyncio.run(greeted())",
    "a channel without a configuration": "channel = rpc.insecure_channel('xds:///nobody.demo:1')",
}


@pytest.mark.parametrize("left", MESH_ENDS)
def test_a_member_of_a_mesh_ends_quietly_with(left, mesh):
    program = f"""{PROLOGUE}
    import asyncio

    def open():
        channel = rpc.insecure_channel("xds:///reviews.demo:9080")
        GreeterStub(channel).SayHello(HelloRequest(), timeout=30)
        return channel

    async def greeted():
        await GreeterStub(rpc.aio.insecure_channel("xds:///reviews.demo:9080")).SayHello(HelloRequest(), timeout=30)

    {MESH_ENDS[left]}
    print("end")
    """
    assert ended(mesh.program(program)) == (0, ["end"], "")
