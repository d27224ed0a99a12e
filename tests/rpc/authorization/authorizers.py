"""Services that say whether a request may pass (envoy.service.auth.v3.Authorization): ours and grpcio's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from envoy.service.auth.v3 import external_auth_pb2
from google.protobuf.json_format import ParseDict

import rpc

SERVICE = "envoy.service.auth.v3.Authorization"
PERMISSION_DENIED = 7


def allow(**ok):
    return ParseDict({"ok_response": ok, "status": {}}, external_auth_pb2.CheckResponse())


def deny(**denied):
    fields = {"status": {"code": PERMISSION_DENIED}, "denied_response": denied}
    return ParseDict(fields, external_auth_pb2.CheckResponse())


def header(key, value, **how):
    return {"header": {"key": key, "value": value}, **how}


class Authorizer(grpc.GenericRpcHandler):
    """``answers`` is asked with each ``CheckRequest``; ``asked`` has them all, ``contexts`` what they came in."""

    def __init__(self, answers, make="ours"):
        self.answers = answers
        self.asked = []
        self.contexts = []
        self.server = {"ours": rpc, "grpcio": grpc}[make].server(ThreadPoolExecutor(8))
        self.server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, details):
        if details.method != f"/{SERVICE}/Check":
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._check, external_auth_pb2.CheckRequest.FromString, lambda said: said.SerializeToString()
        )

    def _check(self, request, context):
        self.contexts.append(context)
        self.asked.append(request)
        return self.answers(request)

    def close(self):
        self.server.stop(0).wait()
