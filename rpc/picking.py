"""Which endpoint the next call goes to. A picker is made once per configuration and is safe from any thread.

A picker yields endpoints without end, in the order that its policy wants them tried; who asks skips those that cannot
be used right now. Weights are relative (envoy ClusterLoadAssignment.LbEndpoint.load_balancing_weight).
"""

from __future__ import annotations

import itertools
import random
from math import gcd
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# Beyond this many slots a schedule is no longer worth its memory: weights are rounded to fit. Few endpoints get the
# first, many the second for each.
_MAX_SLOTS = 4096
_SLOTS_EACH = 4


class Picker(Protocol[T_co]):
    def candidates(self) -> Iterator[T_co]:
        """The endpoints to try for one call, best first; each at least once."""


def _scaled(weights: Sequence[int]) -> list[int]:
    divisor = gcd(*weights)
    scaled = [weight // divisor for weight in weights]
    total, most = sum(scaled), max(_MAX_SLOTS, _SLOTS_EACH * len(weights))
    if total > most:
        scaled = [max(1, round(weight * most / total)) for weight in scaled]
    return scaled


def interleave(weights: Sequence[int]) -> list[int]:
    """Indexes, each as often as its weight says, spread evenly.

    Every index has its turns at even distances on a circle, and those of equal weights stand evenly between each other:
    as smooth as nginx's weighted round robin, and made in O(n log n).
    """
    scaled = _scaled(weights)
    if max(scaled) == 1:
        return list(range(len(scaled)))
    alike: dict[int, list[int]] = {}
    for index, weight in enumerate(scaled):
        alike.setdefault(weight, []).append(index)
    turns: list[tuple[float, int]] = []
    for weight, indexes in alike.items():
        for position, index in enumerate(indexes, 1):
            first = position / (len(indexes) + 1)
            turns += [((first + turn) / weight, index) for turn in range(weight)]
    turns.sort()
    return [index for _, index in turns]


class RoundRobin(Generic[T]):
    """In turn, each as often as its weight says. Starts at a random place, so that clients do not march in step."""

    def __init__(self, endpoints: Sequence[T], weights: Sequence[int]) -> None:
        self._slots = tuple(endpoints[index] for index in interleave(weights))
        # next() on a count is one C call: atomic under the GIL and free of locks.
        self._next = itertools.count(random.randrange(len(self._slots))).__next__  # noqa: S311 - not a secret

    def candidates(self) -> Iterator[T]:
        slots = self._slots
        start = self._next() % len(slots)
        for place in range(start, len(slots)):
            yield slots[place]
        for place in range(start):
            yield slots[place]


class Connectable(Protocol):
    """What `PickFirst` needs to know of an endpoint."""

    @property
    def link(self) -> object | None: ...

    @property
    def error(self) -> str | None: ...


C = TypeVar("C", bound=Connectable)


class PickFirst(Generic[C]):
    """The first that is connected; while none is, the first that has not failed, and those that did before it."""

    def __init__(self, endpoints: Sequence[C]) -> None:
        self._endpoints = tuple(endpoints)

    def candidates(self) -> Iterator[C]:
        for endpoint in self._endpoints:
            if endpoint.link is not None:
                yield endpoint
        for endpoint in self._endpoints:
            yield endpoint
            if endpoint.error is None:  # not tried yet, or being tried: the next has to wait for what comes of it
                return


class Random(Generic[T]):
    """By dice, each as likely as its weight says."""

    def __init__(self, endpoints: Sequence[T], weights: Sequence[int]) -> None:
        self._endpoints = tuple(endpoints)
        self._bounds = tuple(itertools.accumulate(weights))

    def candidates(self) -> Iterator[T]:
        yield random.choices(self._endpoints, cum_weights=self._bounds)[0]  # noqa: S311 - a share, not a secret
        yield from random.sample(self._endpoints, len(self._endpoints))
