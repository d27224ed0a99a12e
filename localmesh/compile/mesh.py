"""What holds for the whole mesh, whoever asks: a value that the compilers of all resources are handed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localmesh.compile.guards import Guards
    from localmesh.compile.peer_policy import PeerPolicies
    from localmesh.config import MeshConfig


@dataclass(frozen=True, slots=True)
class Mesh:
    config: MeshConfig
    cluster_id: str
    peers: PeerPolicies
    guards: Guards
