"""The end of an interpreter with everything still open."""

from __future__ import annotations

import subprocess

import pytest

from tests.rpc.programs import PROLOGUE, ended, python

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
