"""Says in the log what configurations ask for and this release does not carry out. On the exchanger's thread only."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from xds_client.model import TargetConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

logger = logging.getLogger(f"proxyless.{__name__}")

_LINES = 20  # in the log for one change
_LONGEST = 2000  # characters of one


class Omissions:
    """Each route or cluster and reason is said once, however many targets have it; again if it was gone meanwhile."""

    def __init__(self) -> None:
        self.current: tuple[str, ...] = ()  # one reference, for any thread
        self._lines: dict[object, tuple[str, ...]] = {}
        self._counts: Counter[str] = Counter()

    def take(self, changed: Mapping[object, object], gone: Iterable[object]) -> None:
        """Of what is observed: configurations that are in force from now on, and what nobody observes any more."""
        before = {key: self._lines.pop(key, ()) for key in (*changed, *gone)}
        after = {key: lines for key, one in changed.items() if (lines := tuple(_of(one)))}
        self._lines |= after
        if all(lines == after.get(key, ()) for key, lines in before.items()):
            return
        known = frozenset(self._counts)
        for lines in before.values():
            self._counts.subtract(lines)
        for lines in after.values():
            self._counts.update(lines)
        self._counts = +self._counts
        self.current = tuple(sorted(self._counts))
        self._say([line for line in self.current if line not in known])

    def _say(self, lines: Sequence[str]) -> None:
        for line in lines[:_LINES]:
            logger.warning("%s", line[:_LONGEST])
        if (rest := len(lines) - _LINES) > 0:
            logger.warning("and %d more that this release does not carry out; status() has them", rest)


def _of(configuration: object) -> Iterator[str]:
    if not isinstance(configuration, TargetConfig):
        return
    host = configuration.virtual_host
    for number, route in enumerate(host.routes, start=1):
        called = f"{number} ({route.name})" if route.name else str(number)
        for what in route.left_out:
            yield f"route {called} of {host.name} asks for {what}, which this release does not carry out"
    for one in configuration.clusters:
        for what in one.cluster.left_out if one.cluster is not None else ():
            yield f"cluster {one.name} asks for {what}, which this release does not carry out"
