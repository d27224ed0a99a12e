"""What else there is beside grpcio: programs that measured pairs are made of, and how they are built.

Their sources are here, what is built of them is in .build/peers. They speak as `bench.worker` does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_HERE = Path(__file__).parent
_BUILT = _HERE.parents[1] / ".build" / "peers"


class BuildError(Exception):
    """What was said on standard error tells why."""


@dataclass(frozen=True)
class Peer:
    """One program with both ends."""

    name: str
    title: str
    program: Path
    builder: Path
    tool: str

    def missing(self) -> str | None:
        """Why it cannot be built here."""
        return None if shutil.which(self.tool) else f"no '{self.tool}' on the PATH"


GRPC_GO = Peer("grpc-go", "grpc-go", _BUILT / "grpc-go", _HERE / "go" / "build", "go")
TONIC = Peer("tonic", "tonic", _BUILT / "tonic", _HERE / "rust" / "build", "cargo")
RAW = Peer("raw", "raw socket", _BUILT / "raw", _HERE / "rust" / "build", "cargo")
PEERS = {peer.name: peer for peer in (GRPC_GO, TONIC, RAW)}


def build(peer: Peer, say: Callable[[str], None]) -> None:
    """Build what is new of it; what its tools say goes to standard error. Raises `BuildError`."""
    say(f"building {peer.title} (minutes the first time)")
    environment = {**os.environ, "PYTHON": sys.executable}
    if subprocess.run([peer.builder], stdout=sys.stderr, env=environment, check=False).returncode != 0:
        raise BuildError(f"{peer.builder.relative_to(_HERE.parents[1])} failed, see above")
