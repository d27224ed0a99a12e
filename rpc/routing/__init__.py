"""From a virtual host and a request to a cluster name. Pure: no I/O, no locks."""

from rpc.pattern import InvalidPatternError, TextTooLongError
from rpc.routing.table import RouteTable

__all__ = ["InvalidPatternError", "RouteTable", "TextTooLongError"]
