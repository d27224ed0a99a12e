"""Who may call what: what a port's policy is asked before anything is done for a call, and what it may answer.

The question is a request's head and its peer, nothing of gRPC's, so that every protocol of a port asks the same.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from rpc._native import Metadata, TlsInfo


class Head(Protocol):
    """The head of one request, and who sent it. What no rule reads is never made: reading costs, the object does not.

    It lasts no longer than the question: a policy that decides later reads what it needs at once.
    """

    @property
    def path(self) -> str: ...

    @property
    def peer(self) -> str:
        """Its address, as grpcio writes it."""

    def metadata(self) -> Metadata | None:
        """The request's headers but those that belong to HTTP/2 and gRPC themselves; None: there are none."""

    def tls_info(self) -> TlsInfo | None:
        """How the connection is protected, and by whose certificate; None: it is in plaintext."""


class Refusal(NamedTuple):
    """How a call ends that is not let in, or that nobody can answer."""

    code: int  # gRPC's number
    details: str


# None: it is let in. A future: that is not known yet; it is cancelled when the call is over before.
Decision: TypeAlias = Refusal | Future[Refusal | None] | None


class Authorize(Protocol):
    """Asked on the thread or in the loop that reads the connections: it never waits, but answers with a future.

    What it raises, and what its future fails with, lets nobody in. Whoever settles the future may be any thread.
    """

    def __call__(self, head: Head, /) -> Decision: ...
