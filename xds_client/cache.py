"""What is known, type by type: immutable caches, replaced whole by one reference. Written on the exchanger's thread.

An object found here stays the same object until its content changes, so "did what I read change?" is asked with ``is``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from xds_client.decode import Parsed
from xds_client.envelope import LONGEST_NAME
from xds_client.errors import DecodeError
from xds_client.resource_type import WILDCARD, ResourceType
from xds_client.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xds_client.decode import Content, Value
    from xds_client.session import Names, Update

_NOBODY: frozenset[str] = frozenset()


class Known:
    """A resource that arrived: its newest form, and the form before it in case the newest turns out to be malformed."""

    __slots__ = ("newest", "previous", "weight")

    def __init__(self, newest: Parsed, previous: Parsed | None = None) -> None:
        self.newest = newest
        self.previous = previous
        self.weight = _OVERHEAD + len(newest.data) + (len(previous.data) if previous else 0)  # as it was counted

    def value(self) -> Value:
        """The last good value; raises the newest form's `DecodeError` when there never was one."""
        try:
            return self.newest.value()
        except DecodeError:
            if self.previous is None:
                raise
            try:
                return self.previous.value()
            except DecodeError:
                self.previous = None
        return self.newest.value()

    @property
    def error(self) -> DecodeError | None:
        return self.newest.error

    def followed_by(self, newest: Parsed) -> Known:
        return Known(newest, self.newest if self.newest.error is None else self.previous)


@dataclass(frozen=True, slots=True)
class Missing:
    """The control plane answered that there is none, or did not answer in time."""

    reason: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """It arrived, could not even be parsed, and nothing good came before it."""

    error: DecodeError


class NotYet(Enum):
    """Nobody knows yet."""

    NOT_YET = "not yet"


NOT_YET = NotYet.NOT_YET
Found = Known | Missing | Malformed | NotYet
Key = tuple[ResourceType, str]

# What a control plane can make a process keep of each type: no real mesh has it, and a hostile one fills no host.
_MOST = 256 << 20  # bytes, each resource counted with what holds it
_OVERHEAD = 600
_MOST_MALFORMED = 10_000  # names; who is not among them counts as never sent

_NEVER_SENT = Missing("the control plane sent all resources of this type, and this one is not among them")


# A resource that nobody has looked at: its newest form, and the one before it. As a `Known` each of 200,000 would be
# three objects that every garbage collection visits, while all threads wait.
Packed = tuple[bytes, ...]


def _weight(kept: Known | Packed) -> int:
    return kept.weight if isinstance(kept, Known) else _OVERHEAD + sum(map(len, kept))


def _opened(kind: ResourceType, name: str, packed: Packed) -> Known:
    return Known(*(Parsed(kind, name, data, None) for data in packed))


def _followed(kind: ResourceType, name: str, old: Known | Packed | None, new: Content) -> Known | Packed:
    """``new`` after ``old``, or ``old`` itself when it says the same."""
    if isinstance(new, bytes):
        if old is None:
            return (new,)
        if isinstance(old, tuple):
            return old if old[0] == new else (new, old[0])
        new = Parsed(kind, name, new, None)
    if old is None:
        return Known(new)
    if isinstance(old, tuple):
        old = _opened(kind, name, old)
    return old if old.newest.data == new.data else old.followed_by(new)


@dataclass(frozen=True, slots=True)
class ResourceCache:
    """All that is known of one type. ``whole``: this stream has sent everything there is.

    `WILDCARD` is among the missing while a type that is asked for by wildcard is not answered at all.
    """

    kind: ResourceType
    known: dict[str, Known | Packed] = field(default_factory=dict)
    missing: Mapping[str, Missing] = field(default_factory=dict)
    malformed: Mapping[str, Malformed] = field(default_factory=dict)
    whole: bool = False
    size: int = 0  # of what is known, in bytes
    unnamed: int = 0  # refused by the last update, and not even among the malformed: there are too many

    def look(self, name: str) -> Found:
        kept = self.known.get(name)
        if isinstance(kept, tuple):  # looked at for the first time; exchanger's thread, and no new key
            kept = self.known[name] = _opened(self.kind, name, kept)
        found = kept or self.missing.get(name) or self.malformed.get(name)
        if found is not None:
            return found
        return _NEVER_SENT if self.whole else self.missing.get(WILDCARD, NOT_YET)

    def apply(self, update: Update) -> ResourceCache:
        known, missing, malformed = dict(self.known), dict(self.missing), dict(self.malformed)
        size = self.size
        unnamed = 0
        for name, content in in_turns(update.accepted.items()):
            old = known.get(name)
            kept = _followed(self.kind, name, old, content)
            grown = _weight(kept) - (_weight(old) if old else 0)
            if grown > 0 and size + grown > _MOST:
                if name in malformed or len(malformed) < _MOST_MALFORMED:
                    reason = f"is refused: there are {_MOST >> 20} MiB of this type already"
                    malformed[name] = Malformed(DecodeError(update.kind, name, "", reason))
                else:
                    unnamed += 1
                continue
            size += grown
            known[name] = kept
            missing.pop(name, None)
            malformed.pop(name, None)
        for error in update.rejected:
            remembered = len(malformed) < _MOST_MALFORMED and len(error.name) <= LONGEST_NAME
            if error.name in malformed or remembered:
                malformed[error.name] = Malformed(error)
            missing.pop(error.name, None)
        if update.whole:
            missing.pop(WILDCARD, None)
        for name, reason in update.removed.items():
            gone = known.pop(name, None)
            size -= _weight(gone) if gone else 0
            malformed.pop(name, None)
            if not update.whole:  # else absence itself says it
                missing[name] = Missing(reason)
        return ResourceCache(self.kind, known, missing, malformed, self.whole or update.whole, size, unnamed)

    def retain(self, names: frozenset[str]) -> ResourceCache:
        """Forget what nobody subscribes to any more: it would go stale unseen. Then absence says nothing either."""
        parts = (self.known, self.missing, self.malformed)
        if WILDCARD in names or (not self.whole and all(name in names for part in parts for name in part)):
            return self
        known = {n: v for n, v in self.known.items() if n in names}
        return replace(
            self,
            known=known,
            missing={n: v for n, v in self.missing.items() if n in names},
            malformed={n: v for n, v in self.malformed.items() if n in names},
            whole=False,
            size=sum(map(_weight, known.values())),
        )

    def errors_among(self, names: Iterable[str]) -> list[DecodeError]:
        """What was found to make no sense, of these names."""
        found = map(self.known.get, in_turns(names))
        return [one.error for one in found if isinstance(one, Known) and one.error is not None]

    def refused(self, names: Iterable[str]) -> list[DecodeError]:
        """What there is no room for, or could not be parsed, of these names."""
        named = [self.malformed[name].error for name in in_turns(names) if name in self.malformed]
        if not self.unnamed:
            return named
        return [*named, DecodeError(self.kind, "*", "", f"{self.unnamed} more are refused: there is no room for them")]

    def errors(self) -> list[DecodeError]:
        """What is malformed right now: could not be parsed, or was wanted and made no sense."""
        return [m.error for m in self.malformed.values()] + self.errors_among(self.known)


@dataclass(frozen=True, slots=True)
class Departure:
    """Clusters that a push took away, and the route tables that have not come since: those may still name them.

    A push comes in pieces, clusters first and routes last. So until the routes had their chance nobody can tell whether
    such a cluster is missed.
    """

    clusters: frozenset[str] = _NOBODY
    tables: frozenset[str] = _NOBODY

    def after(self, update: Update, before: Mapping[ResourceType, ResourceCache]) -> Departure:
        if update.kind is ResourceType.CLUSTER:
            known = before[ResourceType.CLUSTER].known
            gone = [name for name in update.removed if isinstance(known.get(name), Known)]  # the others nobody has read
            tables = frozenset(before[ResourceType.ROUTE].known)
            return Departure(self.clusters.union(gone), tables) if gone and tables else self
        if update.kind is ResourceType.ROUTE and self.tables:
            came = {*update.accepted, *update.removed, *(error.name for error in update.rejected)}
            return self.waiting_for(self.tables - came)
        return self

    def waiting_for(self, tables: frozenset[str]) -> Departure:
        return replace(self, tables=tables) if tables else Departure()


@dataclass(frozen=True, slots=True)
class Caches:
    """``coming``: more clusters have arrived than are known here; they are being decoded."""

    by_type: Mapping[ResourceType, ResourceCache] = field(
        default_factory=lambda: {kind: ResourceCache(kind) for kind in ResourceType}
    )
    departure: Departure = field(default_factory=Departure)
    coming: bool = False

    def look(self, kind: ResourceType, name: str) -> Found:
        found = self.by_type[kind].look(name)
        if found is _NEVER_SENT and kind is ResourceType.CLUSTER and (self.coming or name in self.departure.clusters):
            return NOT_YET
        return found

    def apply(self, update: Update) -> Caches:
        by_type = {**self.by_type, update.kind: self.by_type[update.kind].apply(update)}
        return replace(self, by_type=by_type, departure=self.departure.after(update, self.by_type))

    def retain(self, names: Names) -> Caches:
        by_type = {kind: cache.retain(names.get(kind, _NOBODY)) for kind, cache in self.by_type.items()}
        left = self.departure.tables & names.get(ResourceType.ROUTE, _NOBODY)
        return replace(self, by_type=by_type, departure=self.departure.waiting_for(left))

    def forget(self, keys: Iterable[Key]) -> Caches:
        """As if these had never been answered."""
        by_type = dict(self.by_type)
        for kind, name in keys:
            by_type[kind] = by_type[kind].retain(frozenset((*by_type[kind].known, *by_type[kind].missing)) - {name})
        return replace(self, by_type=by_type)

    def new_stream(self) -> Caches:
        """Absence on the last stream says nothing about what the next one is about to send."""
        return replace(
            self, by_type={kind: replace(cache, whole=False) for kind, cache in self.by_type.items()}, coming=False
        )
