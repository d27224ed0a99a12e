"""`istio.v1.auth.IstioCertificateService`: certificates for whoever proves who he is. gRPC's threads run it.

Follows istiod's `security/pkg/server/ca/server.go`, its status codes and texts included: who cannot prove himself is
told nothing more than that, the reason is in the log.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from localmesh.ca import SigningError
from localmesh.ca.authority import MAX_LIFETIME
from localmesh.ca.messages import CertificateRequest, CertificateResponse
from localmesh.serve.callers import Unauthenticated
from localmesh.serve.reading import Unreadable, parsed

if TYPE_CHECKING:
    from localmesh.ca import CertificateAuthority
    from localmesh.serve.doors import Door

log = logging.getLogger("proxyless.localmesh")

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
_FAILED = "request authenticate failure"
_IMPERSONATION_FAILED = "request impersonation authentication failure"
_LONGEST = int(MAX_LIFETIME.total_seconds()) + 1  # beyond it all are too long; timedelta has its own limits


class Certificates(grpc.GenericRpcHandler):
    def __init__(self, authority: CertificateAuthority, door: Door) -> None:
        self._authority = authority
        self._door = door

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        if handler_call_details.method != METHOD:
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._create,
            request_deserializer=None,  # a failing one would log its whole traceback
            response_serializer=CertificateResponse.SerializeToString,
        )

    def _create(self, received: bytes, context: grpc.ServicerContext) -> CertificateResponse:
        try:
            caller = self._door.caller(context)
        except Unauthenticated as error:
            _refuse(context, grpc.StatusCode.UNAUTHENTICATED, _FAILED, str(error))
        if caller is None:
            _refuse(context, grpc.StatusCode.UNAUTHENTICATED, _FAILED, "certificates need the secure port")
        try:
            request = parsed(CertificateRequest, received)
        except Unreadable as error:
            _refuse(context, grpc.StatusCode.INTERNAL, str(error), " ".join(caller.identities))
        if _asks_for_another(request):
            _refuse(context, grpc.StatusCode.UNAUTHENTICATED, _IMPERSONATION_FAILED, "only istiod's ztunnels may")
        lifetime = timedelta(seconds=max(0, min(request.validity_duration, _LONGEST)))
        try:
            leaf = self._authority.sign(request.csr.encode(), caller.identities, lifetime)
        except SigningError as error:
            code = grpc.StatusCode.INVALID_ARGUMENT if error.is_clients_fault else grpc.StatusCode.INTERNAL
            _refuse(context, code, f"CSR signing error ({error})", " ".join(caller.identities))
        chain = [leaf, *self._authority.chain, self._authority.root_certificates]
        return CertificateResponse(cert_chain=[certificate.decode() for certificate in chain])


def _asks_for_another(request: CertificateRequest) -> bool:
    impersonated = request.metadata.fields.get("ImpersonatedIdentity")
    return impersonated is not None and bool(impersonated.string_value)


def _refuse(context: grpc.ServicerContext, code: grpc.StatusCode, details: str, reason: str) -> NoReturn:
    log.warning("CSR: refused: %s: %s", details, reason)
    context.abort(code, details)
