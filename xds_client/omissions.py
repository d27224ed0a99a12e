"""Says in the log what configurations ask for and this release does not carry out. On the exchanger's thread only."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from xds_client.model import ClusterConfig, TargetConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

logger = logging.getLogger(f"proxyless.{__name__}")

_LINES, _SECONDS = 20, 10.0  # so many lines in so much time
_LONGEST = 2000  # characters of one


class Omissions:
    """Each route or cluster and reason is said once, however many targets have it; again if it was gone meanwhile.

    Of very many only some are: a control plane that asks for other things each time would fill the disk. ``clock`` is
    monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = float("-inf")
        self._room = _LINES
        self._unsaid = 0
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
        now = self._clock()
        if now - self._since >= _SECONDS:
            self._since, self._room = now, _LINES
        said = lines[: self._room]
        for line in said:
            logger.warning("%s", line[:_LONGEST])
        self._unsaid += len(lines) - len(said)
        if self._unsaid and self._room:
            logger.warning("and %d more that this release does not carry out; status() has them", self._unsaid)
            self._unsaid = 0
        self._room -= len(said)


def _of(configuration: object) -> Iterator[str]:
    if not isinstance(configuration, TargetConfig):
        return
    host = configuration.virtual_host
    for number, route in enumerate(host.routes, start=1):
        called = f"{number} ({route.name})" if route.name else str(number)
        if not route.match.possible_for_grpc:
            continue
        for what in route.left_out:
            yield f"route {called} of {host.name} asks for {what}, which this release does not carry out"
        for what in route.unread:
            yield f"route {called} of {host.name} says what cannot be read, and is left out: {what}"
    for what in (*host.left_out, *configuration.table.left_out):
        yield f"virtual host {host.name} says what cannot be read, and is left out: {what}"
    for one in configuration.clusters:
        yield from _of_cluster(one)


def _of_cluster(one: ClusterConfig) -> Iterator[str]:
    if one.cluster is not None:
        for what in one.cluster.left_out:
            yield f"cluster {one.name} asks for {what}, which this release does not carry out"
        for what in one.cluster.unread:
            yield f"cluster {one.name} says what cannot be read, and is left out: {what}"
    for what in one.endpoints.left_out if one.endpoints is not None else ():
        yield f"endpoints of cluster {one.name} say what cannot be read, and is left out: {what}"
