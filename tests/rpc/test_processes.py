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
    "future": "stub.SayHello.future(mute, timeout=600).result()",
    "aio": "asyncio.run(aio())",
}


@pytest.mark.parametrize("call", WAITING_CALLS.values(), ids=WAITING_CALLS)
def test_ctrl_c_interrupts_a_call_that_waits(elsewhere, call):
    address, next_arrival = elsewhere
    program = f"""{PROLOGUE}
    import asyncio
    stub, mute = GreeterStub(rpc.insecure_channel(sys.argv[1])), HelloRequest(name="mute")

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


def test_ctrl_c_interrupts_a_call_that_waits_for_its_server():
    program = f"""{PROLOGUE}
    stub = GreeterStub(rpc.insecure_channel("127.0.0.1:1"))
    print("ready", flush=True)
    try:
        stub.SayHello(HelloRequest(), wait_for_ready=True, timeout=600)
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
}
NO_ARRIVAL = {name for name in ENDS if name.endswith(("stopped", "connect", "channel"))}


@pytest.mark.parametrize("left", ENDS)
def test_a_process_ends_quietly_with(left, elsewhere):
    address, next_arrival = elsewhere
    program = f"""{PROLOGUE}
    import asyncio, queue
    stub, stay = GreeterStub(rpc.insecure_channel(sys.argv[1])), HelloRequest(name="stay")
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
