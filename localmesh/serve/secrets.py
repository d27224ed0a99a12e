"""Secrets for an Envoy without an agent: its certificate and the roots, as `default` and `ROOTCA`. gRPC's threads.

istiod leaves this to pilot-agent, which sits beside its Envoy; here it is the secure port that knows who asks, so each
caller gets the certificate of the identity that it has proven, and no other. Offered on ADS too.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from itertools import count
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import grpc

from localmesh import xds
from localmesh.ca.authority import DEFAULT_LIFETIME
from localmesh.compile.tls import IDENTITY, ROOTS
from localmesh.serve.callers import Caller, Unauthenticated
from localmesh.serve.reading import Unreadable, parsed, read_into
from localmesh.serve.session import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localmesh.ca import CertificateAuthority
    from localmesh.serve.doors import Door

log = logging.getLogger("proxyless.localmesh")

METHOD = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"
RENEWED_AFTER = DEFAULT_LIFETIME.total_seconds() / 2

_Request = xds.discovery.DiscoveryRequest
_Response = xds.discovery.DiscoveryResponse


class Secrets:
    """What each identity is given, the same until `renew`. Any thread."""

    def __init__(self, authority: CertificateAuthority) -> None:
        self._authority = authority
        self._lock = threading.Lock()
        self._version = 1
        self._made: dict[str, xds.Packed] = {}
        self._streams: set[SimpleQueue[bytes | _Renewed | None]] = set()

    def secret(self, identity: str, name: str) -> xds.Packed | None:
        """None: there is no secret of this name."""
        if name == ROOTS:
            roots = xds.core.DataSource(inline_bytes=self._authority.root_certificates)
            context = xds.tls.CertificateValidationContext(trusted_ca=roots)
            return xds.packed(xds.tls.Secret(name=ROOTS, validation_context=context))
        if name != IDENTITY:
            return None
        with self._lock:
            if identity not in self._made:
                pair = self._authority.key_pair([identity])
                certificate = xds.tls.TlsCertificate(
                    certificate_chain=xds.core.DataSource(inline_bytes=pair.chain),
                    private_key=xds.core.DataSource(inline_bytes=pair.key),
                )
                self._made[identity] = xds.packed(xds.tls.Secret(name=IDENTITY, tls_certificate=certificate))
            return self._made[identity]

    def renew(self) -> None:
        """New keys and certificates, of the current root, for everybody; all streams are told."""
        with self._lock:
            self._version += 1
            self._made.clear()
            for stream in self._streams:
                stream.put(_Renewed())

    def stream(
        self, requests: Iterator[bytes], context: grpc.ServicerContext, caller: Caller
    ) -> Iterator[xds.discovery.DiscoveryResponse]:
        queue: SimpleQueue[bytes | _Renewed | None] = SimpleQueue()
        if not context.add_callback(lambda: queue.put(None)):
            return
        with self._lock:
            self._streams.add(queue)
        threading.Thread(target=read_into, args=(requests, queue), name="localmesh-secrets-reader", daemon=True).start()
        watched = _Watched()
        try:
            while (event := queue.get()) is not None:
                names = watched.names if isinstance(event, _Renewed) else watched.receive(parsed(_Request, event))
                if names:
                    yield watched.response(self._version, self._found(caller, names))
        except Unreadable as error:
            context.abort(grpc.StatusCode.INTERNAL, str(error))
        except ValueError as error:  # the certificate that signs has expired
            log.error("SDS: no certificate can be made: %s", error)  # noqa: TRY400  # it says all
            context.abort(grpc.StatusCode.UNAVAILABLE, f"no certificate can be made: {error}")
        finally:
            with self._lock:
                self._streams.discard(queue)

    def _found(self, caller: Caller, names: Iterable[str]) -> list[xds.Packed]:
        found = (self.secret(caller.identities[0], name) for name in sorted(names))
        return [secret for secret in found if secret is not None]


class _Renewed:
    pass


@dataclass(slots=True)
class _Watched:
    """State of the world: a request names all that the client wants; those that are new are answered."""

    names: set[str] = field(default_factory=set)
    nonces: count[int] = field(default_factory=lambda: count(1))

    def receive(self, request: xds.discovery.DiscoveryRequest) -> set[str]:
        if request.HasField("error_detail"):
            log.warning("SDS: rejected by the client: %s", request.error_detail.message)
            return set()
        wanted = set(request.resource_names)
        new, self.names = wanted - self.names, wanted
        return new

    def response(self, version: int, resources: list[xds.Packed]) -> xds.discovery.DiscoveryResponse:
        packed = [{"type_url": resource.type_url, "value": resource.value} for resource in resources]
        return _Response(version_info=str(version), type_url=SECRET, nonce=str(next(self.nonces)), resources=packed)


class SecretService(grpc.GenericRpcHandler):
    """`SecretDiscoveryService`, as the secure port's gRPC server offers it."""

    def __init__(self, secrets: Secrets, door: Door) -> None:
        self._secrets = secrets
        self._door = door

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        if handler_call_details.method != METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(
            self._serve, request_deserializer=None, response_serializer=_Response.SerializeToString
        )

    def _serve(
        self, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[xds.discovery.DiscoveryResponse]:
        try:
            caller = self._door.caller(context)
        except Unauthenticated as error:
            log.warning("SDS: %s: refused: authentication failure: %s", self._door.address(context), error)
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "authentication failure")
        assert caller is not None  # this service is not offered where nobody is asked
        yield from self._secrets.stream(requests, context, caller)
