"""Calls of a channel for asyncio: everything happens in its loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpc.errors import of_closed_channel
from rpc.later import LATER, Later
from rpc.runner import PlannedCall
from rpc.steps import Dial

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import Outcome
    from rpc.aio.driver import Driver
    from rpc.steps import Answer, Pause


class LoopCall(PlannedCall):
    """A call that goes on in the loop."""

    _driver: Driver
    _call_off: Callable[[], None] | None = None

    def _wait(self, step: Dial | Pause) -> Answer | Later:
        if isinstance(step, Dial):
            self._driver.dial(step.subchannel)
            return None
        self._call_off = self._driver.wait(step, self._waited)
        return LATER

    def _waited(self, answer: Answer) -> None:
        self._call_off = None
        self._go_on(answer)

    def _give_up_plan(self) -> None:
        """The call is over, whatever the plan waits for."""
        if self._call_off is not None:
            self._call_off()
        self._plan.close()

    def _of_closed_channel(self, outcome: Outcome) -> bool:
        """A channel that is closed cancels its calls, as grpc.aio has it."""
        return of_closed_channel(outcome) and self._driver.core.closed
