"""What the rest of the SDK knows of where identities come from. Every method is for any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client.identity.svid import Identity
    from xds_client.observers import ObserverHandle


class IdentitySource(Protocol):
    """Keeps one `Identity` current: `IstiodCa`, `CertificateFiles` and `SpiffeWorkloadApi` are such sources.

    >>> source = rpc.mesh().identity
    >>> handle = source.observe(lambda identity: print(identity.spiffe_id))  # now, and at every change
    spiffe://cluster.local/ns/demo/sa/web
    >>> handle.close()
    >>> source.error  # None: all is well
    """

    @property
    def current(self) -> Identity | None:
        """The identity to use now. None: there is none yet, or it has expired; `error` says which, and why."""

    @property
    def error(self) -> str | None:
        """Why there is no identity, or why it could not be renewed; names the identity and the next step."""

    def observe(self, callback: Callable[[Identity], object]) -> ObserverHandle:
        """Call back with the identity there is, if any, and at every change of certificate or roots.

        One call at a time and never an older value after a newer one. The first call comes on the calling thread,
        the others on the source's, which waits for them: be quick.
        """

    def wait(self, timeout: float) -> Identity:
        """The identity, once there is one; raises `IdentityTimeoutError` after ``timeout`` seconds, with the reason."""

    def close(self) -> None:
        """End what renews it; `current` stays what it is until it expires."""
