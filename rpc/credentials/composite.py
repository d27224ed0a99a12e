"""Channel credentials with call credentials of their own; grpcio's own channel credentials, opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rpc.credentials.call import plugins_of
from rpc.security import own_channel_credentials, ssl_channel_credentials

if TYPE_CHECKING:
    from rpc.credentials.call import CallCredentials
    from rpc.security import ChannelCredentials, Protection
    from rpc.security.context import Sessions
    from xds_client.identity import IdentitySource


@dataclass(frozen=True, slots=True)
class _Composite:
    channel: ChannelCredentials
    call_credentials: CallCredentials

    @property
    def scheme(self) -> str:
        return self.channel.scheme

    def protection(self, identity: IdentitySource | None, target_name: str | None, sessions: Sessions) -> Protection:
        return self.channel.protection(identity, target_name, sessions)


def opened(credentials: Any) -> ChannelCredentials:
    """Ours as they are; grpcio's own `ssl_…` and `composite_…`, made anew. Raises TypeError for others of grpcio's."""
    inner = getattr(credentials, "_credentials", credentials)
    if hasattr(inner, "_channel_credentials") and hasattr(inner, "_call_credentialses"):
        return composite_channel_credentials(inner._channel_credentials, *inner._call_credentialses)  # noqa: SLF001
    if getattr(inner, "_private_key_signer", None) is not None:
        what = "ssl_channel_credentials_with_custom_signer: keys that sign elsewhere"
        raise TypeError(f"{what} are not used in this release; give ssl_channel_credentials the key itself")
    if hasattr(inner, "_pem_root_certificates"):
        return ssl_channel_credentials(inner._pem_root_certificates, inner._private_key, inner._certificate_chain)  # noqa: SLF001
    return own_channel_credentials(credentials)


def composite_channel_credentials(channel_credentials: Any, *call_credentials: Any) -> ChannelCredentials:
    """`grpc.composite_channel_credentials`: every call of the channel carries what these plugins say.

    >>> token = rpc.access_token_call_credentials("secret")
    >>> credentials = rpc.composite_channel_credentials(rpc.ssl_channel_credentials(), token)
    >>> channel = rpc.secure_channel("shop.example.com:443", credentials)
    >>> channel.close()
    """
    own = opened(channel_credentials)
    plugins = tuple(plugin for credentials in call_credentials for plugin in plugins_of(credentials))
    return _Composite(own, (*channel_call_credentials(own), *plugins))


def channel_call_credentials(credentials: ChannelCredentials | None) -> CallCredentials:
    plugins: CallCredentials = getattr(credentials, "call_credentials", ())
    return plugins
