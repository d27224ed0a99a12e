"""`rpc.resolver` under its second name, for type checkers; see `proxyless.names`."""

from rpc.resolver import *
