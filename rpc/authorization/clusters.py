"""How filters call services of the mesh: by a cluster's name, over channels of our own.

Channels are made of rooms that stand on this one, so `rpc` says at its import how one is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import grpc

    from xds_client import PilotExchanger


class Open(Protocol):
    def __call__(
        self, cluster: str, mesh: PilotExchanger | None, authority: str, longest: int | None, /
    ) -> grpc.Channel: ...


_openers: list[Open] = []


def channels_by(opener: Open) -> None:
    """From now on channels to clusters are what this makes."""
    _openers[:] = [opener]


def channel_to(cluster: str, mesh: PilotExchanger | None, authority: str, longest: int | None = None) -> grpc.Channel:
    """With the mesh's endpoints of the cluster, and its TLS. ``authority``: what requests say; ``longest``: bytes of a
    message that is taken. Nobody has to close it: it ends with whoever holds it.
    """
    return _openers[0](cluster, mesh, authority, longest)
