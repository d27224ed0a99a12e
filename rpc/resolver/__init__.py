"""From a target to what its calls need: who makes choices, and how to add to them.

`xds` resolves by the mesh, `dns` by names, `static` as written; all are registered as anybody's are, by `register`.

>>> registration = rpc.resolver.register("toy", lambda target: Toy(target.endpoint))
>>> registration.close()
"""

from rpc.choice import CallTerms, RetryPolicy
from rpc.resolver.resolver import ChannelTarget, Resolver
from rpc.resolver.schemes import Registration, register
from rpc.resolver.target import parse as parse
from rpc.resolver.values import Pool, Resolved, Route, Unresolved
from xds_client.model import Endpoint, InvalidTargetError

__all__ = [
    "CallTerms",
    "ChannelTarget",
    "Endpoint",
    "InvalidTargetError",
    "Pool",
    "Registration",
    "Resolved",
    "Resolver",
    "RetryPolicy",
    "Route",
    "Unresolved",
    "register",
]
