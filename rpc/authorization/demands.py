"""What a filter chain demands of connections and of each call, compiled once for as long as it stays the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpc.authorization.connections import both, compile_network_filters
from rpc.authorization.decision import PERMISSION_DENIED, Refusal
from rpc.authorization.filters import not_carried_out
from rpc.authorization.manager_settings import settings_not_carried_out
from rpc.authorization.program import CannotCarryOutError, compile_filters

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from rpc._native import Rbac
    from rpc.authorization.decision import Authorize, Head
    from xds_client import PilotExchanger
    from xds_client.inbound import PortChains
    from xds_client.model import FilterChain


@dataclass(frozen=True, slots=True)
class Demanded:
    """``admits`` is asked for each connection, ``authorize`` for each call. ``refusal``: why nobody may come in; empty:
    they may. ``invalid``: Envoy would not take such a listener, and go on with the one that it has.
    """

    admits: Rbac | None = None
    authorize: Authorize | None = None
    refusal: str = ""
    invalid: bool = False


class Demands:
    """Of one port. A chain whose filters stay keeps what these know (tokens of a rate limit, connections to a service).
    Not safe to be used by several threads at a time.
    """

    def __init__(self, mesh: PilotExchanger) -> None:
        self._mesh = mesh
        self._known: dict[Hashable, Demanded] = {}
        self._programs: dict[Hashable, Authorize | None] = {}

    def of(self, port: PortChains, chain: FilterChain) -> Demanded:
        if chain.unusable:
            return _closed(chain.unusable)
        if chain.match.by_source:
            return _closed("it is for some sources only, which this release does not tell apart")
        key = _key(port, chain)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._compiled(port, chain)
        return known

    def forget_others(self, port: PortChains, chains: Sequence[FilterChain]) -> None:
        """What is not one of these chains has no chain any more."""
        keys, programs = {_key(port, chain) for chain in chains}, {_program_key(chain) for chain in chains}
        self._known = {key: known for key, known in self._known.items() if key in keys}
        self._programs = {key: known for key, known in self._programs.items() if key in programs}

    def _compiled(self, port: PortChains, chain: FilterChain) -> Demanded:
        demands = ", ".join(filter(None, (not_carried_out(port, chain), settings_not_carried_out(chain.http))))
        if demands:
            return _closed(f"the mesh demands {demands} there, which this release does not carry out")
        try:
            connections = compile_network_filters(chain.network_filters)
            admits, authorize = both(connections, self._program(chain))
        except CannotCarryOutError as error:
            return _closed(f"the mesh demands what this release does not carry out: {error}", invalid=error.invalid)
        return Demanded(admits, authorize)

    def _program(self, chain: FilterChain) -> Authorize | None:
        key = _program_key(chain)
        if key not in self._programs:
            self._programs[key] = compile_filters(chain.http_filters, chain.http, self._mesh)
        return self._programs[key]


def _key(port: PortChains, chain: FilterChain) -> Hashable:
    return port.listener_filters, chain.kind, chain.network_filters, _program_key(chain)


def _program_key(chain: FilterChain) -> Hashable:
    return chain.name, chain.http_filters, chain.packed_http


def _closed(why: str, *, invalid: bool = False) -> Demanded:
    return Demanded(authorize=_Closed(why), refusal=why, invalid=invalid)


class _Closed:
    """Of a chain that nobody may come in by: who is in already makes no further calls."""

    def __init__(self, why: str) -> None:
        self._refusal = Refusal(PERMISSION_DENIED, "nobody is let in", why=why)

    def __call__(self, _: Head) -> Refusal:
        return self._refusal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Closed) and self._refusal == other._refusal

    def __hash__(self) -> int:
        return hash(self._refusal)
