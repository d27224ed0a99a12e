"""Functions that run later or elsewhere, in the context (`contextvars`) of whoever asked for it, as in grpcio."""

from __future__ import annotations

import contextvars
import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def carried(function: Callable[P, R]) -> Callable[P, R]:
    """It sees what its caller has set so far; what it sets itself, nobody else sees. Can be called once at a time."""
    return functools.partial(contextvars.copy_context().run, function)
