"""Ctrl-C while a call, or whatever else a channel or server offers, waits."""

from __future__ import annotations

import signal
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
