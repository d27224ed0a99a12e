"""Which resolver a target string means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rpc.resolver.static import StaticResolution
from rpc.resolver.xds import XdsResolution
from xds_client.model import InvalidTargetError, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client import PilotExchanger
    from xds_client.identity import IdentitySource
    from xds_client.model import TargetConfig, TargetMissing


class Resolution(Protocol):
    """Where a channel's configuration comes from. ``identity``: the process's in the mesh, on a mesh target."""

    @property
    def identity(self) -> IdentitySource | None: ...

    def start(self, on_config: Callable[[TargetConfig | TargetMissing], None]) -> None:
        """Begin; ``on_config`` may be called at once, and from another thread later."""

    def resume(self) -> None:
        """Go on in the child of a fork; otherwise nothing. Cheap; any thread."""

    def waiting_for(self) -> str:
        """What is missing while there is no configuration yet, for messages."""

    def close(self) -> None:
        """End; ``on_config`` is not called afterwards."""


def parse(target: str, mesh: PilotExchanger | None) -> Resolution:
    """``xds:///host:port`` or ``host:port``; anything else raises `InvalidTargetError` that says what is understood."""
    if target.startswith("xds:"):
        return XdsResolution(Target.parse(target), mesh)
    if "://" in target or target.startswith(("dns:", "unix:", "unix-abstract:", "ipv4:", "ipv6:")):
        raise InvalidTargetError(f"{target!r}: this release understands xds:///host:port and host:port")
    host, colon, port = target.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:  # noqa: PLR2004
        raise InvalidTargetError(f"{target!r}: a target is written host:port, or xds:///host:port for one of the mesh")
    return StaticResolution(host.removeprefix("[").removesuffix("]"), int(port))
