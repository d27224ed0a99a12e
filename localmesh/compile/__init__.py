"""Typed Istio config to sidecar-kind xDS, as istiod compiles it."""

from localmesh.compile.snapshot import Snapshot
from localmesh.compile.view import Locality, View

__all__ = ["Locality", "Snapshot", "View"]
