"""A cluster's endpoints in levels, and which of them takes the next call."""

from __future__ import annotations

import itertools
import logging
import random
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rpc.balancing.endpoint import Endpoint, Pick, Picker
    from rpc.request_head import RequestHead
    from rpc.transport import Subchannel

_log = logging.getLogger(f"proxyless.{__name__}")
# While something is ready, so many of what is not are looked at for each call.
_LOOKED_AT = 8
# To make the picker of many endpoints anew for each that connects takes quadratic time. From so many on it is let be
# for so many times as long as making it took: it knows of fewer than there are, and of none that is lost.
_MANY = 256
_LET_BE = 20


class _Built(NamedTuple):
    """``generation``: of the channel, when it was looked who is ready."""

    generation: int
    ready: tuple[Endpoint, ...]
    rest: tuple[Endpoint, ...]
    picker: Picker | None
    until: float = 0.0  # by the clock: it is let be so long


class PolicyError(Exception):
    """A balancing policy, which may be anybody's code, raised."""


class _Broken:
    """In place of a picker that could not be made."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def pick(self, head: RequestHead) -> Pick | None:
        del head
        raise self._error


class Level:
    """The endpoints of one priority. ``one_by_one``: each is dialled when the one before it has failed."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        make_picker: Callable[[Sequence[Endpoint]], Picker],
        *,
        one_by_one: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoints = tuple(endpoints)
        self._make_picker = make_picker
        self._one_by_one = one_by_one
        self._clock = clock
        self._complained = False
        self._built = _Built(-1, (), self.endpoints, None)
        self._next = itertools.count(random.randrange(len(self.endpoints))).__next__  # noqa: S311 - not a secret

    def pick(self, head: RequestHead, generation: int) -> Pick | None:
        """``generation``: the channel's, which is another one whenever the readiness of an endpoint has changed."""
        built = self._built
        if built.generation != generation and built.until <= (self._clock() if built.until else 0.0):
            built = self.look(generation)
        while (picker := built.picker) is not None:
            try:
                pick = picker.pick(head)
            except Exception as error:
                self._complain("failed")
                raise PolicyError(f"its balancing policy failed: {error!r}") from error
            if pick is None or pick.endpoint.subchannel.transport is not None:
                return pick
            pick.not_sent()  # it was lost just now
            built = self.look(generation)
            if built.picker is picker:  # it names what it was not given, or what is back again: the channel has changed
                return None
        return None

    def look(self, generation: int) -> _Built:
        """See who is ready. Threads may do it at once: each has what it saw itself."""
        began = self._clock()
        before = self._built
        found: dict[bool, list[Endpoint]] = {True: [], False: []}
        for endpoint in self.endpoints:
            found[endpoint.ready].append(endpoint)
        ready, rest = tuple(found[True]), tuple(found[False])
        if ready == before.ready:
            self._built = before._replace(generation=generation)
            return self._built
        picker = self._picker_of(ready) if ready else None
        until = 0.0
        if picker is not None and len(self.endpoints) > _MANY:
            now = self._clock()
            until = now + _LET_BE * (now - began)
        self._built = _Built(generation, ready, rest, picker, until)
        return self._built

    def _picker_of(self, ready: Sequence[Endpoint]) -> Picker:
        try:
            return self._make_picker(ready)
        except Exception as error:
            self._complain("made no picker")
            return _Broken(error)

    def _complain(self, what: str) -> None:
        """Of anybody's policy, once: each call says it for itself."""
        if not self._complained:
            self._complained = True
            _log.exception("the balancing policy of %d endpoints %s: %r", len(self.endpoints), what, self._make_picker)

    def anew(self) -> Level:
        """The same endpoints, with nothing counted of them."""
        endpoints = [endpoint.anew() for endpoint in self.endpoints]
        return Level(endpoints, self._make_picker, one_by_one=self._one_by_one, clock=self._clock)

    def to_dial(self) -> Subchannel | None:
        """An endpoint's subchannel that may be dialled now, so that it comes (back) into rotation; one after the other
        with each call.
        """
        built = self._built
        if not built.rest:
            return None
        if self._one_by_one:
            return None if built.picker is not None else self._first_to_dial()
        rest = built.rest
        start = self._next()
        for place in range(min(len(rest), _LOOKED_AT) if built.picker is not None else len(rest)):
            subchannel = rest[(start + place) % len(rest)].subchannel
            if subchannel.idle:
                return subchannel
        return None

    def _first_to_dial(self) -> Subchannel | None:
        for endpoint in self.endpoints:
            subchannel = endpoint.subchannel
            if subchannel.idle:
                return subchannel
            if subchannel.error is None:  # being tried: the next has to wait for what comes of it
                return None
        return None


class BalancedCluster:
    """``levels``: by priority, the best first. ``error``: why no call can go there."""

    __slots__ = ("endpoints", "error", "levels", "name", "subchannels")

    def __init__(self, name: str, levels: Sequence[Level] = (), error: str | None = None) -> None:
        self.name = name
        self.levels = tuple(levels)
        self.error = error
        self.endpoints = tuple(endpoint for level in self.levels for endpoint in level.endpoints)
        self.subchannels = frozenset(endpoint.subchannel for endpoint in self.endpoints)

    def anew(self) -> BalancedCluster:
        """The same endpoints, with nothing counted of them."""
        return BalancedCluster(self.name, [level.anew() for level in self.levels], self.error)

    def pick(self, head: RequestHead, generation: int) -> tuple[Pick | None, Subchannel | None]:
        """What takes a call now, and what has to be dialled to take the next, of the same level or a better one."""
        idle: Subchannel | None = None
        for level in self.levels:
            pick = level.pick(head, generation)
            if idle is None:
                idle = level.to_dial()
            if pick is not None:
                return pick, idle
        return None, idle

    def to_dial(self, generation: int) -> Subchannel | None:
        """What to dial for one of the endpoints to become ready; None: one is, or nothing may be dialled now."""
        if any(level.look(generation).ready for level in self.levels):
            return None
        return next((idle for level in self.levels if (idle := level.to_dial()) is not None), None)
