"""What people hold: the command line, and `proxyless.rpc`, `proxyless.xds`, `proxyless.localmesh`. No mesh logic.

`rpc`, `xds_client` and `localmesh` are the same modules under the names that they have in this project.
"""

from importlib.metadata import version

from proxyless.names import install

__version__ = version("proxyless")

__all__ = ["__version__"]

install()
