"""Call credentials: metadata that plugins add to each call over a secure channel; and channels that bring their own."""

from rpc.credentials.call import CallCredentials, gather, plugins_of
from rpc.credentials.composite import composite_channel_credentials, opened, xds_channel_credentials

__all__ = [
    "CallCredentials",
    "composite_channel_credentials",
    "gather",
    "opened",
    "plugins_of",
    "xds_channel_credentials",
]
