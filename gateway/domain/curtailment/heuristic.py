"""A schedule without a solver: caps by the steepest segment, pauses only for what caps leave undone.

It stands in where the solver has no time, and is where the solver starts from.
"""

from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from gateway.domain.curtailment.booking import Booking
from gateway.domain.curtailment.choice import Choice, Pause, pause_cost_s, worth
from gateway.domain.curtailment.filling import Filling
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.curtailment.pricing import Prices, free, price_out
from gateway.domain.curtailment.windows import PauseWindows
from gateway.domain.tree import Flags, Floats

NOTHING_W = 0.5
"""A shortfall under half a watt is none."""

_ROUNDS = 4
"""So often pauses are looked for; each round sees what those before left undone."""

_SHIFTS = 6
"""So many intervals sooner a pause may begin than it has to, or later end, so that not all do at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A schedule, what no schedule can exceed (see ``Priced``), and the prices that prove it."""

    choice: Choice
    bound: float
    prices: Prices


def heuristic(prepared: Prepared) -> Found:
    """Caps where they reach; else pauses by weighted throughput lost for each watt saved, one stretch at a time."""
    filling = Filling(prepared)
    booking = Booking(prepared, filling.reach())
    _let_go_on(prepared, booking)
    best = filled(prepared, filling, booking)
    prices = filling.prices(best.power_w, best.paused)
    bound, prices = min(((price_out(prepared, one).bound, one) for one in (prices, free(prices))), key=itemgetter(0))
    found = worth(prepared, best)
    for _ in range(_ROUNDS):
        if float(found.missing_w.max()) < NOTHING_W or not _book(prepared, booking, found.missing_w.copy()):
            break
        choice = filled(prepared, filling, booking)
        better = worth(prepared, choice)
        if better.objective <= found.objective:
            break
        best, found = choice, better
    return Found(choice=best, bound=max(bound, found.objective), prices=prices)


def filled(prepared: Prepared, filling: Filling, booking: Booking) -> Choice:
    """The schedule around the pauses taken."""
    cost_s = np.zeros(len(prepared.jobs))
    for pause in booking.pauses:
        cost_s[pause.job] += pause_cost_s(prepared, pause)
    return Choice(power_w=filling.keeping_needs(booking.paused, cost_s), paused=booking.paused.copy())


def _let_go_on(prepared: Prepared, booking: Booking) -> None:
    """Pauses that go on: to the end of what is asked, or as near to that as they may."""
    asked = int(np.flatnonzero(np.append(~prepared.asked, True))[0])
    for j, windows in zip(prepared.pausable.tolist(), prepared.windows, strict=True):
        if windows.goes_on is not None:
            edges = np.flatnonzero(windows.goes_on)
            ends = edges[edges <= asked]
            booking.take(Pause(j, 0, int(ends[-1] if len(ends) else edges[0]), True))


def _book(prepared: Prepared, booking: Booking, missing_w: Floats) -> bool:
    """Take pauses for the first stretch in which something is missing that any pause helps; whether there were any."""
    short = missing_w >= NOTHING_W
    starts = np.flatnonzero(short & ~np.append(False, short[:-1]))
    took = False
    for start in starts.tolist():
        stop = start + int(np.argmax(np.append(~short[start:], True)))
        offers: list[tuple[float, int]] = []
        for j, windows in zip(prepared.pausable.tolist(), prepared.windows, strict=True):
            pause = _within(j, windows, start, stop, booking.paused)
            saved_w = float(prepared.floor_w[j] - prepared.idle_w[j])
            if pause is None or saved_w <= 0.0:
                continue
            length_s = float(prepared.edges_s[pause.last] - prepared.edges_s[pause.first])
            useful_s = float(prepared.edges_s[min(pause.last, stop)] - prepared.edges_s[start])
            lost_s = float(prepared.floor[j]) * length_s + pause_cost_s(prepared, pause)
            offers.append((float(prepared.worth[j]) * lost_s / (saved_w * useful_s), j))
        for _, j in sorted(offers):
            if float(missing_w[start:stop].max()) < NOTHING_W:
                break
            pause = _staggered(j, prepared.windows[int(np.searchsorted(prepared.pausable, j))], start, stop, booking)
            if pause is None or not booking.leaves_floor(pause, short):
                continue
            if float(missing_w[pause.first : pause.last].max()) >= NOTHING_W:
                booking.take(pause)
                missing_w[pause.first : pause.last] -= float(prepared.floor_w[j] - prepared.idle_w[j])
                took = True
    return took


def _within(j: int, windows: PauseWindows, start: int, stop: int, paused: Flags) -> Pause | None:
    """A pause of the stretch, of as much of it as may be, or of a little more where only longer ones may be."""
    ends = np.flatnonzero(windows.allowed[start])
    if not len(ends) or paused[j, start]:
        return None
    inside = ends[ends <= stop]
    whole = ends[ends >= stop]
    return Pause(
        j, start, int(whole[0] if len(whole) and (not len(inside) or inside[-1] < stop) else inside[-1]), False
    )


def _staggered(j: int, windows: PauseWindows, start: int, stop: int, booking: Booking) -> Pause | None:
    """The nearest pause that fits beside those taken: the whole stretch and a little more, else a part of it."""
    edges = windows.allowed.shape[0]
    for extra in range(_SHIFTS):
        for sooner in range(extra + 1):
            first, last = start - sooner, stop + extra - sooner
            if first >= 0 and last < edges and booking.fits(Pause(j, first, last, False)):
                return Pause(j, first, last, False)
    for first in range(start, min(stop, start + _SHIFTS)):
        for last in range(min(stop, edges - 1), first, -1):
            pause = Pause(j, first, last, False)
            if windows.allowed[first, last] and booking.fits(pause):
                return pause
    return None
