"""What a fault of the site's meter did, judged by what the site truly drew."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.domain.control import ControlMode
from gateway.simulation.figures import by_minute
from gateway.simulation.play import Played
from gateway.simulation.recorder import STEP_S
from gateway.simulation.scenario import FaultPart

NORMAL_FRACTION = 0.01
NORMAL_S = 60.0
"""Control is back to normal once it follows the meter again, and the site is within so much of its target so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultFigures:
    """One fault of the meter, from ``at_s`` to ``until_s``.

    ``minutes_over`` are those in which the site truly drew more than its target, the worst by ``worst_minute_fraction``
    of it. ``states`` are the states that control went into, by the seconds after the fault began, and ``told`` what was
    said of the meter. ``normal_after_s`` is how long after its end control was back to normal, ``None`` for never.
    """

    what: str
    at_s: float
    until_s: float
    minutes: int
    minutes_over: int
    worst_minute_fraction: float
    states: dict[str, float]
    told: tuple[str, ...]
    normal_after_s: float | None


def fault_figures(played: Played) -> tuple[FaultFigures, ...]:
    """The figures of each fault of the meter."""
    return tuple(_of(played, fault) for fault in played.scenario.fault if fault.of_the_meter)


def _of(played: Played, fault: FaultPart) -> FaultFigures:
    recording = played.recording
    until_s = played.scenario.duration_s if fault.lasts_s is None else fault.at_s + fault.lasts_s
    during = recording.during(fault.at_s, until_s)
    over = by_minute((recording.true_w / recording.target_w - 1.0)[during])
    return FaultFigures(
        what=fault.what,
        at_s=fault.at_s,
        until_s=until_s,
        minutes=len(over),
        minutes_over=int((over > 0.0).sum()),
        worst_minute_fraction=float(np.nan_to_num(over).max(initial=0.0)),
        states=_states(played, during, fault.at_s),
        told=tuple(
            f"after {time_s - fault.at_s:.0f} s: {part}: {reason}"
            for time_s, part, reason in played.told_of_the_meter
            if fault.at_s <= time_s < until_s and reason is not None
        ),
        normal_after_s=_normal_after_s(played, until_s),
    )


def _states(played: Played, during: NDArray[np.bool_], at_s: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for place in np.flatnonzero(during).tolist():
        mode = played.recording.modes[place]
        if mode not in {"", ControlMode.FOLLOW, ControlMode.IDLE}:
            found.setdefault(mode, float(played.recording.time_s[place]) + STEP_S - at_s)
    return found


def _normal_after_s(played: Played, until_s: float) -> float | None:
    recording = played.recording
    follows = np.array([mode == ControlMode.FOLLOW for mode in recording.modes], dtype=np.bool_)
    near = np.abs(recording.true_w / recording.target_w - 1.0) <= NORMAL_FRACTION
    steps = round(NORMAL_S / STEP_S)
    normal = (follows & near)[recording.time_s >= until_s]
    for place in range(len(normal) - steps + 1):
        if normal[place : place + steps].all():
            return place * STEP_S
    return None
