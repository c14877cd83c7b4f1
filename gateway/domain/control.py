"""One second's step of control at the site meter: from a target for the site to a power budget for the fleet.

Feed-forward does most of it: the budget is the target less an estimate of all that is not fleet (overhead, cooling),
which follows site less fleet slowly, since cooling falls minutes after the caps. An integral of the remaining error
trims what the curves got wrong. A third term gives back energy drawn over the target (the first second of an event),
so that the mean comes out at the target and not above it; energy saved beyond the target is never drawn later.

A reading is some seconds old, and a mean of the second before it, or of some more: it is held against the target that
was in force then, or a target that moves would be taken for an error, and a step down for load that is over it. What
was corrected since then it cannot show yet: that is taken off the error, or the same error would be corrected again and
again until it shows, and the site would swing.

A cap cannot hold power up: where the load falls under its caps by itself trim rises slowly and is bounded; once the
load wakes up and the site is well over its target, what trim had added goes at once. At the start of an event it is
seeded from what the fleet draws above its curves, never below them: a fleet that draws less may be idling, and would
fill a larger budget when it wakes up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import fsum, isfinite


class ControlMode(StrEnum):
    """What a budget stands on."""

    IDLE = "idle"
    """No target: nothing is capped, the estimate goes on."""
    FOLLOW = "follow"
    """The site meter speaks: feed-forward and feedback."""
    COAST = "coast"
    """The site meter is silent for a short while: feed-forward on the last estimate, no feedback."""
    HOLD = "hold"
    """It stays silent: the last budget holds, and only a lower target still lowers it."""
    BLIND = "blind"
    """A target, and the site meter never spoke: the fleet goes to its floor, since nothing else is sure to keep it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings:
    """The loop's figures. The defaults suit a site meter and caps that answer within about a second.

    ``averaged_s`` is how long a mean the site meter shows, up to ten seconds. ``bias_fraction`` of the target is aimed
    under it. ``integral_per_s`` is the part of an error corrected each second, ``urgent_per_s`` that of what a site
    draws over the target beyond ``urgent_fraction`` of it; no error counts for more than ``error_fraction`` of the
    target. Trim adds no more than ``trim_up_fraction`` of the fleet's ceiling, and takes no more than
    ``trim_down_fraction``: a fleet that draws half as much again as its curves say needs a third. A site over its
    target by ``drop_fraction`` of it loses what trim had added.

    ``other_time_s`` is the time constant of the estimate of non-fleet power; no single reading moves it as if it had
    changed by more than ``other_fraction`` of the site (the fleet's sensors average over a second and lag the meter at
    a step). Energy over the target is given back over ``repay_s``, by no more than ``repay_fraction`` of the target.
    The budget falls and rises by no more than so much of the ceiling a second, and stays as it is where it would move
    by less than ``deadband_fraction`` of the target. ``hold_after_s`` of silence end ``COAST``.
    """

    averaged_s: float = 1.0
    bias_fraction: float = 0.0005
    integral_per_s: float = 0.15
    urgent_per_s: float = 0.4
    urgent_fraction: float = 0.01
    error_fraction: float = 0.04
    drop_fraction: float = 0.02
    trim_up_fraction: float = 0.25
    trim_down_fraction: float = 0.5
    other_time_s: float = 5.0
    other_fraction: float = 0.01
    repay_s: float = 60.0
    repay_fraction: float = 0.01
    fall_fraction_per_s: float = 0.5
    rise_fraction_per_s: float = 0.1
    deadband_fraction: float = 0.002
    hold_after_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What began to hold ``age_s`` ago.

    ``bound`` is -1 where something kept the budget from falling further, 1 where from rising, else 0. ``trim_w`` was in
    the budget.
    """

    age_s: float
    target_w: float
    bound: int
    trim_w: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlState:
    """What the loop remembers from step to step. A fresh one knows nothing.

    ``other_w`` is the estimate of non-fleet power, ``trim_w`` the integral, ``owed_j`` energy over the target not yet
    given back. ``target_w``, ``budget_w`` and ``bound`` are the last step's, ``past`` those of the last seconds, the
    latest first. ``drawn`` are the fleet's readings of the last seconds, each with its age, the latest first.
    ``silent_s`` is how long the site meter has been silent.
    """

    other_w: float | None = None
    trim_w: float = 0.0
    owed_j: float = 0.0
    target_w: float | None = None
    budget_w: float | None = None
    bound: int = 0
    silent_s: float = 0.0
    drawn: tuple[tuple[float, float], ...] = ()
    past: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlStep:
    """One step's outcome.

    ``fleet_budget_w`` is for the fleet (all that the allocator's floor and ceiling cover); ``None`` asks for no caps.
    ``changed`` is false where it equals the last step's, so that nothing need be written.
    """

    state: ControlState
    fleet_budget_w: float | None
    mode: ControlMode
    changed: bool


DEFAULTS = ControlSettings()

SENSED_S = 1.0
"""A device's own sensor shows the mean of so long before its stamp."""

PAST_S = 20.0
"""No reading is fed back that shows anything older."""


def step(
    state: ControlState,
    *,
    target_w: float | None,
    site_w: float | None,
    fleet_w: float | None,
    dt_s: float,
    floor_w: float,
    ceiling_w: float,
    site_age_s: float = 0.0,
    fleet_age_s: float | None = None,
    other_w: float | None = None,
    settings: ControlSettings = DEFAULTS,
) -> ControlStep:
    """One step, ``dt_s`` seconds after the last.

    ``site_w`` is the site meter's reading, stamped ``site_age_s`` ago, and ``fleet_w`` the sum of the fleet's own
    sensors, ``fleet_age_s`` ago (``None``: as old as the other), each ``None`` where there is no fresh one. ``floor_w``
    and ``ceiling_w`` are the least and the most that the fleet can be set to (``Allocator.floor_w``, ``ceiling_w``).
    ``other_w`` is non-fleet power where that is known and need not be estimated.
    Call it with no target as well: the estimate is then ready when a target comes. Readings that are not finite count
    as none.
    """
    site_w, fleet_w = _finite(site_w), _finite(fleet_w)
    silent_s = 0.0 if site_w is not None else state.silent_s + dt_s
    site_age_s = max(0.0, site_age_s)
    drawn = _drawn(state, fleet_w, dt_s=dt_s, age_s=site_age_s if fleet_age_s is None else max(0.0, fleet_age_s))
    # Of the same time as the site meter's reading: or a step of the fleet would be taken for one of all the rest.
    then_w = None if fleet_w is None else _drawn_then(drawn, site_age_s, settings.averaged_s)
    if other_w is None:
        other_w = _other_w(state, target_w, site_w, then_w, dt_s=dt_s, ceiling_w=ceiling_w, settings=settings)
    seen = replace(
        state,
        other_w=other_w,
        silent_s=silent_s,
        drawn=drawn,
        past=tuple(replace(one, age_s=one.age_s + dt_s) for one in state.past if one.age_s < PAST_S),
    )
    if target_w is None:
        rested = ControlState(other_w=seen.other_w, silent_s=silent_s, drawn=drawn)
        return ControlStep(state=rested, fleet_budget_w=None, mode=ControlMode.IDLE, changed=state.budget_w is not None)
    mode = _mode(seen, site_w, settings)
    if mode is ControlMode.FOLLOW and site_w is not None:
        held = _held(seen.past, site_age_s, settings.averaged_s)
        if held is not None:
            seen = _fed_back(seen, site_w, held, dt_s=dt_s, ceiling_w=ceiling_w, settings=settings)
    if state.target_w is None and seen.other_w is not None and fleet_w is not None and fleet_w > ceiling_w:
        seen = replace(seen, trim_w=(target_w - seen.other_w) * (ceiling_w / fleet_w - 1.0))
    wanted_w = _wanted_w(seen, target_w, mode, floor_w=floor_w, settings=settings)
    allowed_w = _limited_w(seen, wanted_w, fleet_w, dt_s=dt_s, ceiling_w=ceiling_w, settings=settings)
    allowed_w = min(max(allowed_w, floor_w), ceiling_w)
    bound = (allowed_w < wanted_w) - (allowed_w > wanted_w)
    last_w = state.budget_w
    edge = allowed_w in (floor_w, ceiling_w)
    if last_w is not None and not edge and abs(allowed_w - last_w) < settings.deadband_fraction * abs(target_w):
        allowed_w = last_w
    return ControlStep(
        state=replace(
            seen,
            target_w=target_w,
            budget_w=allowed_w,
            bound=bound,
            past=(Held(age_s=0.0, target_w=target_w, bound=bound, trim_w=seen.trim_w), *seen.past),
        ),
        fleet_budget_w=allowed_w,
        mode=mode,
        changed=allowed_w != last_w,
    )


def _finite(reading_w: float | None) -> float | None:
    return reading_w if reading_w is not None and isfinite(reading_w) else None


def _drawn(state: ControlState, fleet_w: float | None, *, dt_s: float, age_s: float) -> tuple[tuple[float, float], ...]:
    """The fleet's readings of the last while, each with its age, this one first."""
    older = tuple((before_s + dt_s, drawn_w) for before_s, drawn_w in state.drawn if before_s + dt_s < PAST_S)
    return older if fleet_w is None else ((age_s, fleet_w), *older)


def _drawn_then(drawn: Sequence[tuple[float, float]], age_s: float, averaged_s: float) -> float:
    """What the fleet drew over the time that a reading of the site meter shows, or what it draws now."""
    parts = [(min(at_s + SENSED_S, age_s + averaged_s) - max(at_s, age_s), drawn_w) for at_s, drawn_w in drawn]
    shown = [(part_s, drawn_w) for part_s, drawn_w in parts if part_s > 0.0]
    if not shown:
        return drawn[0][1]
    return fsum(part_s * drawn_w for part_s, drawn_w in shown) / fsum(part_s for part_s, _ in shown)


def _other_w(
    state: ControlState,
    target_w: float | None,
    site_w: float | None,
    fleet_w: float | None,
    *,
    dt_s: float,
    ceiling_w: float,
    settings: ControlSettings,
) -> float | None:
    """The estimate of non-fleet power after this reading."""
    if site_w is None:
        return state.other_w
    if state.other_w is None:
        # Without the fleet's sensors the fleet is taken to draw what it was last allowed.
        allowed_w = ceiling_w if state.budget_w is None else state.budget_w
        return site_w - (allowed_w if fleet_w is None else fleet_w)
    if fleet_w is None:
        return state.other_w
    moved_w = site_w - fleet_w - state.other_w
    if target_w is not None:
        most_w = settings.other_fraction * abs(site_w)
        moved_w = min(max(moved_w, -most_w), most_w)
    return state.other_w + moved_w * dt_s / (settings.other_time_s + dt_s)


def _mode(state: ControlState, site_w: float | None, settings: ControlSettings) -> ControlMode:
    if state.other_w is None:
        return ControlMode.BLIND
    if site_w is not None:
        return ControlMode.FOLLOW
    if state.budget_w is None or state.silent_s < settings.hold_after_s:
        return ControlMode.COAST
    return ControlMode.HOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class _Then:
    """Over what a reading shows: mean target and trim, and what bound the budget."""

    target_w: float
    trim_w: float
    bounds: frozenset[int]


def _held(past: Sequence[Held], age_s: float, averaged_s: float) -> _Then | None:
    """What was in force over the time that a reading of this age shows; ``None`` without a target for all of it."""
    target_ws, trim_ws, until_s = 0.0, 0.0, 0.0
    from_s, to_s = age_s, age_s + averaged_s
    bounds: set[int] = set()
    for one in past:
        part_s = min(one.age_s, to_s) - max(until_s, from_s)
        if part_s > 0.0:
            target_ws += one.target_w * part_s
            trim_ws += one.trim_w * part_s
            bounds.add(one.bound)
        until_s = one.age_s
    if until_s < to_s - 1e-9:
        return None
    return _Then(target_w=target_ws / averaged_s, trim_w=trim_ws / averaged_s, bounds=frozenset(bounds))


def _fed_back(
    state: ControlState,
    site_w: float,
    then: _Then,
    *,
    dt_s: float,
    ceiling_w: float,
    settings: ControlSettings,
) -> ControlState:
    """Trim and debt after one reading, against what was in force while it was drawn.

    Anti-windup: no trim is added in a direction in which the budget could not follow, then or now.
    """
    size_w = abs(then.target_w)
    most_w = settings.error_fraction * size_w
    # What the site draws once what was corrected since then shows.
    coming_w = site_w + state.trim_w - then.trim_w
    error_w = min(max(then.target_w - settings.bias_fraction * size_w - coming_w, -most_w), most_w)
    awake = coming_w - then.target_w > settings.drop_fraction * size_w
    trim_w = min(state.trim_w, 0.0) if awake else state.trim_w
    if all(error_w * bound <= 0.0 for bound in (*then.bounds, state.bound)):
        urgent_w = min(0.0, error_w + settings.urgent_fraction * size_w)
        rate_w = settings.integral_per_s * (error_w - urgent_w) + settings.urgent_per_s * urgent_w
        lowest_w, highest_w = -settings.trim_down_fraction * ceiling_w, settings.trim_up_fraction * ceiling_w
        trim_w = min(max(trim_w + rate_w * dt_s, lowest_w), highest_w)
    most_j = settings.repay_fraction * size_w * settings.repay_s
    owed_j = min(max(state.owed_j + (site_w - then.target_w) * dt_s, 0.0), most_j)
    return replace(state, trim_w=trim_w, owed_j=owed_j)


def _wanted_w(
    state: ControlState, target_w: float, mode: ControlMode, *, floor_w: float, settings: ControlSettings
) -> float:
    if state.other_w is None:
        return floor_w
    owed_w = min(state.owed_j / settings.repay_s, settings.repay_fraction * abs(target_w))
    wanted_w = target_w - settings.bias_fraction * abs(target_w) - owed_w - state.other_w + state.trim_w
    if mode is ControlMode.HOLD and state.budget_w is not None:
        return min(wanted_w, state.budget_w)
    return wanted_w


def _limited_w(
    state: ControlState,
    wanted_w: float,
    fleet_w: float | None,
    *,
    dt_s: float,
    ceiling_w: float,
    settings: ControlSettings,
) -> float:
    """The budget that the ramp limits allow, from the last one or from what the fleet draws."""
    drawn_w = ceiling_w if fleet_w is None else max(fleet_w, wanted_w)
    from_w = drawn_w if state.budget_w is None else state.budget_w
    lowest_w = from_w - settings.fall_fraction_per_s * ceiling_w * dt_s
    highest_w = from_w + settings.rise_fraction_per_s * ceiling_w * dt_s
    return min(max(wanted_w, lowest_w), highest_w)
