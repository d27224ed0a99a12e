"""Memory of big messages goes back to the system when they are gone."""

from __future__ import annotations

import pytest

from tests.rpc.costs import MIB
from tests.rpc.programs import PROLOGUE, ended, python

# 48 callers at a time echo messages of 1 MiB. What the process has then that it did not have before, in MiB; it may
# take a while until it is noticed that no more of them come.
CALLERS, ROUNDS, PATIENCE = 48, 6, 20.0
SYNC = """
    server, address = serve(echo)
    with rpc.insecure_channel(address) as channel:
        stub = GreeterStub(channel)

        def call():
            for _ in range(ROUNDS):
                assert len(stub.SayHello(HelloRequest(payload=payload)).payload) == len(payload)

        before = resident()
        callers = [threading.Thread(target=call) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        print(settled(before, time.sleep))
    server.stop(0).wait()
"""
AIO = """
    import asyncio

    async def main():
        server = rpc.aio.server()
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        add_GreeterServicer_to_server(AioServicer(echo), server)
        await server.start()
        async with rpc.aio.insecure_channel(address) as channel:
            stub = GreeterStub(channel)

            async def call():
                for _ in range(ROUNDS):
                    assert len((await stub.SayHello(HelloRequest(payload=payload))).payload) == len(payload)

            before = resident()
            await asyncio.gather(*(call() for _ in range(CALLERS)))
            print(settled(before, time.sleep))
        await server.stop(0)

    asyncio.run(main())
"""
ECHO = f"""
    import gc, time
    from examples.hello.hello_pb2 import HelloReply
    from tests.rpc.costs import resident

    CALLERS, ROUNDS = {CALLERS}, {ROUNDS}
    payload = bytes({MIB})

    def echo():
        asked = yield READ
        yield HelloReply(payload=asked.payload)

    def settled(before, sleep):
        gc.collect()
        until = time.monotonic() + {PATIENCE}
        while (grown := (resident() - before) // {MIB}) >= {CALLERS} and time.monotonic() < until:
            sleep(0.2)
        return grown
"""


@pytest.mark.parametrize("program", [SYNC, AIO], ids=["sync", "aio"])
def test_memory_of_big_messages_goes_back(program):
    status, said, errors = ended(python(PROLOGUE + ECHO + program), patience=90)
    assert status == 0, errors
    assert int(said[-1]) < CALLERS
