"""What a request's token says, for the handler that answers it, in both worlds."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, cast

from rpc.authorization.jwt.filter import METADATA
from rpc.authorization.jwt.text import Json
from rpc.serving.context import CallState

if TYPE_CHECKING:
    import grpc
    import grpc.aio

Claims: TypeAlias = Mapping[str, Json]
_PAYLOAD = "payload"  # as istiod has it written (``payload_in_metadata``)


def verified_claims(context: grpc.ServicerContext | grpc.aio.ServicerContext) -> Claims | None:  # type: ignore[type-arg]
    """What the caller's token says, which a RequestAuthentication of the mesh has had verified; None: there is none.

    They are as AuthorizationPolicy matches them: claims that name several things in one text (``scope``,
    ``permission`` and the rule's ``spaceDelimitedClaims``) are lists. In handlers of both worlds:

    >>> class WhoAmI(GreeterServicer):
    ...     def SayHello(self, request, context):
    ...         claims = rpc.verified_claims(context)
    ...         if claims is None:
    ...             context.abort(grpc.StatusCode.UNAUTHENTICATED, "a token, please")
    ...         return hello_pb2.HelloReply(message=f"Hello, {claims['sub']}")
    """
    found = context.call.dynamic_metadata.get(METADATA) if isinstance(context, CallState) else None
    claims = found.get(_PAYLOAD) if isinstance(found, dict) else None
    return cast("Claims", copy.deepcopy(claims)) if isinstance(claims, dict) else None
