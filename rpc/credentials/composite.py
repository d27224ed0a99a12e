"""Channel credentials that hold others: with call credentials, with a fallback; grpcio's own, opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rpc.credentials.call import plugins_of
from rpc.security import own_channel_credentials, ssl_channel_credentials
from rpc.security.credentials import XdsChannelCredentials

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


def xds_channel_credentials(fallback_credentials: Any = None) -> ChannelCredentials:
    """`grpc.xds_channel_credentials`: as the mesh demands; where there is no identity of the mesh, the fallback, which
    is `ssl_channel_credentials()` unless given.

    A mesh target needs no credentials here: `rpc.insecure_channel` follows the mesh as well.
    grpcio's own `ssl_channel_credentials` do as well. Raises TypeError for others of its own, and for insecure ones,
    which would be plaintext by omission.

    >>> channel = rpc.secure_channel("xds:///greeter.demo:9080", rpc.xds_channel_credentials())
    >>> channel.close()
    """
    if fallback_credentials is None:
        return XdsChannelCredentials(None)
    if "Insecure" in type(getattr(fallback_credentials, "_credentials", None)).__name__:
        raise TypeError("insecure_channel_credentials are no fallback: make the channel with rpc.insecure_channel")
    return XdsChannelCredentials(opened(fallback_credentials))


def channel_call_credentials(credentials: ChannelCredentials | None) -> CallCredentials:
    plugins: CallCredentials = getattr(credentials, "call_credentials", ())
    return plugins
