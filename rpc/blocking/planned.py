"""Calls of a channel for threads that no thread waits for: futures and streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from rpc.blocking.turns import in_turn
from rpc.errors import failed
from rpc.later import LATER, Later
from rpc.runner import PlannedCall, carry_on
from rpc.steps import Dial

if TYPE_CHECKING:
    from rpc.blocking.driver import Driver
    from rpc.steps import Answer, Pause


class UnattendedCall(PlannedCall):
    """Goes on in whichever thread has the answer to what it waits for."""

    _driver: Driver

    @property
    def _over(self) -> bool:
        """Nobody wants to know any more how it goes on. To be true before `_give_up_plan`."""
        raise NotImplementedError

    def _set_out(self) -> None:
        """Begin, in the thread that makes the call: it is told what is no metadata (TypeError), as in grpcio."""
        result = carry_on(self._plan, None, self._start, self._wait, self._beside)
        if result is not None:
            self._ended(result)

    def _wait(self, step: Dial | Pause) -> Answer | Later:
        if isinstance(step, Dial):
            self._driver.dial(step.subchannel)
            return None
        try:
            self._driver.when_over(step, self._answered)
        except (RuntimeError, MemoryError) as error:  # no thread to be had, and nobody else goes on with the call
            self._plan.close()
            self._ended(failed(grpc.StatusCode.UNAVAILABLE, f"the call cannot wait: {error}"))
        if self._over:  # given up meanwhile: nobody waited for the step yet
            self._give_up_plan()
        return LATER

    def _answered(self, answer: Answer) -> None:
        """Go on, in this thread: after the call that it is at (`in_turn`)."""
        in_turn(lambda: self._go_on(answer))

    def _go_on(self, answer: Answer = None) -> None:
        if self._over:
            self._plan.close()
        else:
            super()._go_on(answer)

    def _give_up_plan(self) -> None:
        """What the plan waits for is waited for no longer. Whoever has an answer for it sees that it is over."""
        if self._driver.call_off(self._answered):
            self._plan.close()
