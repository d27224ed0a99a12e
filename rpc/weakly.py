"""Callbacks for those who must not keep alive what they call: the engine, the exchanger, what is below a channel.

A channel or a call that nobody else holds has to be let go, and at once: it has descriptors.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")


def weakly(method: Callable[P, None]) -> Callable[P, None]:
    """Calls the bound method for as long as its object lives."""
    reference = weakref.WeakMethod(method)

    def call_if_alive(*args: P.args, **kwargs: P.kwargs) -> None:
        alive = reference()
        if alive is not None:
            alive(*args, **kwargs)

    return call_if_alive
