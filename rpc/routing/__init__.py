"""From a virtual host and a request to a cluster name. Pure: no I/O, no locks."""

from rpc.routing.match import RequestHead
from rpc.routing.pattern import InvalidPatternError, TextTooLongError
from rpc.routing.table import RouteTable

__all__ = ["InvalidPatternError", "RequestHead", "RouteTable", "TextTooLongError"]
