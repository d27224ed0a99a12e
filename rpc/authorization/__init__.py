"""Who may call what: what the filters of a chain demand of each request, compiled once per configuration.

`decision` is the question and its answers, `request` a request as filters see it, `program` how the filters of a chain
become one question, and each filter has a module of its own, which says so by `program.carries_out`.
"""

from rpc.authorization import fault as _fault
from rpc.authorization import header_mutation as _header_mutation
from rpc.authorization import rbac as _rbac
from rpc.authorization import route_headers as _route_headers
from rpc.authorization.ext_authz import filter as _ext_authz
from rpc.authorization.jwt import filter as _jwt
from rpc.authorization.local_rate_limit import filter as _local_rate_limit

__all__: list[str] = []
_ = (_ext_authz, _fault, _header_mutation, _jwt, _local_rate_limit, _rbac, _route_headers)
