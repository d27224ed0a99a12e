"""Long work beside calls: the interpreter is given away every millisecond, for as long as it was held.

Who computes without end is asked for the interpreter only after 5 ms of waiting (`sys.getswitchinterval`), and a call
asks several times. What a control plane sends decides how much there is to do, so this is no matter of its goodwill.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

_MOST_HELD = 0.001  # seconds of work
_ITEMS = 16  # the clock is looked at so seldom


def in_turns(items: Iterable[T]) -> Iterator[T]:
    """The items; between them others have their turn. For what one item of costs far less than a millisecond."""
    began = time.thread_time()
    for number, item in enumerate(items, 1):
        yield item
        if number % _ITEMS == 0 and (held := time.thread_time() - began) >= _MOST_HELD:
            time.sleep(held)
            began = time.thread_time()
