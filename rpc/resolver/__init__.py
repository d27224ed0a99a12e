"""From a target string to configurations: by the mesh (`xds`) or as written (`static`)."""

from rpc.resolver.target import Resolution, parse

__all__ = ["Resolution", "parse"]
