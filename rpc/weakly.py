"""Callbacks for the engine, which holds what it calls: a call that nobody else holds has to be let go."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def weakly(method: Callable[[], None]) -> Callable[[], None]:
    """Calls the bound method for as long as its object lives."""
    reference = weakref.WeakMethod(method)

    def call_if_alive() -> None:
        alive = reference()
        if alive is not None:
            alive()

    return call_if_alive
