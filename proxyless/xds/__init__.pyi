"""`xds_client` under its second name, for type checkers; see `proxyless.names`."""

from xds_client import *
