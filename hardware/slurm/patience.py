"""A scheduler that does not answer is left alone for a moment, so that nobody waits for it at every call."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from hardware.errors import CallHangs, Condition, SchedulerLost

log = structlog.get_logger()

T = TypeVar("T")


class Patience:
    """After a call that hung, or found no scheduler, every call fails at once for ``rest_s``, then one is tried again.

    Each change is logged once: ``slurm_lost`` with what to do, ``slurm_back``. ``clock_s`` never goes back.
    """

    def __init__(self, rest_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._rest_s = rest_s
        self._clock_s = clock_s
        self._rests_until_s = 0.0
        self._fault: CallHangs | SchedulerLost | None = None
        self._told: Condition | None = None

    def ask(self, call: Callable[[], T]) -> T:
        """What the call gives. Raises what it raises, and the last fault again (as ``SchedulerLost``) at rest."""
        if self._fault is not None and self._clock_s() < self._rests_until_s:
            left_s = self._rests_until_s - self._clock_s()
            raise SchedulerLost(
                f"Slurm was not asked, for the last time it failed, and will be in {left_s:.1f} s; then: {self._fault}",
                condition=self._fault.condition,
                cure=self._fault.cure,
            )
        try:
            answer = call()
        except (CallHangs, SchedulerLost) as fault:
            self._fault = fault
            self._rests_until_s = self._clock_s() + self._rest_s
            if self._told is not fault.condition:
                self._told = fault.condition
                log.error("slurm_lost", condition=fault.condition.value, detail=str(fault), cure=fault.cure)
            raise
        self._fault = None
        if self._told is not None:
            self._told = None
            log.info("slurm_back")
        return answer
