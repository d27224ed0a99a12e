"""The server that is measured, and its servicers: echoes of what is asked, nothing else."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.stacks import Stack

_ANY_PORT = "127.0.0.1:0"


def serve(stack: Stack) -> None:
    """Print the port, serve until standard input ends."""
    server = stack.server()
    stack.equip(server, False)
    port = stack.bind(server, _ANY_PORT)
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0).wait(5)


async def serve_aio(stack: Stack) -> None:
    """The same in the running loop."""
    server = stack.aio_server()
    stack.equip(server, True)
    port = stack.bind(server, _ANY_PORT)
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(0)
