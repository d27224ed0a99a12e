"""Tokens that requests take, and that come back in time. Any thread; time is the clock's that is given."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from rpc.authorization.program import CannotCarryOutError
from rpc.fork import ProcessLock

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from rpc.authorization.local_rate_limit.descriptors import Descriptor
    from xds_client.model import LocalRateLimit, TokenBucket

Clock = "Callable[[], float]"
K = TypeVar("K", bound="Hashable")
V = TypeVar("V")
_SHORTEST = 0.05  # seconds between fills, as in Envoy


class Bucket:
    """Full at first. Tokens come one by one, evenly, as in Envoy's since 1.31: no crowd at each fill."""

    def __init__(self, said: TokenBucket, clock: Callable[[], float]) -> None:
        """Raises `CannotCarryOutError` for what Envoy refuses, too."""
        interval = said.fill_interval or 0.0
        if interval < _SHORTEST:
            raise CannotCarryOutError("local rate limit token bucket fill timer must be >= 50ms", invalid=True)
        if said.max_tokens < 1 or said.tokens_per_fill == 0:
            raise CannotCarryOutError("a token bucket that never has any", invalid=True)
        self.most = said.max_tokens
        self.rate = (1 if said.tokens_per_fill is None else said.tokens_per_fill) / interval  # a second
        self._clock = clock
        self._lock = ProcessLock()
        self._tokens = float(self.most)
        self._at = clock()

    def take(self) -> bool:
        with self._lock:
            self._fill()
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def remaining(self) -> int:
        with self._lock:
            self._fill()
            return int(self._tokens)

    def reset(self) -> int:
        """Whole seconds until there is a token."""
        with self._lock:
            self._fill()
            return 0 if self._tokens >= 1 else math.ceil((1 - self._tokens) / self.rate)

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(float(self.most), self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now


class Recent(Generic[K, V]):
    """Values that are made when first asked for; of more than so many those go that were not asked for longest."""

    def __init__(self, most: int, make: Callable[[], V]) -> None:
        self._most = most
        self._make = make
        self._lock = ProcessLock()
        self._known: OrderedDict[K, V] = OrderedDict()

    def of(self, key: K) -> V:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            else:
                self._known[key] = self._make()
                if len(self._known) > self._most:
                    self._known.popitem(last=False)
            return self._known[key]


class Limiter:
    """The buckets of one filter, or of one connection where it is said so."""

    def __init__(self, said: LocalRateLimit, clock: Callable[[], float]) -> None:
        """Raises `CannotCarryOutError`."""
        assert said.token_bucket is not None
        self._default = Bucket(said.token_bucket, clock)
        self._always = said.always_consume_default_token_bucket is not False
        self._exact: dict[Descriptor, Bucket] = {}
        self._any_value: dict[Descriptor, Recent[Descriptor, Bucket]] = {}
        most = 20 if said.max_dynamic_descriptors is None else said.max_dynamic_descriptors
        for kind in said.descriptors:
            bucket = kind.token_bucket
            if bucket is None:
                raise CannotCarryOutError("a descriptor without a token bucket", invalid=True)
            if kind.entries in self._exact or kind.entries in self._any_value:
                raise CannotCarryOutError(f"duplicate descriptor {kind.entries}", invalid=True)
            first = Bucket(bucket, clock)
            if all(value for _, value in kind.entries):
                self._exact[kind.entries] = first
            else:  # each value has a bucket of its own
                self._any_value[kind.entries] = Recent(most, lambda bucket=bucket: Bucket(bucket, clock))  # type: ignore[misc]

    def take(self, descriptors: Sequence[Descriptor]) -> tuple[bool, Bucket]:
        """Whether a request of these kinds goes on, and whose tokens that is about. The strictest is asked first."""
        matched = [bucket for descriptor in descriptors if (bucket := self._bucket_of(descriptor)) is not None]
        matched.sort(key=lambda bucket: bucket.rate)
        for bucket in matched:
            if not bucket.take():
                return False, bucket
        if (not matched or self._always) and not self._default.take():
            return False, self._default
        return True, matched[0] if matched else self._default

    def _bucket_of(self, descriptor: Descriptor) -> Bucket | None:
        exact = self._exact.get(descriptor)
        if exact is not None:
            return exact
        for kind, buckets in self._any_value.items():
            if len(kind) == len(descriptor) and all(
                key == own and value in ("", said) for (key, value), (own, said) in zip(kind, descriptor, strict=True)
            ):
                return buckets.of(descriptor)
        return None
