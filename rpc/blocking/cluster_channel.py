"""Channels to one cluster of the mesh, whatever routes say: for filters that ask a service (`rpc.authorization`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rpc.blocking.channel import Channel
from rpc.resolver.xds import XdsResolver
from xds_client.model import Target

if TYPE_CHECKING:
    import grpc

    from xds_client import PilotExchanger


def cluster_channel(cluster: str, mesh: PilotExchanger | None, authority: str, longest: int | None) -> grpc.Channel:
    """See `rpc.authorization.clusters.channel_to`."""
    options: list[tuple[str, Any]] = [("grpc.default_authority", authority), ("grpc.enable_retries", 0)]
    if longest is not None:
        options.append(("grpc.max_receive_message_length", longest))
    resolver = XdsResolver(Target.of_cluster(cluster), mesh)
    return Channel(f"xds:///{cluster}", options, None, mesh, resolver=resolver)
