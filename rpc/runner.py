"""Carries out the plan of a call (`rpc.plan`), for every kind of call in both worlds.

Here is decided what each step leads to: what could not be sent, what the engine refuses, what is sent again, the end.
The world says how to wait for a step, the kind of call how an attempt is started. Both answer at once (a thread that
waits), or say `LATER` and go on with the plan when they have the answer.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

import grpc

from rpc.attempt import Attempt
from rpc.errors import failed
from rpc.handles import StreamHandle, UnaryHandle
from rpc.later import LATER, Later
from rpc.method import unsendable
from rpc.steps import Dial, Pause, Start

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import Outcome
    from rpc.steps import Answer, Plan


_log = logging.getLogger(f"proxyless.{__name__}")


def carry_on(
    plan: Plan,
    answer: Answer,
    start: Callable[[Attempt], Answer | Later],
    wait: Callable[[Dial | Pause], Answer | Later],
    beside: type[StreamHandle | UnaryHandle] = UnaryHandle,
) -> Outcome | StreamHandle | None:
    """How the call ends, or which of its attempts is the call from now on; None: that shows later.

    Raises TypeError for metadata or a payload that is none, and what ``wait`` raises; the plan is over then.
    """
    came: Answer | Later = answer
    while came is not LATER:
        try:
            step = plan.send(came)
        except StopIteration as end:
            result: Outcome | StreamHandle = end.value
            return result
        try:
            if isinstance(step, Attempt):
                came = start(step)
            elif isinstance(step, Start):
                came = beside.begun(step.attempt)
            else:
                came = wait(step)
        except BaseException as error:
            plan.close()
            if isinstance(error, ValueError) and isinstance(step, Attempt | Start):
                return unsendable(error)
            raise
    return None


class PlannedCall:
    """A call that no thread waits for: it is told how it goes on, and goes on there.

    Subclasses say how an attempt is started (`_start`), how to wait (`_wait`) and what the end means (`_ended`).
    """

    _plan: Plan
    _beside: ClassVar[type[StreamHandle | UnaryHandle]] = UnaryHandle  # what an attempt is that is not the only one

    def _go_on(self, answer: Answer = None) -> None:
        """Carry the plan on. Whatever comes of it is the call's end, and raised to nobody."""
        try:
            result = carry_on(self._plan, answer, self._start, self._wait, self._beside)
        except TypeError as error:
            result = unsendable(error)
        except Exception as error:
            _log.exception("the plan of a call failed")
            result = failed(grpc.StatusCode.INTERNAL, f"the call plan failed: {error!r}")
        if result is not None:
            self._ended(result)

    def _start(self, attempt: Attempt) -> Answer | Later:
        """Start it: `LATER`, or `NOT_SENT`. Raises ValueError or TypeError where the engine refuses it."""
        raise NotImplementedError

    def _wait(self, step: Dial | Pause) -> Answer | Later:
        """Do the step: its answer, or `LATER` and `_go_on` is called with it."""
        raise NotImplementedError

    def _ended(self, result: Outcome | StreamHandle) -> None:
        raise NotImplementedError
