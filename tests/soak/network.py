"""A bad network, as a process of its own: connections through it are cut after a while, some with RST, some politely.

python -m tests.soak.network SEED        prints its port; each line of standard input is the port to forward to now
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import sys

LIFETIMES = (0.05, 2.0)  # seconds
POLITE = 0.5  # of the cuts
AT_ONCE = struct.pack("ii", 1, 0)


class Network:
    def __init__(self, seed):
        self._random = random.Random(seed)
        self.target = 0

    async def connection(self, reader, writer):
        ends = self._random.uniform(*LIFETIMES)
        polite = self._random.random() < POLITE
        writers = [writer]
        with contextlib.suppress(OSError, TimeoutError):
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self.target)
            writers.append(onward_writer)
            async with asyncio.timeout(ends):
                await asyncio.gather(copy(reader, onward_writer), copy(onward_reader, writer))
        for each in writers:
            if not polite and not each.is_closing():
                each.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            each.close()
        for each in writers:
            with contextlib.suppress(OSError):
                await each.wait_closed()


async def copy(reader, writer):
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


async def main(seed):
    network = Network(seed)
    server = await asyncio.start_server(network.connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - who started this reads it
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        network.target = int(line)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
