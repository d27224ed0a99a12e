"""`xds_client.identity` under its second name, for type checkers; see `proxyless.names`."""

from xds_client.identity import *
