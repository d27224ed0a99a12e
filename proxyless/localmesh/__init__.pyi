"""`localmesh` under its second name, for type checkers; see `proxyless.names`."""

from localmesh import *
