"""What people hold: the command line. No mesh logic; that is in `xds_client`, `rpc` and `localmesh`."""

from importlib.metadata import version

__version__ = version("proxyless")

__all__ = ["__version__"]
