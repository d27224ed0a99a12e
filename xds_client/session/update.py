"""What a session tells the caches, and the signature that both kinds of session have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from xds_client.codec import DeltaResponse
    from xds_client.decode import Content
    from xds_client.errors import DecodeError
    from xds_client.resource_type import ResourceType

Names = Mapping["ResourceType", frozenset[str]]


@dataclass(frozen=True, slots=True)
class Update:
    """News of one type. ``removed`` maps a name to why there is no such resource; `WILDCARD` is any not known.

    ``whole``: the type is asked by wildcard and this came from the server, so from now on a name never heard of does
    not exist. ``nonce`` is empty when a timer made the update; there is nothing to acknowledge then.
    """

    kind: ResourceType
    version: str = ""
    nonce: str = ""
    accepted: Mapping[str, Content] = field(default_factory=dict)
    rejected: tuple[DecodeError, ...] = ()
    removed: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False


class Request(Protocol):
    """One message to the control plane."""

    def encode(self) -> bytes: ...


class AdsSession(Protocol):
    """The conversation with a control plane, without I/O: bytes and time in, requests and updates out.

    Delta and state of the world are two sessions of this one signature; ``method`` is the stream's gRPC method. What
    is wanted and what is held outlive a stream; nonces, timers and the node's introduction belong to one stream.
    Requests must be sent in the order given.
    """

    @property
    def method(self) -> str: ...

    def open(self) -> Sequence[Request]:
        """A new stream is being opened: what to say first."""

    def on_wire(self, now: float) -> None:
        """What was said has left: from now on a name not answered counts its seconds. Not while connecting."""

    def close(self) -> None:
        """The stream is gone, and its timers with it: a name is not missing because nobody could be asked."""

    def want(self, names: Names, now: float) -> Sequence[Request]:
        """From now on exactly these names are wanted, type by type; `WILDCARD` stands for all of a type."""

    def ask_again(self, kind: ResourceType, names: Collection[str], now: float) -> Sequence[Request]:
        """Make the control plane answer once more for names that are wanted already."""

    def refuse(self, kind: ResourceType, names: Iterable[str]) -> None:
        """These were accepted, and there is no room for them: they are not held."""

    def receive(self, data: bytes | DeltaResponse, now: float) -> Update | None:
        """Read one response, opened or not; None when it must be neither ACKed nor NACKed. Raises `ProtocolError`."""

    def reply(self, update: Update, late: Sequence[DecodeError] = ()) -> Request:
        """The ACK of an update; the NACK if anything in it was rejected, at receipt or (``late``) since."""

    def complain(self, kind: ResourceType, late: Sequence[DecodeError]) -> Request | None:
        """A NACK for something already ACKed, under the newest nonce of the type."""

    def expire(self, now: float) -> Sequence[Update]:
        """Names that were not answered in time; `WILDCARD` when a whole type was not."""

    def next_expiry(self) -> float | None:
        """When `expire` has something to say next."""
