"""What a service is told of a request (envoy.service.auth.v3.AttributeContext), as Envoy tells it."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from envoy.service.auth.v3 import external_auth_pb2  # type: ignore[import-untyped]

from rpc.authorization.ext_authz.forwarded import FORWARDED, forwarded_certificates
from rpc.authorization.ext_authz.http_service import ALWAYS_TOLD
from rpc.authorization.matching import names_match
from xds_client.model import StringListMatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rpc._native import TlsInfo
    from rpc.authorization.program import Surroundings
    from rpc.authorization.request import Request
    from xds_client.model import ExtAuthz

_PARTIAL_BODY = "x-envoy-auth-partial-body"  # the filter's own word
_WHO_CALLS = "x-envoy-downstream-service-cluster"
_ids = itertools.count(1)


class Attributes:
    """Of the requests of one filter."""

    def __init__(self, said: ExtAuthz, around: Surroundings, extensions: Mapping[str, str]) -> None:
        """Raises `InvalidPatternError`."""
        self._said = said
        self._around = around
        self._extensions = dict(extensions)
        allowed, self._always = said.allowed_headers, frozenset[str]()
        if said.http_service is not None:
            request = said.http_service.authorization_request
            allowed = allowed or (request.allowed_headers if request is not None else None) or StringListMatch()
            self._always = ALWAYS_TOLD
        self._allowed = names_match(allowed)
        self._disallowed = names_match(said.disallowed_headers)

    def of(self, request: Request) -> Any:
        """A ``CheckRequest``."""
        check = external_auth_pb2.CheckRequest()
        told, tls = check.attributes, request.tls_info()
        own = self._own_name() if tls is not None else ""
        _set_address(told.source.address, request.peer)
        _set_address(told.destination.address, request.local)
        told.source.service = request.text(_WHO_CALLS)
        told.source.principal = _principal(tls)
        told.destination.principal = own
        if self._said.include_peer_certificate and tls is not None and tls.certificates:
            told.source.certificate = _as_pem(tls)
        if self._said.include_tls_session and tls is not None:
            told.tls_session.sni = request.server_name
        told.request.time.FromNanoseconds(time.time_ns())
        http = told.request.http
        http.id, http.protocol = str(next(_ids)), "HTTP/2"
        http.method, http.path = _text(request, ":method"), _text(request, ":path")
        http.host, http.scheme = _text(request, ":authority"), _text(request, ":scheme")
        self._set_headers(http, request, own)
        for name, value in self._extensions.items():
            told.context_extensions[name] = value
        told.metadata_context.SetInParent()
        told.route_metadata_context.SetInParent()  # as Envoy, which says so if there is nothing to say
        for name in self._said.metadata_context_namespaces:
            found = request.metadata.get(name)
            if isinstance(found, dict):
                told.metadata_context.filter_metadata[name].update(found)
        return check

    def _own_name(self) -> str:
        identity = self._around.mesh.identity if self._around.mesh is not None else None
        current = identity.current if identity is not None else None
        return current.spiffe_id if current is not None else ""

    def _set_headers(self, http: Any, request: Request, own: str) -> None:
        vouched = forwarded_certificates(request, self._around.manager, own)
        fields = [(name, value) for name, value in request.fields() if name not in (_PARTIAL_BODY, FORWARDED)]
        fields += [(FORWARDED, vouched.encode())] if vouched else []
        told = [(name, value) for name, value in fields if self._told(name)]
        if self._said.encode_raw_headers and self._said.http_service is None:
            for name, value in told:
                http.header_map.headers.add(key=name, raw_value=value)
            return
        texts: dict[str, list[str]] = {}
        for name, value in told:
            texts.setdefault(name, []).append(value.decode(errors="replace"))
        for name, values in texts.items():
            http.headers[name] = ",".join(values)

    def _told(self, name: str) -> bool:
        if self._disallowed is not None and self._disallowed(name):
            return False
        return self._allowed is None or name in self._always or self._allowed(name)


def _text(request: Request, name: str) -> str:
    values = request.values(name)
    return values[0].decode(errors="replace") if values else ""


def _set_address(address: Any, told: str) -> None:
    """``told``: as grpcio writes it, ``ipv4:127.0.0.1:80``, ``ipv6:%5B::1%5D:80``, ``unix:/path``."""
    kind, _, rest = unquote(told).partition(":")
    if kind.startswith("unix"):
        address.pipe.path = rest
        return
    host, _, port = rest.rpartition(":")
    address.socket_address.address = host.strip("[]")
    address.socket_address.port_value = int(port) if port.isascii() and port.isdigit() else 0


def _principal(tls: TlsInfo | None) -> str:
    """The URI of the certificate, or the first name of DNS, or the subject."""
    if tls is None:
        return ""
    if tls.identity is not None or not tls.certificates:
        return tls.identity or ""
    try:
        leaf = x509.load_der_x509_certificate(tls.certificates[0])
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        for kind in (x509.UniformResourceIdentifier, x509.DNSName):
            found = names.get_values_for_type(kind)
            if found:
                return str(found[0])
    except x509.ExtensionNotFound:
        pass
    except ValueError:
        return ""
    return leaf.subject.rfc4514_string()


def _as_pem(tls: TlsInfo) -> str:
    leaf = x509.load_der_x509_certificate(tls.certificates[0])
    return quote(leaf.public_bytes(Encoding.PEM).decode(), safe="")
