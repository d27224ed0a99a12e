"""The balancing policies. Each makes a picker of the endpoints that are ready, at least one; any thread may pick.

Weights are relative (envoy ClusterLoadAssignment.LbEndpoint.load_balancing_weight).
"""

from __future__ import annotations

import itertools
import random
from math import gcd
from typing import TYPE_CHECKING

from rpc.balancing.endpoint import Pick
from xds_client.model import LbPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rpc.balancing.endpoint import Endpoint, MakePicker
    from rpc.request_head import RequestHead

# Beyond this many slots a schedule is no longer worth its memory: weights are rounded to fit. Few endpoints get the
# first, many the second for each.
_MAX_SLOTS = 4096
_SLOTS_EACH = 4


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


class RoundRobin:
    """In turn, each as often as its weight says. Starts at a random place, so that clients do not march in step."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        picks = [Pick(endpoint) for endpoint in endpoints]
        self._slots = tuple(picks[index] for index in interleave([endpoint.config.weight for endpoint in endpoints]))
        # next() on a count is one C call: atomic under the GIL and free of locks.
        self._next = itertools.count(random.randrange(len(self._slots))).__next__  # noqa: S311 - not a secret

    def pick(self, head: RequestHead) -> Pick:
        del head
        return self._slots[self._next() % len(self._slots)]


class PickFirst:
    """The first, for as long as it is ready."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._pick = Pick(endpoints[0])

    def pick(self, head: RequestHead) -> Pick:
        del head
        return self._pick


class Random:
    """By dice, each as likely as its weight says."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._picks = tuple(Pick(endpoint) for endpoint in endpoints)
        self._bounds = tuple(itertools.accumulate(endpoint.config.weight for endpoint in endpoints))

    def pick(self, head: RequestHead) -> Pick:
        del head
        return random.choices(self._picks, cum_weights=self._bounds)[0]  # noqa: S311 - a share, not a secret


# By the mesh's policies; by their names, those that were registered (`rpc.balancing.policies`).
PICKERS: dict[LbPolicy | str, MakePicker] = {
    LbPolicy.ROUND_ROBIN: RoundRobin,
    LbPolicy.RANDOM: Random,
    LbPolicy.PICK_FIRST: PickFirst,
    # Approximated until their issue (docs/compatibility.md).
    LbPolicy.LEAST_REQUEST: RoundRobin,
    LbPolicy.RING_HASH: RoundRobin,
    LbPolicy.MAGLEV: RoundRobin,
    LbPolicy.CLUSTER_PROVIDED: RoundRobin,
}
