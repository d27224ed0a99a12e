"""`rpc.balancing` under its second name, for type checkers; see `proxyless.names`."""

from rpc.balancing import *
