"""A server's port whose chain has HTTP filters of anybody's choice: what `MeshFollowing` does with the mesh's."""

from __future__ import annotations

import json

import grpc

import rpc
from rpc.authorization.program import compile_filters
from rpc.security.chain import Chain, Policy
from tests.xds_client.test_decode_listener import HTTP, a_chain

V3 = "type.googleapis.com/envoy.extensions.filters.http"


def http_filters(**configs):
    """As a control plane sends them: by name what an ``Any`` has in JSON."""
    filters = [{"name": name, "typed_config": config} for name, config in configs.items()]
    manager = {"@type": HTTP["typed_config"]["@type"], "http_filters": filters}
    return a_chain(filters=[{"name": "http", "typed_config": manager}]).http_filters


def jwt_authn(config):
    return http_filters(jwt={"@type": f"{V3}.jwt_authn.v3.JwtAuthentication", **config})


class Enforced:
    """Server credentials, in plaintext. ``put``: other filters from now on."""

    def __init__(self, filters):
        self._filters = filters
        self._secured_port = None

    def follow(self, secured_port):
        self._secured_port = secured_port
        self.put(self._filters)
        return self

    def put(self, filters):
        policy = Policy(authorize=compile_filters(filters, None))
        self._secured_port.set([Chain(name="test", transport="raw_buffer", policy=policy)])

    def close(self):
        """Nothing is followed."""


class Mirror(grpc.GenericRpcHandler):
    """Answers every method with what it saw: path, metadata, and claims where the server is ours."""

    def __init__(self, *, loop=False, ours=True):
        self._loop = loop
        self._ours = ours

    def service(self, details):
        def seen(_, context):
            metadata = [[key, value if isinstance(value, str) else ""] for key, value in context.invocation_metadata()]
            claims = rpc.verified_claims(context) if self._ours else None
            return json.dumps([details.method, metadata, claims]).encode()

        async def seen_in_a_loop(request, context):
            return seen(request, context)

        return grpc.unary_unary_rpc_method_handler(seen_in_a_loop if self._loop else seen)
