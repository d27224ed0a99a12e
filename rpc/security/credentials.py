"""grpc's credentials, on our engine. grpcio's own objects hide their contents in C, so these are made anew.

`ssl_channel_credentials` and `ssl_server_credentials` have grpc's signatures; the ``xds`` ones follow the mesh.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from rpc.address import is_ip
from rpc.process_mesh import mesh as process_mesh
from rpc.security import context, material
from rpc.security.chain import Chain
from rpc.security.inbound import MeshFollowing
from rpc.security.material import SecurityError
from rpc.security.outbound import MeshProtection, TlsSecurity
from rpc.security.peer import server_names
from xds_client.model import DownstreamTls, InlineCertificate, InlineRoots, UpstreamTls

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from rpc.security.context import Sessions
    from rpc.security.inbound import Following, SecuredPort, ServerCredentials
    from rpc.security.outbound import Protection, Security
    from xds_client import PilotExchanger
    from xds_client.identity import IdentitySource


_log = logging.getLogger(f"proxyless.{__name__}")
_NO_PAIR = "At least one private key-certificate chain pair is required!"


class ChannelCredentials(Protocol):
    """What `rpc.secure_channel` takes. ``scheme`` is what requests say as ``:scheme``."""

    @property
    def scheme(self) -> str: ...

    def protection(self, identity: IdentitySource | None, target_name: str | None, sessions: Sessions) -> Protection:
        """``identity``: the process's, on a mesh target; ``target_name``: grpc.ssl_target_name_override;
        ``sessions``: the channel's, or those that its grpc.ssl_session_cache shares.
        """


def own_channel_credentials(credentials: Any) -> ChannelCredentials:
    """Raises TypeError for grpcio's own: nobody can look into them."""
    if not hasattr(credentials, "protection"):
        raise _foreign(credentials, "rpc.ssl_channel_credentials or rpc.xds_channel_credentials")
    own: ChannelCredentials = credentials
    return own


def own_server_credentials(credentials: Any) -> ServerCredentials:
    """Raises TypeError for grpcio's own: nobody can look into them."""
    if not hasattr(credentials, "follow"):
        raise _foreign(credentials, "rpc.ssl_server_credentials or rpc.xds_server_credentials")
    own: ServerCredentials = credentials
    return own


def _foreign(credentials: Any, instead: str) -> TypeError:
    kind = f"{type(credentials).__module__}.{type(credentials).__name__}"
    return TypeError(f"{kind} hides its contents in C; make the credentials with {instead}: same arguments")


# ---- channels


@dataclass(frozen=True, slots=True)
class _SslChannelCredentials:
    tls: UpstreamTls
    as_grpc: bool
    scheme: str = "https"

    def protection(self, identity: IdentitySource | None, target_name: str | None, sessions: Sessions) -> Protection:
        del identity
        return _SslProtection(self.tls, target_name, sessions, self.as_grpc)


@dataclass(frozen=True, slots=True)
class _SslProtection:
    tls: UpstreamTls
    target_name: str | None
    sessions: Sessions
    as_grpc: bool

    def of(self, tls: UpstreamTls | None, host: str) -> Security:
        """Whatever a mesh would demand: the caller has said how."""
        del tls
        name = self.target_name or host
        tls = replace(self.tls, sni="" if is_ip(name) else name)
        return TlsSecurity(tls, name, None, self.sessions, self.as_grpc)


def ssl_channel_credentials(
    root_certificates: bytes | None = None,
    private_key: bytes | None = None,
    certificate_chain: bytes | None = None,
) -> ChannelCredentials:
    """`grpc.ssl_channel_credentials`: PEM; without roots those that grpcio trusts. The server is checked by name, and
    its certificate taken as grpcio takes it.

    Raises `SecurityError` when the default roots cannot be read or a key has no chain, TypeError for what is not bytes;
    wrong PEM fails the channel's calls and says why.

    >>> credentials = rpc.ssl_channel_credentials(
    ...     root_certificates=Path("roots.pem").read_bytes(),
    ...     private_key=Path("key.pem").read_bytes(),  # for mutual TLS
    ...     certificate_chain=Path("chain.pem").read_bytes(),
    ... )
    >>> rpc.secure_channel("localhost:50051", credentials).close()
    """
    return _channel_credentials(root_certificates, private_key, certificate_chain, as_grpc=True)


def control_plane_credentials(
    root_certificates: bytes, private_key: bytes | None, certificate_chain: bytes | None
) -> ChannelCredentials:
    """For the channel to the control plane, which is the mesh's: by the mesh's strict rules."""
    return _channel_credentials(root_certificates, private_key, certificate_chain, as_grpc=False)


def _channel_credentials(
    root_certificates: bytes | None, private_key: bytes | None, certificate_chain: bytes | None, *, as_grpc: bool
) -> ChannelCredentials:
    _bytes(root_certificates, private_key, certificate_chain)
    own = None
    if private_key and certificate_chain:
        own = InlineCertificate(certificate_chain, private_key)
    elif private_key or certificate_chain:
        raise SecurityError("a private key and its certificate chain come together")
    roots = root_certificates if root_certificates is not None else material.default_roots()
    return _SslChannelCredentials(UpstreamTls(certificate=own, roots=InlineRoots(roots)), as_grpc)


@dataclass(frozen=True, slots=True)
class XdsChannelCredentials:
    """As the mesh demands; ``fallback`` where there is no identity of the mesh, None: `ssl_channel_credentials()`."""

    fallback: ChannelCredentials | None
    scheme: str = "http"

    def protection(self, identity: IdentitySource | None, target_name: str | None, sessions: Sessions) -> Protection:
        if identity is None:  # outside of the mesh: as grpc, never plaintext for want of a word
            fallback = self.fallback if self.fallback is not None else ssl_channel_credentials()
            return fallback.protection(identity, target_name, sessions)
        return MeshProtection(identity, sessions)


def _bytes(*pem: bytes | None) -> None:
    for one in pem:
        if one is not None and not isinstance(one, bytes):
            raise TypeError(f"expected PEM to be bytes, got {type(one)}")


# ---- servers


@dataclass(frozen=True, slots=True)
class CertificateConfiguration:
    """`grpc.ssl_server_certificate_configuration`: pairs of key and chain, and the roots of clients. PEM."""

    private_key_certificate_chain_pairs: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    root_certificates: bytes | None = None


def ssl_server_certificate_configuration(
    private_key_certificate_chain_pairs: Sequence[tuple[bytes, bytes]], root_certificates: bytes | None = None
) -> CertificateConfiguration:
    """`grpc.ssl_server_certificate_configuration`: what `dynamic_ssl_server_credentials` is given at first and later.

    >>> pair = Path("key.pem").read_bytes(), Path("chain.pem").read_bytes()
    >>> configuration = rpc.ssl_server_certificate_configuration([pair])
    """
    if not private_key_certificate_chain_pairs:
        raise ValueError(_NO_PAIR)
    pairs = tuple((key, chain) for key, chain in private_key_certificate_chain_pairs)
    _bytes(root_certificates, *itertools.chain(*pairs))
    return CertificateConfiguration(pairs, root_certificates)


@dataclass(frozen=True, slots=True)
class _SslServerCredentials:
    """``fetch`` is asked before each handshake; None from it means: as before (grpc's contract)."""

    configuration: CertificateConfiguration
    require_client: bool
    fetch: Callable[[], CertificateConfiguration | None] | None = None

    def check(self, listener: socket.socket) -> None:
        """Raises `SecurityError` for PEM that is none."""
        del listener
        self.chains(self.configuration)

    def chains(self, configuration: CertificateConfiguration) -> list[Chain]:
        """Who asks for a name is shown the first certificate for it; whoever asks for another, or none, the first."""
        # grpcio looks at a client's certificate only where it demands one, whatever roots it was given.
        roots = configuration.root_certificates if self.require_client else None
        chains: list[Chain] = []
        for key, chain in configuration.private_key_certificate_chain_pairs:
            tls = DownstreamTls(
                certificate=InlineCertificate(chain, key),
                roots=InlineRoots(roots) if roots is not None else None,
                require_client_certificate=self.require_client,
            )
            answers = context.server(tls, None, as_grpc=True)
            if not chains:
                chains.append(Chain(name="tls", transport="tls", tls=answers))
            if names := server_names(chain):
                named = f"tls for {', '.join(names)}"
                chains.append(Chain(name=named, server_names=names, transport="tls", tls=answers))
        return chains

    def follow(self, secured_port: SecuredPort) -> Following:
        following = _SslFollowing(self, secured_port)
        following.apply(self.configuration)
        if self.fetch is not None:
            secured_port.before_handshakes(following.refetch)
        return following


class _SslFollowing:
    """What one port was last told: the same credentials may be another port's, too."""

    def __init__(self, credentials: _SslServerCredentials, secured_port: SecuredPort) -> None:
        self._credentials = credentials
        self._port = secured_port
        self._configuration = credentials.configuration

    def refetch(self) -> None:
        """Never raises: what cannot be had or used leaves what there was, as in grpcio."""
        assert self._credentials.fetch is not None
        try:
            fetched = self._credentials.fetch()
            if fetched is not None and fetched != self._configuration:
                self.apply(fetched)
        except Exception:
            _log.exception("%s: no new certificate was fetched, the last good one stays", self._port.address)

    def apply(self, configuration: CertificateConfiguration) -> None:
        self._port.set(self._credentials.chains(configuration))
        self._configuration = configuration

    def close(self) -> None:
        """Nothing is followed."""


def ssl_server_credentials(
    private_key_certificate_chain_pairs: Sequence[tuple[bytes, bytes]],
    root_certificates: bytes | None = None,
    require_client_auth: bool = False,
) -> ServerCredentials:
    """`grpc.ssl_server_credentials`: PEM. Raises ValueError and TypeError as grpc does; wrong PEM is a RuntimeError of
    `add_secure_port`.

    Of several pairs the one for the name that the client asks for (SNI) is shown, else the first.

    >>> pair = Path("key.pem").read_bytes(), Path("chain.pem").read_bytes()
    >>> server = rpc.server(None)
    >>> port = server.add_secure_port("127.0.0.1:0", rpc.ssl_server_credentials([pair]))
    """
    configuration = ssl_server_certificate_configuration(private_key_certificate_chain_pairs, root_certificates)
    return _ssl_server_credentials(configuration, None, require_client_auth)


def dynamic_ssl_server_credentials(
    initial_certificate_configuration: CertificateConfiguration,
    certificate_configuration_fetcher: Callable[[], CertificateConfiguration | None],
    require_client_authentication: bool = False,
) -> ServerCredentials:
    """`grpc.dynamic_ssl_server_credentials`: the fetcher is asked before each handshake; None means no change.

    >>> def read():
    ...     pair = Path("key.pem").read_bytes(), Path("chain.pem").read_bytes()
    ...     return rpc.ssl_server_certificate_configuration([pair])
    >>> credentials = rpc.dynamic_ssl_server_credentials(read(), read)
    >>> port = rpc.server(None).add_secure_port("127.0.0.1:0", credentials)
    """
    if not isinstance(initial_certificate_configuration, CertificateConfiguration):
        raise TypeError("make the configuration with rpc.ssl_server_certificate_configuration: same arguments")
    if not callable(certificate_configuration_fetcher):
        raise TypeError("certificate_configuration_fetcher must be callable")
    return _ssl_server_credentials(
        initial_certificate_configuration, certificate_configuration_fetcher, require_client_authentication
    )


def _ssl_server_credentials(
    configuration: CertificateConfiguration,
    fetch: Callable[[], CertificateConfiguration | None] | None,
    require_client: bool,
) -> ServerCredentials:
    if require_client and configuration.root_certificates is None:
        raise ValueError("Illegal to require client auth without providing root certificates!")
    return _SslServerCredentials(configuration, require_client, fetch)


class _XdsServerCredentials:
    def __init__(self, mesh: PilotExchanger | None) -> None:
        self._mesh = mesh

    def follow(self, secured_port: SecuredPort) -> Following:
        return MeshFollowing(self._mesh or secured_port.mesh or process_mesh(), secured_port)


def xds_server_credentials(
    fallback_credentials: ServerCredentials | None = None, *, mesh: PilotExchanger | None = None
) -> ServerCredentials:
    """`grpc.xds_server_credentials`: the port follows the mesh's PeerAuthentication: STRICT, PERMISSIVE (both on the
    one port) or DISABLE. It never falls back to ``fallback_credentials``: a port that lost its mesh must not open.

    ``mesh``: whose node it is; without it the server's, and without that the process's own (`rpc.mesh`), opened when
    the server starts (raises `xds_client.BootstrapError` then). Nobody is let in before the node's inbound listener and
    its certificate are there; see ``ready`` of the server.

    >>> server = rpc.server(ThreadPoolExecutor(8))
    >>> port = server.add_secure_port("127.0.0.1:0", rpc.xds_server_credentials())
    >>> probes = server.add_probe_port("127.0.0.1:0")  # plaintext, for the kubelet
    """
    del fallback_credentials
    return _XdsServerCredentials(mesh)
