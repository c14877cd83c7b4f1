"""A job's power curve as its devices would really draw along it: what is not drawn cannot be saved.

A cap is a ceiling. At one whose nominal draw is p a device draws what it wants, up to p: the mean of min(demand, p)
over the devices of the job and the windows remembered (``load_kind``). What it gives is all that it wants to do where
its demand lies under p; else the curve's throughput at p, as a part of the curve's at the demand. With this the curve
stays concave where the nominal one is: raising the cap helps ever fewer windows, those of the largest demand.

It is for plans, which say beforehand what an event will come to. The control loop goes by the nominal curve: a cap has
to hold whatever a device turns to, and feedback at the meter makes up for what is not drawn.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gateway.domain.load_kind import Floats, known_rows
from hardware.job import CurvePoint, JobView

_SAME_THROUGHPUT = 1e-9
"""Rounding, not work."""


def as_drawn(view: JobView, demand_w: Floats) -> JobView:
    """The job with its devices' real draw in place of the nominal one; ``demand_w`` has a row a device of the view.

    The curve begins at the cap that the job's ``min_throughput`` needs on the *nominal* curve: a job that does nothing
    now may wake up under its cap, and its tier binds at every step. ``idle_w`` is less, too, by what is not drawn.

    A device that was not heard of for long enough counts with its nominal draw: it never draws more than that, so that
    a plan expects the site to be no lower than it will be. (``capability`` has it the other way round and counts
    nothing for it: what is *offered* is a difference.) Where no device is known the view stays as it is.
    """
    known_w = demand_w[known_rows(demand_w)]
    if not view.curve or not len(known_w):
        return view
    nominal = 1.0 - len(known_w) / len(demand_w)
    kept = _from_the_floor(view.curve, view.min_throughput)
    rest_w = min(point.power_w for point in view.curve) if view.idle_w is None else view.idle_w
    heard = ~np.isnan(known_w)
    # Each device counts alike, and so does each of its windows.
    weights = (heard / (heard.sum(axis=1, keepdims=True) * len(known_w)))[heard]
    wanted_w = known_w[heard]
    power_w = np.array([rest_w, *(point.power_w for point in kept)])
    drawn_w = np.minimum(wanted_w, power_w[:, None]) @ weights
    given = _given(view.curve, kept, wanted_w) @ weights
    drawn = zip(kept, (nominal * power_w + (1.0 - nominal) * drawn_w).tolist()[1:], given.tolist(), strict=True)
    return replace(
        view,
        curve=tuple(
            CurvePoint(
                cap_w=point.cap_w,
                power_w=point_w,
                throughput=nominal * point.throughput + (1.0 - nominal) * max(part, point.throughput),
            )
            for point, point_w, part in drawn
        ),
        idle_w=nominal * rest_w + (1.0 - nominal) * float(drawn_w[0]),
    )


def nominal_floor(view: JobView, drawn: JobView, throughput: float) -> float:
    """What the nominal curve of a job gives at the lowest cap at which its devices, as drawn, give ``throughput``.

    A plan made with drawn curves sets floors in their terms, in which idle devices count as doing all that they want;
    the control loop has to hold them on the nominal curve.
    """
    enough = throughput - _SAME_THROUGHPUT
    over = next((at for at, point in enumerate(drawn.curve) if point.throughput >= enough), len(drawn.curve) - 1)
    above = drawn.curve[over]
    below = drawn.curve[over - 1] if over else above
    rise = above.throughput - below.throughput
    share = min(1.0, (throughput - below.throughput) / rise) if rise > 0.0 else 1.0
    cap_w = below.cap_w + share * (above.cap_w - below.cap_w)
    return float(np.interp(cap_w, [one.cap_w for one in view.curve], [one.throughput for one in view.curve]))


def _from_the_floor(curve: Sequence[CurvePoint], min_throughput: float) -> tuple[CurvePoint, ...]:
    """The part of a curve that keeps ``min_throughput``; its last point where none does."""
    held = len(curve)
    while held > 0 and curve[held - 1].throughput >= min_throughput:
        held -= 1
    if held == 0:
        return tuple(curve)
    if held == len(curve):
        return (curve[-1],)
    under, over = curve[held - 1], curve[held]
    share = (min_throughput - under.throughput) / (over.throughput - under.throughput)
    floor = CurvePoint(
        cap_w=under.cap_w + share * (over.cap_w - under.cap_w),
        power_w=under.power_w + share * (over.power_w - under.power_w),
        throughput=min_throughput,
    )
    return (floor, *curve[held if share < 1.0 else held + 1 :])


def _given(curve: Sequence[CurvePoint], kept: Sequence[CurvePoint], wanted_w: Floats) -> Floats:
    """What is done of all that is wanted, a row a point of ``kept`` and a column a demand."""
    power_w = np.maximum.accumulate([point.power_w for point in curve])
    wanted = np.interp(wanted_w, power_w, [point.throughput for point in curve])
    held_w = np.array([[point.power_w] for point in kept])
    given = np.array([[point.throughput] for point in kept])
    slowed = (wanted_w > held_w) & (wanted > given)
    part = np.divide(given, wanted, out=np.ones(slowed.shape), where=slowed)
    return np.asarray(part * curve[-1].throughput)
