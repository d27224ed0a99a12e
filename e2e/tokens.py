"""Service account tokens for an istiod without Kubernetes: RS256, and the JWKS that istiod verifies them by."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from e2e.child import free_port

AUDIENCE = "istio-ca"
_KEY_ID = "e2e"


class TokenIssuer:
    """Signs tokens, and serves its public key over HTTP on one port, from `start` to `stop`, any number of times.

    ``rule`` is for istiod's environment, as ``JWT_RULE``.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._address = (host, free_port(host))
        self._server: ThreadingHTTPServer | None = None
        self.issuer = "http://{}:{}".format(*self._address)

    @property
    def rule(self) -> str:
        rule = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks", "audiences": [AUDIENCE]}
        return json.dumps(rule)

    def mint(self, namespace: str, service_account: str, *, audience: str = AUDIENCE, lifetime: float = 3600.0) -> str:
        """As the kubelet would project it; ``lifetime`` in seconds, negative: expired already."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
            "aud": [audience],
            "iat": now - 7200,
            "exp": now + int(lifetime),
        }
        signed = b".".join(_part(one) for one in ({"alg": "RS256", "typ": "JWT", "kid": _KEY_ID}, claims))
        signature = self._key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return (signed + b"." + _encode(signature)).decode()

    def start(self) -> None:
        if self._server is None:
            self._server = ThreadingHTTPServer(self._address, _handler({"keys": [self._public_key()]}))
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="jwks")
            self._thread.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def _public_key(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        modulus, exponent = (
            _encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()
            for number in (numbers.n, numbers.e)
        )
        return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": _KEY_ID, "n": modulus, "e": exponent}


def _handler(document: dict[str, Any]) -> type[BaseHTTPRequestHandler]:
    body = json.dumps(document).encode()

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Keys


def _part(value: dict[str, Any]) -> bytes:
    return _encode(json.dumps(value, separators=(",", ":")).encode())


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
