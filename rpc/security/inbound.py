"""What a server's port lets in, kept as its credentials say while the server runs.

A `SecuredPort` is one port: the engine's port policy, and what tells it its chains. Chains come from the mesh's own
inbound listener (PeerAuthentication) or are the one that the caller's TLS material makes.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Protocol

from rpc._native import PortPolicy
from rpc.authorization.demands import Demands
from rpc.fork import inherits
from rpc.security import context
from rpc.security.chain import Chain, Policy
from rpc.security.material import SecurityError, printable
from rpc.security.peer import agreed_on
from rpc.seldom import Seldom
from rpc.weakly import weakly
from xds_client.inbound import chains_for_port
from xds_client.model import InboundMissing, MeshSecret
from xds_client.threads import begun_after

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rpc._native import Admitted, Reactor
    from xds_client import PilotExchanger
    from xds_client.identity import Identity
    from xds_client.inbound import PortChains
    from xds_client.model import DownstreamTls, FilterChain, Listener

_log = logging.getLogger(f"proxyless.{__name__}")


class Following(Protocol):
    """What keeps a port's chains current until it is closed."""

    def close(self) -> None: ...


class ServerCredentials(Protocol):
    """What `add_secure_port` takes."""

    def follow(self, secured_port: SecuredPort) -> Following:
        """Give the port its chains, now or as soon as they are known, and at every change."""


class SecuredPort:
    """One port of a server. `set` may be called from any thread."""

    def __init__(
        self, credentials: ServerCredentials, address: str, number: int, mesh: PilotExchanger | None = None
    ) -> None:
        self.mesh = mesh  # the server's, where it was given one
        self.address = address
        self.number = number
        self.waiting_for = "its first configuration"  # before anybody could be served; empty: somebody could
        self.look: Callable[[], None] = lambda: None  # for what tells nobody, such as a certificate that has expired
        # The garbage collector does not see what the port policy holds: by a way back to this port a server that is
        # over would keep its keys and descriptors alive.
        self.policy = PortPolicy(weakly(self._refused), weakly(self._admitted))
        self._credentials = credentials
        self._reactor: Reactor | None = None
        self._following: Following | None = None
        self._refusals = Seldom(_log)
        self._ask: Callable[[], None] = lambda: None
        self._changing = threading.Lock()
        self._chains: object = None
        self._draining: threading.Timer | None = None

    def start(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._following = self._credentials.follow(self)

    def set(self, chains: Sequence[Chain], otherwise: Chain | None = None) -> None:
        """From now on these; connections that they would not let in are told to go away, their calls may finish.

        They are told a little later (the engine says when, see its port policy). When that is, is settled now: what is
        set after this, a wider door too, takes nobody out again.
        """
        if (wanted := ([*chains], otherwise)) == self._chains:
            return
        self.policy.set(chains, otherwise)
        self._chains = wanted
        self._note_whether_ready([*chains, *([otherwise] if otherwise is not None else [])])
        if self._reactor is not None and self._reactor.mark_misfits(self.policy):
            self._drain_misfits()

    def _note_whether_ready(self, chains: Sequence[Chain]) -> None:
        """Ready is a port whose chains let somebody in: one is enough, who else is refused is the mesh's will."""
        refused = [f"{chain.name}: {chain.closed}" for chain in chains if chain.closed]
        before = self.waiting_for
        self.waiting_for = ""
        if len(refused) == len(chains):
            self.waiting_for = f"a filter chain that lets anybody in ({'; '.join(refused) or 'there is none'})"
            _log.warning(
                "%s: nobody is let in, and the server is not ready: it waits for %s", self.address, self.waiting_for
            )
        elif before:
            _log.info("%s: ready", self.address)

    def _drain_misfits(self) -> None:
        # Without a thread for the timer the time is waited for here: at most the engine's two seconds, and who does not
        # fit any more goes in any case.
        while (wait := self._drain_due()) is not None:
            time.sleep(wait)

    def _drain_due(self) -> float | None:
        """Drain those that are due, and set the timer for the rest; the seconds until then if there is no timer."""
        if self._reactor is None:
            return None
        with self._changing:
            drained, wait = self._reactor.drain_misfits()
            if wait is not None and self._draining is None:
                self._draining = begun_after(wait, weakly(self._when_due), "mesh-draining")
            unattended = wait if self._draining is None else None
        if drained:
            _log.info("%s: %d connections no longer fit what the port lets in; they are drained", self.address, drained)
        return unattended

    def _when_due(self) -> None:
        with self._changing:
            self._draining = None
        self._drain_misfits()

    def before_handshakes(self, ask: Callable[[], None]) -> None:
        """Call ``ask`` for each new connection, before its handshake goes on."""
        self._ask = ask
        self.policy.before_handshakes(weakly(self._before_handshake))

    def _before_handshake(self) -> None:
        self._ask()

    def close(self) -> None:
        with self._changing:
            if self._draining is not None:
                self._draining.cancel()
        if self._following is not None:
            self._following.close()

    def _refused(self, peer: str, reason: str) -> None:
        if self.waiting_for and self._chains is None:
            reason = f"{reason}; the port still waits for {self.waiting_for}"
        self._refusals.warn(f"{self.address}: connection from {peer} not accepted: {printable(reason)}")

    def _admitted(self, admitted: Admitted) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            tls = admitted.tls_info()
            how = "in plaintext" if tls is None else printable(agreed_on(tls))
            _log.debug("%s: let %s in by %s: %s", self.address, admitted.peer, admitted.chain, how)


def _reachable(port: PortChains, chain: FilterChain) -> bool:
    """What nobody looks for, no connection says: the engine always looks, so such chains are left out."""
    if chain.match.transport_protocol == "tls":
        return port.inspects_tls
    return port.inspects_http or port.inspects_tls or not chain.match.application_protocols


def _chains(port: PortChains) -> list[FilterChain]:
    return [*port.chains, *([port.default] if port.default is not None else [])]


class MeshFollowing:
    """Follows the node's virtualInbound and the process's identity: both have to be there before anything comes in.

    Called by the exchanger's and the identity's threads; the lock makes each change one whole.
    """

    def __init__(self, mesh: PilotExchanger, secured_port: SecuredPort) -> None:
        self._port = secured_port
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._identity: Identity | None = None
        self._source = mesh.identity
        self._demands = Demands(mesh)
        self._lapsed = False  # the certificate that the chains were made of has expired
        self._node_ip = mesh.status().node_id.split("~")[1]
        secured_port.waiting_for = "the inbound listener of this node, and its certificate"
        self._handles = [mesh.observe_inbound(self._on_listener)]
        if mesh.identity is not None:
            self._handles.append(mesh.identity.observe(self._on_identity))
            secured_port.before_handshakes(self._look_at_identity)
            secured_port.look = self._look_at_identity
        inherits(self)

    def inherit(self) -> None:
        """In the child of a fork the server is over: nothing is followed. Closing would take the parent's locks."""
        self._lock = threading.Lock()
        for handle in self._handles:
            handle.closed = True

    def close(self) -> None:
        for handle in self._handles:
            handle.close()

    def _on_listener(self, listener: Listener | InboundMissing) -> None:
        if isinstance(listener, InboundMissing):
            if self._listener is None:
                self._port.waiting_for = listener.reason
            _log.warning("%s: %s", self._port.address, listener.reason)
            return
        with self._lock:
            if self._listener is None or not self._is_invalid(listener):
                self._listener = listener
                self._apply()

    def _is_invalid(self, listener: Listener) -> bool:
        """Envoy would not take it, and go on with the one that it has."""
        port = chains_for_port(listener, self._port.number, self._node_ip)
        for chain in _chains(port):
            demanded = self._demands.of(port, chain)
            if demanded.invalid:
                _log.warning(
                    "%s: the inbound listener is not taken, the last one stays in force: filter chain %s: %s",
                    self._port.address,
                    chain.name,
                    demanded.refusal,
                )
                return True
        return False

    def _on_identity(self, identity: Identity) -> None:
        with self._lock:
            self._identity, self._lapsed = identity, False
            self._apply()

    def _look_at_identity(self) -> None:
        """A certificate that expires tells nobody, so it is looked at before each handshake."""
        if self._source is None or self._identity is None or (self._source.current is None) == self._lapsed:
            return
        with self._lock:
            self._lapsed = self._source.current is None
            self._apply()

    def _apply(self) -> None:
        if self._listener is None:
            self._port.waiting_for = "the inbound listener of this node"
        elif self._identity is None and self._source is not None:
            self._port.waiting_for = "the certificate of this process"
        else:
            port = chains_for_port(self._listener, self._port.number, self._node_ip)
            if not port.declared:
                _log.info("%s: no service of the mesh declares this port; catch-all chains hold", self._port.address)
            otherwise = self._chain(port, port.default) if port.default is not None else None
            chains = [self._chain(port, chain) for chain in port.chains if _reachable(port, chain)]
            self._demands.forget_others(port, _chains(port))
            self._port.set(chains, otherwise)

    def _lapse(self, tls: DownstreamTls | None) -> str | None:
        """Why a chain that ends TLS of the mesh lets nobody new in for want of a certificate; see `TlsSecurity.lapsed`.
        Who is inside stays: nothing is closed for an identity.
        """
        if not self._lapsed or self._source is None or tls is None or MeshSecret() not in (tls.certificate, tls.roots):
            return None
        return f"no valid certificate of our own, and nobody is let in without: {self._source.error}"

    def _chain(self, port: PortChains, chain: FilterChain) -> Chain:
        demanded, match, tls, lapse = self._demands.of(port, chain), chain.match, None, self._lapse(chain.tls)
        refusal = demanded.refusal
        if refusal or lapse:
            _log.warning("%s: filter chain %s lets nobody in: %s", self._port.address, chain.name, refusal or lapse)
        if not refusal and chain.tls is not None:
            try:
                tls = context.server(chain.tls, self._identity)
            except SecurityError as error:
                refusal = str(error)
                _log.warning("%s: filter chain %s lets nobody in: %s", self._port.address, chain.name, error)
        return Chain(
            name=chain.name,
            server_names=match.server_names,
            transport=match.transport_protocol,
            protocols=match.application_protocols,
            tls=tls,
            refusal=refusal or None,
            lapse=lapse,
            policy=Policy(authorize=demanded.authorize),
            admits=demanded.admits,
        )
