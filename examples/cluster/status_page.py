"""What the program tells about itself, on a plaintext port of its own beside the mesh and the probes."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from proxyless.xds import PilotExchanger

PORT = 8081


class StatusPage:
    """``/stats`` as JSON."""

    def __init__(self, stats: Callable[[], dict[str, Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/stats":
                    self._answer(200, json.dumps(stats()), "application/json")
                else:
                    self._answer(404, "there is /stats", "text/plain")

            def _answer(self, code: int, text: str, kind: str) -> None:
                body = text.encode()
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
                """Who looks is no news."""

        self._server = ThreadingHTTPServer(("0.0.0.0", PORT), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="status", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def membership(mesh: PilotExchanger) -> dict[str, Any]:
    """Who we are, until when, and how istiod is reached."""
    status = mesh.status()
    told: dict[str, Any] = {"node": status.node_id, "istiod": status.connection.phase.value}
    if mesh.identity is not None and (current := mesh.identity.current) is not None:
        told |= {"spiffe_id": current.spiffe_id, "not_before": current.not_before.isoformat()}
        told |= {"issuer": _issuer(current.certificate_chain), "roots": _fingerprints(current.roots)}
    if status.identity is not None:
        told["identity"] = asdict(status.identity)
    return told


def _fingerprints(pem: bytes) -> list[str]:
    return [one.fingerprint(hashes.SHA256()).hex() for one in x509.load_pem_x509_certificates(pem)]


def _issuer(pem: bytes) -> str:
    """The key of who signed the first one."""
    leaf = x509.load_pem_x509_certificates(pem)[0]
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    return (issuer.key_identifier or b"").hex()
