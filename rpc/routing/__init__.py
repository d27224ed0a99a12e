"""From a virtual host and a request to a cluster name. Pure: no I/O, no locks."""

from rpc.routing.match import InvalidPatternError, RequestHead
from rpc.routing.table import RouteTable

__all__ = ["InvalidPatternError", "RequestHead", "RouteTable"]
