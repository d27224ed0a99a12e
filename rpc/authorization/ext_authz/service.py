"""A service that is asked by gRPC (envoy.service.auth.v3.Authorization), over a channel of our own. Any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from envoy.config.core.v3 import base_pb2  # type: ignore[import-untyped]
from envoy.service.auth.v3 import external_auth_pb2  # type: ignore[import-untyped]
from google.protobuf.json_format import MessageToDict

from rpc.authorization.clusters import channel_to
from rpc.authorization.ext_authz.verdict import Allowed, Denied, Failed, Verdict
from rpc.authorization.program import CannotCarryOutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from xds_client import PilotExchanger
    from xds_client.model import GrpcService

_CHECK = "/envoy.service.auth.v3.Authorization/Check"
_TIMEOUT = 0.2  # seconds, where nothing is said
_ACTIONS = base_pb2.HeaderValueOption.HeaderAppendAction


class GrpcChecks:
    def __init__(self, said: GrpcService, mesh: PilotExchanger | None) -> None:
        """Raises `CannotCarryOutError`."""
        cluster = said.envoy_grpc
        if cluster is None:
            raise CannotCarryOutError("a service that is no cluster of the mesh (google_grpc)")
        if said.retry_policy is not None or cluster.retry_policy is not None:
            raise CannotCarryOutError("retry_policy of its service")
        if any("%" in header.value or header.raw_value for header in said.initial_metadata):
            raise CannotCarryOutError("initial_metadata with formatters or bytes")
        self.name = cluster.cluster_name
        self._metadata = tuple((header.key.lower(), header.value) for header in said.initial_metadata)
        timeout = _TIMEOUT if said.timeout is None else said.timeout
        self._timeout = timeout if timeout > 0 else None
        longest = cluster.max_receive_message_length
        channel = channel_to(self.name, mesh, cluster.authority or self.name, longest)
        self._check = channel.unary_unary(
            _CHECK,
            request_serializer=external_auth_pb2.CheckRequest.SerializeToString,
            response_deserializer=external_auth_pb2.CheckResponse.FromString,
        )

    def ask(self, check: Any, answered: Callable[[Verdict], None]) -> Callable[[], object]:
        """``answered`` is called once, by any thread, this one too. Returned: how to give it up."""
        call = self._check.future(check, timeout=self._timeout, metadata=self._metadata)
        call.add_done_callback(lambda call: answered(_verdict(call)))
        return call.cancel


def _verdict(call: Any) -> Verdict:
    if call.code() is not grpc.StatusCode.OK:
        return Verdict(Failed(f"{call.code().name}: {call.details()}"))
    response = call.result()
    found = response.dynamic_metadata
    if response.ok_response.HasField("dynamic_metadata"):
        found = response.ok_response.dynamic_metadata
    return Verdict(_outcome(response), MessageToDict(found) if found.fields else None)


def _outcome(response: Any) -> Allowed | Denied | Failed:
    if response.status.code == 0:
        return _allowed(response.ok_response)
    if response.HasField("error_response"):
        error = response.error_response
        reason = f"it answers with an error: {response.status.message!r:.200}"
        return Failed(reason, error.status.code or None, error.body, _pairs(error.headers))
    denied = response.denied_response
    headers = _pairs(h for h in denied.headers if not h.append.value)  # what is to be appended has nothing to be put to
    return Denied(denied.status.code or 403, denied.body, headers)


def _allowed(ok: Any) -> Allowed:
    """``append`` is false in this message where nothing is said, whatever is the default elsewhere."""
    return Allowed(
        setting=_pairs(h for h in ok.headers if not h.append.value),
        appending=_pairs(h for h in ok.headers if h.append.value),
        removing=tuple(ok.headers_to_remove),
        answer=tuple((_action(h), h.header.key, h.header.value) for h in ok.response_headers_to_add),
        parameters=tuple((p.key, p.value) for p in ok.query_parameters_to_set),
        no_parameters=frozenset(ok.query_parameters_to_remove),
    )


def _action(option: Any) -> str:
    if option.HasField("append"):
        return "APPEND_IF_EXISTS_OR_ADD" if option.append.value else "OVERWRITE_IF_EXISTS_OR_ADD"
    known = option.append_action in _ACTIONS.values()
    return _ACTIONS.Name(option.append_action) if known else "OVERWRITE_IF_EXISTS_OR_ADD"


def _pairs(options: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    return tuple((option.header.key, option.header.value) for option in options)
