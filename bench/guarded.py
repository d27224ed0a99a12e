"""Ports whose filter chain has policies, and callers who come with a token: what a decision for each call costs.

The filters are those that istiod sends, from JSON. Client and server share the keys by the run's folder (`MATERIAL`).
"""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as Packet

from examples.hello.hello_pb2_grpc import GreeterStub
from rpc.authorization.program import compile_filters
from rpc.security.chain import Chain, Policy
from xds_client.decode.extensions import deferred, type_of
from xds_client.model import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rpc.security import Guard

MATERIAL = "PROXYLESS_BENCH_MATERIAL"
_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_ISSUER = "https://issuer.example"
_DAY = 86_400


def make_tokens(folder: Path) -> None:
    """A key set of one RSA key, as most issuers have, and a token that it signed."""
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_numbers()
    n, e = (_b64(value.to_bytes((value.bit_length() + 7) // 8, "big")) for value in (public.n, public.e))
    (folder / "jwks").write_text(json.dumps({"keys": [{"kty": "RSA", "kid": "k", "n": n, "e": e}]}))
    now = int(time.time())
    claims = {"iss": _ISSUER, "sub": "bench", "iat": now, "exp": now + _DAY, "scope": "read write"}
    signed = ".".join(_b64(json.dumps(said).encode()) for said in ({"alg": "RS256", "kid": "k"}, claims))
    signature = key.sign(signed.encode(), padding.PKCS1v15(), SHA256())
    (folder / "token").write_text(f"{signed}.{_b64(signature)}")


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _read(name: str) -> str:
    return (Path(os.environ[MATERIAL]) / name).read_text()


def nothing() -> list[dict[str, Any]]:
    """No policy at all."""
    return []


def tokens() -> list[dict[str, Any]]:
    """RequestAuthentication with one rule: a token is verified once, and then met again by each call."""
    provider = {
        "issuer": _ISSUER,
        "forward": True,
        "local_jwks": {"inline_string": _read("jwks")},
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": {"space_delimited_claims": ["permission", "scope"]},
    }
    requires = {"requires_any": {"requirements": [{"provider_name": "origins-0"}, {"allow_missing": {}}]}}
    filled = {
        "@type": f"{_HTTP}.jwt_authn.v3.JwtAuthentication",
        "providers": {"origins-0": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": requires}],
        "bypass_cors_preflight": True,
    }
    return [filled]


def rules(number: int) -> Callable[[], list[dict[str, Any]]]:
    """An AuthorizationPolicy of so many rules, one path each; the last is that of the call."""

    def said() -> list[dict[str, Any]]:
        paths = [f"/hello.Greeter/Say{n}" for n in range(number - 1)] + ["/hello.Greeter/SayHello"]
        policies = {f"ns[demo]-policy[bench]-rule[{n}]": _rule(path) for n, path in enumerate(paths)}
        return [{"@type": f"{_HTTP}.rbac.v3.RBAC", "rules": {"action": "ALLOW", "policies": policies}}]

    return said


def _rule(path: str) -> dict[str, Any]:
    paths = {"or_rules": {"rules": [{"url_path": {"path": {"exact": path}}}]}}
    return {"permissions": [{"and_rules": {"rules": [paths]}}], "principals": [{"and_ids": {"ids": [{"any": True}]}}]}


class _Fixed:
    """Server credentials: a plaintext port whose one chain has these filters."""

    def __init__(self, filters: Sequence[dict[str, Any]]) -> None:
        self._filters = [_filter(said) for said in filters]

    def follow(self, guard: Guard) -> _Fixed:
        policy = Policy(authorize=compile_filters(self._filters, None))
        guard.set([Chain(name="bench", transport="raw_buffer", policy=policy)])
        return self

    def close(self) -> None:
        """Nothing is followed."""


def _filter(said: dict[str, Any]) -> Filter:
    packet = json_format.ParseDict(said, Packet())
    return Filter("bench", type_of(packet), packed=deferred(packet))


def bind(filters: Callable[[], list[dict[str, Any]]]) -> Callable[[Any, str], int]:
    def bound(server: Any, address: str) -> int:
        port: int = server.add_secure_port(address, _Fixed(filters()))
        return port

    return bound


class CallerWithToken:
    """A stub whose calls carry the token, whether anybody asks for it or not."""

    def __init__(self, channel: Any) -> None:
        call = GreeterStub(channel).SayHello
        metadata = (("authorization", f"Bearer {_read('token')}"),)
        self.SayHello = lambda request: call(request, metadata=metadata)
