"""What pickers choose from, and what they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from rpc.errors import NOT_SENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rpc._native import Outcome
    from rpc.request_head import RequestHead
    from rpc.transport import Subchannel
    from xds_client.model import Endpoint as EndpointConfig
    from xds_client.model import Locality

    MakePicker = Callable[[Sequence["Endpoint"]], "Picker"]


class Endpoint:
    """One endpoint of one cluster, as pickers see it: ``config`` has its address, port and weight.

    It stays the same object from one configuration to the next while it is the same for who told of it, so that what is
    counted of it can be kept with it; its subchannel clusters may share.

    >>> class Heaviest:
    ...     def __init__(self, endpoints):
    ...         self._pick = Pick(max(endpoints, key=lambda endpoint: endpoint.config.weight))
    ...     def pick(self, head):
    ...         return self._pick
    """

    __slots__ = ("config", "locality", "priority", "subchannel")

    def __init__(self, config: EndpointConfig, locality: Locality, priority: int, subchannel: Subchannel) -> None:
        self.config = config  # address, weight, health, and the workload that it is
        self.locality = locality
        self.priority = priority
        self.subchannel = subchannel

    def anew(self) -> Endpoint:
        """The same, with nothing counted of it."""
        return Endpoint(self.config, self.locality, self.priority, self.subchannel)

    @property
    def ready(self) -> bool:
        return self.subchannel.transport is not None


class Pick(NamedTuple):
    """``done(outcome, seconds)`` is called once, by any thread, when the attempt has ended: with how it ended, without
    the messages, and how long it took. An attempt that never left ends as `rpc.errors.NOT_SENT`, in no time.

    >>> class Telling:
    ...     def __init__(self, endpoints):
    ...         self._pick = Pick(endpoints[0], done=lambda outcome, seconds: print(outcome.code, seconds))
    ...     def pick(self, head):
    ...         return self._pick
    """

    endpoint: Endpoint
    done: Callable[[Outcome, float], object] | None = None

    def not_sent(self) -> None:
        """Its attempt ends without having left."""
        if self.done is not None:
            self.done(NOT_SENT, 0.0)


class Picker(Protocol):
    """What a balancing policy makes of the endpoints that are ready.

    >>> class First:
    ...     def __init__(self, endpoints):
    ...         self._pick = Pick(endpoints[0])
    ...     def pick(self, head):
    ...         return self._pick
    """

    def pick(self, head: RequestHead) -> Pick | None:
        """The endpoint for a request, or None: none of them takes it now. Any thread; never waits."""
