"""`xds_client.model` under its second name, for type checkers; see `proxyless.names`."""

from xds_client.model import *
