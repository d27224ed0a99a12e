"""One measured process, client or server, pinned to a core. `bench.processes` starts them; by hand:

    python -m bench.worker server --stack ours --mode aio       prints its port, serves until standard input ends
    echo 1.5 | python -m bench.worker client --stack ours --mode aio --port PORT --load unary --concurrency 64

A client answers each line of standard input, a number of seconds, with one line of JSON: what it did in that time.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

import uvloop

from bench.crossings import Counter
from bench.loads import AioLoads, SyncLoads
from bench.pinned import pin
from bench.serving import serve, serve_aio
from bench.stacks import STACKS

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bench.measured import Done


def main() -> None:
    asked = _arguments()
    pin(asked.core)
    counter = Counter() if asked.crossings else None
    stack = STACKS[asked.stack]
    if asked.role == "server":
        if asked.mode == "aio":
            _run(serve_aio(stack), asked.loop)
        else:
            serve(stack)
    elif asked.mode == "aio":
        _run(_client_aio(asked), asked.loop)
    else:
        loads = SyncLoads(stack, asked.target, asked.payload, asked.concurrency)
        for line in sys.stdin:
            _answer(getattr(loads, asked.load)(float(line)))
    if counter is not None:
        print(counter.calls, flush=True)


async def _client_aio(asked: argparse.Namespace) -> None:
    stack = STACKS[asked.stack]
    if asked.stack == "engine":
        loads: Any = stack.aio_channel(asked.target, stack.request(asked.payload), asked.concurrency)
    else:
        loads = AioLoads(stack, asked.target, asked.payload, asked.concurrency)
    load = getattr(loads, asked.load)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        _answer(await load(float(line)))


def _run(main: Coroutine[Any, Any, None], loop: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(main)


def _answer(done: Done) -> None:
    print(json.dumps(dataclasses.asdict(done)), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.worker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--stack", choices=sorted(STACKS), required=True)
    parser.add_argument("--mode", choices=["sync", "aio"], required=True)
    parser.add_argument("--loop", choices=["uvloop", "stock"], default="uvloop", help="for --mode aio")
    parser.add_argument("--core", type=int, help="the core to run on; default: anywhere")
    parser.add_argument("--crossings", action="store_true", help="count them, and say last how many")
    parser.add_argument("--port", type=int, help="client: the server's port")
    parser.add_argument("--load", choices=["unary", "stream", "connect"], default="unary", help="client")
    parser.add_argument("--concurrency", type=int, default=1, help="client: threads or tasks")
    parser.add_argument("--payload", type=int, default=100, help="client: bytes in each message")
    asked = parser.parse_args()
    if asked.role == "client" and asked.port is None:
        parser.error("a client needs --port")
    if asked.mode == "aio" and asked.load == "connect":
        parser.error("--load connect is for --mode sync")
    asked.target = f"127.0.0.1:{asked.port}"
    return asked


if __name__ == "__main__":
    main()
