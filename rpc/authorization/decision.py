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

    It lasts until the call is let in or refused, or over: a policy that decides later may look at it until then.
    """

    @property
    def path(self) -> str:
        """``:path``, with its query."""

    def values(self, name: str) -> list[bytes]:
        """What a header holds, each of its values apart; ``:method`` and its like are headers, too. Empty: it is not
        there. The name is lower case; ``host`` is ``:authority``.
        """

    def fields(self) -> list[tuple[str, bytes]]:
        """Each field as it came, ``:method`` and its like first."""

    def change_answer(self, action: str, name: str, value: bytes) -> bool:
        """Changes the head of the answer, whoever gives it, by an action of `xds_client.model.HeaderToAdd` or REMOVE.
        False: this header is nobody's to change, or the value no header's.
        """

    def replace(self, name: str, values: list[bytes]) -> None:
        """From now on a header holds these, for everybody who looks; none: it is not there."""

    @property
    def peer(self) -> str:
        """Its address, as grpcio writes it."""

    @property
    def local(self) -> str:
        """The address that it came to, written alike."""

    @property
    def server_name(self) -> str:
        """What TLS asked for; empty: nothing."""

    @property
    def dynamic_metadata(self) -> dict[str, object]:
        """What filters have found out about the request, by the name of the filter; made when first asked for. Values
        are JSON's: what protobuf's ``Struct`` can hold.
        """

    def metadata(self) -> Metadata | None:
        """The request's headers but those that belong to HTTP/2 and gRPC themselves; None: there are none."""

    def tls_info(self) -> TlsInfo | None:
        """How the connection is protected, and by whose certificate; None: it is in plaintext."""


PERMISSION_DENIED = 7  # gRPC's number, as all codes are here


class Refusal(NamedTuple):
    """How a call ends that is not let in, or that nobody can answer.

    ``policy``: what decided, by the name that the mesh gives it (istiod's are ``ns[..]-policy[..]-rule[..]``); empty:
    that no policy let it in. ``why``: the reason in short, as Envoy's response code details have it; the caller is not
    told either. ``headers``: what the answer says besides, bytes where names end with ``-bin``.
    """

    code: int  # gRPC's number
    details: str
    policy: str = ""
    why: str = ""
    headers: tuple[tuple[str, str | bytes], ...] = ()


# None: it is let in. A future: that is not known yet; it is cancelled when the call is over before.
Decision: TypeAlias = Refusal | Future[Refusal | None] | None


class Authorize(Protocol):
    """Asked on the thread or in the loop that reads the connections: it never waits, but answers with a future.

    What it raises, and what its future fails with, lets nobody in. Whoever settles the future may be any thread.
    """

    def __call__(self, head: Head, /) -> Decision: ...
