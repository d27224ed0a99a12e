"""PeerAuthentication: which connections a workload accepts. Field meanings are Istio's (security/v1)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from localmesh.config.attachment import PolicySelector
from localmesh.config.decode import Spec
from localmesh.config.service_entry import MAX_PORT


class MtlsMode(Enum):
    """UNSET takes the mode of the wider scope."""

    UNSET = 0
    DISABLE = 1
    PERMISSIVE = 2
    STRICT = 3


@dataclass(frozen=True, slots=True)
class MutualTls(Spec):
    mode: MtlsMode = MtlsMode.UNSET


_EVERYTHING = PolicySelector()


@dataclass(frozen=True, slots=True)
class PeerAuthentication(Spec):
    """Without a selector it holds for its namespace, or, in the root namespace, for the mesh."""

    selector: PolicySelector = _EVERYTHING
    mtls: MutualTls = MutualTls()
    port_level_mtls: Mapping[str, MutualTls] | None = None

    @property
    def labels(self) -> Mapping[str, str]:
        return self.selector.match_labels

    @property
    def ports(self) -> Mapping[int, MtlsMode]:
        """The ports are those of the workload, not of its services."""
        return {int(port): mtls.mode for port, mtls in (self.port_level_mtls or {}).items()}

    def problems(self) -> Iterator[tuple[str, str]]:
        given = self.port_level_mtls
        if given is None:
            return
        if not given:
            yield "portLevelMtls", "must have at least one port, if it is written"
        elif not self.labels:
            yield "portLevelMtls", "needs a selector: a policy of a mesh or a namespace has no ports"
        for port in given:
            if not _is_port(port):
                yield "portLevelMtls", f"{port!r} is not a port (1 to {MAX_PORT})"


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT)) and 0 < int(text) <= MAX_PORT
