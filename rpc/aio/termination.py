"""A pod's end, in the order that Kubernetes needs; see `rpc.blocking.termination` for the order and its reason."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from rpc.blocking.termination import ENDPOINT_DELAY, GRACE, say_what_follows

if TYPE_CHECKING:
    from rpc.aio.server import Server


async def serve_until_terminated(
    server: Server, *, endpoint_delay: float = ENDPOINT_DELAY, grace: float = GRACE
) -> None:
    """Wait for SIGTERM or SIGINT, then end the server without losing a call. In the main thread's loop only.

    Times in seconds, as for `rpc.serve_until_terminated`. A second signal ends at once.

    >>> async def main():
    ...     server = rpc.aio.server()
    ...     await server.start()
    ...     await rpc.aio.serve_until_terminated(server, endpoint_delay=5, grace=20)
    >>> asyncio.run(main())  # doctest: +SKIP
    """
    loop = asyncio.get_running_loop()
    asked: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.put_nowait, number)
    try:
        say_what_follows(await asked.get(), endpoint_delay, grace)
        server.announce_end()
        patience = grace
        try:
            await asyncio.wait_for(asked.get(), endpoint_delay)
            patience = 0.0
        except TimeoutError:
            pass
        await _stop(server, asked, patience)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _stop(server: Server, asked: asyncio.Queue[int], grace: float) -> None:
    stopping = asyncio.ensure_future(server.stop(grace))
    again = asyncio.ensure_future(asked.get())
    await asyncio.wait({stopping, again}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        await server.stop(None)
    again.cancel()
    await stopping
