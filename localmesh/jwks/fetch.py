"""Gets a key set over HTTP or verified TLS, by its address or as its issuer says. Waits for a bounded time.

Certificates are verified by the system's roots; the variable SSL_CERT_FILE names others. Any thread.
"""

from __future__ import annotations

import http.client
import json
import ssl
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from localmesh.config.key_set import fault_of_key_set
from localmesh.errors import LocalMeshError

if TYPE_CHECKING:
    from localmesh.compile.jwt_authn import KeySource

_DISCOVERY = "/.well-known/openid-configuration"
LARGEST = 1 << 20  # bytes of an answer
_PIECE = 1 << 16


class NoKeys(LocalMeshError):  # noqa: N818  # it is not an error of the mesh's: it goes on with what it has
    """Why there are none, in a sentence."""


def fetch(source: KeySource, timeout: float) -> str:
    """The text of the key set; raises `NoKeys`."""
    end = monotonic() + timeout
    uri = source.uri or _discovered(source.issuer, end)
    text = _get(uri, end)
    if fault := fault_of_key_set(text):
        raise NoKeys(f"{uri}: the answer is no key set: it {fault}")
    return text


def _discovered(issuer: str, end: float) -> str:
    where = issuer.removesuffix("/") + _DISCOVERY
    try:
        found = json.loads(_get(where, end))
    except (ValueError, RecursionError) as error:
        raise NoKeys(f"{where}: the answer is not JSON") from error
    uri = found.get("jwks_uri") if isinstance(found, dict) else None
    if not isinstance(uri, str):
        raise NoKeys(f"{where}: the answer has no jwks_uri")
    if urlsplit(issuer).scheme == "https" and urlsplit(uri).scheme != "https":
        raise NoKeys(f"{where}: the answer leads from https to {uri[:200]}")
    return uri


def _get(uri: str, end: float) -> str:
    if urlsplit(uri).scheme not in ("http", "https"):
        raise NoKeys(f"{uri[:200]} begins with neither http:// nor https://")
    try:
        request = Request(uri, headers={"Accept": "application/json", "User-Agent": "localmesh"})  # noqa: S310
        with _opener().open(request, timeout=_left(end)) as answer:
            return _read(answer, end).decode()
    except (URLError, OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        code = getattr(error, "code", None)
        raise NoKeys(f"{uri}: {f'status {code}: ' if code else ''}{reason}") from error


def _read(answer: Any, end: float) -> bytes:
    """Whole, in pieces as they come: who answers slowly is given up in time."""
    found = bytearray()
    while piece := answer.read1(_PIECE):
        found += piece
        if len(found) > LARGEST:
            raise ValueError(f"the answer is larger than {LARGEST >> 20} MiB")
        _left(end)
    if answer.length:  # read1 does not say so
        raise ValueError(f"the answer ends {answer.length} bytes too soon")
    return bytes(found)


def _left(end: float) -> float:
    left = end - monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class _Redirects(HTTPRedirectHandler):
    """Ten at most, and never out of TLS."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise URLError(f"it leads from https to {newurl[:200]}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> OpenerDirector:
    """Of HTTP alone: no file is opened, wherever an answer leads."""
    opener = OpenerDirector()
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler(context=context), HTTPDefaultErrorHandler()):
        opener.add_handler(handler)
    opener.add_handler(_Redirects())
    opener.add_handler(HTTPErrorProcessor())
    return opener
