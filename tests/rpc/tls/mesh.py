"""A mesh as the SDK sees it, in the test's hands: the process's identity, the node's inbound listener, one target."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from tests.rpc.configs import cluster, config, endpoint
from xds_client.model import (
    VIRTUAL_INBOUND,
    DownstreamTls,
    FilterChain,
    FilterChainMatch,
    Inspector,
    Listener,
    StringMatch,
    StringMatchKind,
    UpstreamTls,
)

TARGET = "xds:///reviews.demo:9080"
MESH_ALPN = ("istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2")
MUTUAL = DownstreamTls(alpn=("istio-peer-exchange", "h2", "http/1.1"))
WHO_DIALS = UpstreamTls(sni="outbound_.9080_._.reviews.demo.svc.cluster.local", alpn=("istio-peer-exchange", "istio"))


def rule(name, kind=StringMatchKind.EXACT):
    return StringMatch(kind, name)


class _Observed:
    """A value that is told to whoever observes it."""

    def __init__(self, value=None):
        self.value = value
        self._callbacks = {}

    def set(self, value):
        self.value = value
        for callback in tuple(self._callbacks.values()):
            callback(value)

    def observe(self, callback, *, replay=True):
        key = object()
        self._callbacks[key] = callback
        if replay and self.value is not None:
            callback(self.value)
        return SimpleNamespace(close=lambda: self._callbacks.pop(key, None))

    def __len__(self):
        return len(self._callbacks)


class Source:
    """An `IdentitySource` whose identity the test swaps. ``expire``: it gives none any more, and says why."""

    def __init__(self, identity=None, error="istiod has not answered yet"):
        self._observed = _Observed(identity)
        self._changed = threading.Condition()
        self._error = error
        self._expired = False

    @property
    def current(self):
        return None if self._expired else self._observed.value

    @property
    def error(self):
        return None if self.current is not None else self._error

    def set(self, identity):
        with self._changed:
            self._observed.value, self._expired = identity, False
            self._changed.notify_all()
        self._observed.set(identity)

    def expire(self, error):
        self._expired, self._error = True, error

    def observe(self, callback):
        return self._observed.observe(callback, replay=self.current is not None)

    def wait(self, timeout):
        with self._changed:
            if not self._changed.wait_for(lambda: self.current is not None, timeout):
                raise TimeoutError(f"no mesh identity within {timeout:g} s: {self._error}")
        return self.current

    def close(self):
        pass


class Mesh:
    """What `rpc` asks of an exchanger. ``identity``: an `Identity`, None while there is none yet."""

    def __init__(self, identity=None, *, plaintext=False):
        self.identity = None if plaintext else Source(identity)
        self.inbound = _Observed()
        self.outbound = _Observed()

    def status(self):
        phase = SimpleNamespace(value="ready")
        return SimpleNamespace(
            node_id="sidecar~127.0.0.1~reviews-1.demo~demo.svc.cluster.local",
            address="istiod.test:15012",
            connection=SimpleNamespace(phase=phase, last_error=None),
        )

    def resume(self):
        pass

    def observe_inbound(self, callback):
        return self.inbound.observe(callback)

    def observe_target(self, target, callback):
        return self.outbound.observe(callback)

    def dials(self, *addresses, tls=WHO_DIALS, connect_timeout=30.0):
        """The target is these endpoints, called over mutual TLS (``tls`` None: in plaintext)."""
        self.outbound.set(outbound(*addresses, tls=tls, connect_timeout=connect_timeout))
        return self


def outbound(*addresses, tls=WHO_DIALS, connect_timeout=30.0):
    endpoints = [endpoint(host, int(port)) for host, port in (address.rsplit(":", 1) for address in addresses)]
    return config(cluster("reviews", *endpoints, tls=tls, connect_timeout=connect_timeout))


# ---- what istiod gives a node for the modes of PeerAuthentication (facts: e2e/inbound)


def listener(*chains, default=None):
    return Listener(
        VIRTUAL_INBOUND,
        filter_chains=chains,
        default_filter_chain=default,
        tls_inspector=Inspector(),
        http_inspector=Inspector(),
    )


def chain(name="mesh", *, tls=None, transport="", alpn=(), names=(), **fields):
    match = FilterChainMatch(transport_protocol=transport, application_protocols=alpn, server_names=names)
    return FilterChain(name, fields.pop("match", match), tls, **fields)


def strict(tls=MUTUAL):
    return listener(chain("strict", tls=tls, transport="tls"))


def permissive(tls=MUTUAL):
    return listener(
        chain("mutual", tls=tls, transport="tls", alpn=MESH_ALPN),
        chain("plaintext", transport="raw_buffer"),
        chain("passed on", transport="tls", unusable="TLS that is not the mesh's is the application's own"),
    )


def disabled():
    return listener(chain("plaintext"))
