"""The ways of limits back up after leases: when each begins, and how far it is. Pure; time is a plain argument."""

from collections.abc import Iterable
from typing import NamedTuple

from hardware.limit_terms import RestoreRamp


class _Rise(NamedTuple):
    """The way of one limit back up: when it begins, and from where."""

    begins_s: float
    from_w: float


class Rises:
    """The limits that are on their way back up, by device."""

    def __init__(self, ramp: RestoreRamp) -> None:
        self._ramp = ramp
        self._rises: dict[str, _Rise] = {}

    @property
    def at_once(self) -> bool:
        """Whether limits go back in one step."""
        return self._ramp.at_once

    def level_w(self, key: str, *, ended_at_s: float, now_s: float, from_w: float, goal_w: float) -> float | None:
        """The level in watts that is due now of a limit whose lease ended at ``ended_at_s``, ``None`` at the end.

        The way begins with the first call, at ``from_w``, and no earlier than the delay after the lease.
        """
        if key not in self._rises:
            self._rises[key] = _Rise(max(ended_at_s + self._ramp.delay_s, now_s), from_w)
        rise = self._rises[key]
        part = self._ramp.part(now_s - rise.begins_s)
        return None if part >= 1.0 else rise.from_w + part * (goal_w - rise.from_w)

    def forget(self, keys: Iterable[str]) -> None:
        """These are not on their way any more: capped anew, or back."""
        if self._rises:
            for key in keys:
                self._rises.pop(key, None)
