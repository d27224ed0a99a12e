"""How connections are protected: what the mesh or the caller demands, turned into the engine's TLS. No sockets here."""

from rpc.security.credentials import (
    ChannelCredentials,
    control_plane_credentials,
    dynamic_ssl_server_credentials,
    own_channel_credentials,
    own_server_credentials,
    ssl_channel_credentials,
    ssl_server_certificate_configuration,
    ssl_server_credentials,
    xds_server_credentials,
)
from rpc.security.inbound import SecuredPort, ServerCredentials
from rpc.security.local import insecure_server_credentials, local_channel_credentials, local_server_credentials
from rpc.security.material import SecurityError
from rpc.security.outbound import MeshProtection, Protection, Security

__all__ = [
    "ChannelCredentials",
    "MeshProtection",
    "Protection",
    "SecuredPort",
    "Security",
    "SecurityError",
    "ServerCredentials",
    "control_plane_credentials",
    "dynamic_ssl_server_credentials",
    "insecure_server_credentials",
    "local_channel_credentials",
    "local_server_credentials",
    "own_channel_credentials",
    "own_server_credentials",
    "ssl_channel_credentials",
    "ssl_server_certificate_configuration",
    "ssl_server_credentials",
    "xds_server_credentials",
]
