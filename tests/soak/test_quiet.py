"""Members of a mesh that says nothing for a long time stay: nobody is thrown out because of his own pings.

In short the intervals of both ends are a hundred and fiftieth of what they are, and pings are counted on the wire; the
long form (`make soak`) waits as long as it is told, with everything as it is.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from pathlib import Path

from localmesh import LocalMesh
from localmesh.serve import servers
from xds_client import Bootstrap, PilotExchanger
from xds_client.channels import GRPCIO

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/hello/mesh"
SHORTER = 150
PINGS = 10  # C-core throws a member out at the third that comes too soon
PATIENCE = 60.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = 9
PING, GOAWAY, ACK = 6, 7, 1


class Sooner:
    """Channels whose pings are due sooner."""

    def __init__(self, channels):
        self._channels = channels

    def insecure(self, address, options):
        wanted = dict(options)
        wanted["grpc.keepalive_time_ms"] //= SHORTER
        return self._channels.insecure(address, tuple(wanted.items()))


class Wire:
    """Between a member and the mesh: counts connections, the member's pings, and what ends a connection."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self._mesh = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = self.pings = 0
        self.enough = threading.Event()  # pings; or the mesh has ended the connection
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                member, _ = self._listener.accept()
                self.connections += 1
                mesh = socket.create_connection(self._mesh)
                for way in ((member, mesh, self._of_member), (mesh, member, self._of_mesh)):
                    threading.Thread(target=carry, args=way, daemon=True).start()

    def _of_member(self, kind, flags):
        if kind == PING and not flags & ACK:
            self.pings += 1
            if self.pings >= PINGS:
                self.enough.set()

    def _of_mesh(self, kind, flags):
        if kind == GOAWAY:
            self.enough.set()


def carry(source, sink, tell):
    """Bytes from one to the other; the frames among them are told of by kind and flags."""
    rest = b""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
            rest = (rest + data).removeprefix(PREFACE)
            while len(rest) >= HEAD and len(rest) >= (end := HEAD + int.from_bytes(rest[:3])):
                tell(rest[3], rest[4])
                rest = rest[end:]
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def test_who_pings_a_quiet_mesh_stays(monkeypatch):
    """grpcio's own channel: our engine pings every ten seconds at most, so that only the long form can tell of it."""
    monkeypatch.setattr(servers, "MIN_PING_INTERVAL_MS", servers.MIN_PING_INTERVAL_MS // SHORTER)
    with LocalMesh(FOLDER, watch=False) as mesh, contextlib.closing(Wire(mesh.address)) as wire:
        bootstrap = Bootstrap.load({"PROXYLESS_DISCOVERY_ADDRESS": wire.address, "PROXYLESS_SECURITY": "plaintext"})
        with PilotExchanger(bootstrap, channels=Sooner(GRPCIO)) as member:
            assert wire.enough.wait(PATIENCE)
            assert wire.pings >= PINGS, "thrown out"
            assert (wire.connections, member.status().connection.streams, mesh.open_streams) == (1, 1, 1)


LONG = """
import sys, time
from contextlib import ExitStack
from localmesh import LocalMesh
from rpc.engine_channels import EngineChannels
from xds_client import Bootstrap, PilotExchanger
from xds_client.channels import GRPCIO
from pathlib import Path

folder, secrets, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
with LocalMesh(folder) as mesh, ExitStack() as members:
    joined = []
    for channels in (GRPCIO, EngineChannels()):
        for kept in (None, secrets):
            bootstrap = Bootstrap.load(mesh.environment("demo", secrets=kept))
            joined.append(members.enter_context(PilotExchanger(bootstrap, channels=channels)))
    time.sleep(seconds)
    said = [member.status() for member in joined]
print([(status.connected, status.connection.streams) for status in said])
"""


def test_members_of_a_mesh_that_is_quiet_for_long_stay(tmp_path, request):
    """Both stacks, with an identity and without; nothing reaches the terminal meanwhile."""
    seconds = request.config.getoption("quiet_seconds")
    command = [sys.executable, "-c", LONG, str(FOLDER), str(tmp_path), str(seconds)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, cwd=ROOT, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"{[(True, 1)] * 4}\n", "")
