"""The curtailment problem solved by HiGHS: the only module that knows the solver.

Pauses are found by prices. A linear program over the pauses known so far gives prices; these say what no schedule can
beat and which other pauses would pay, and those join, round by round. Then the pauses are made whole, and the program
with these alone gives the schedule. Where gap and time are left, the solver branches over all pauses known. Where all
pauses there are fit into one program they are in it from the start, and its own bound holds, too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import highspy
import numpy as np

from gateway.domain.curtailment.booking import Booking
from gateway.domain.curtailment.choice import Choice, Pause, Worth, gap_of, pauses, worth
from gateway.domain.curtailment.filling import Filling
from gateway.domain.curtailment.heuristic import Found, filled
from gateway.domain.curtailment.model import CurtailmentModel
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.curtailment.pricing import Prices, between, price_out
from gateway.domain.curtailment.program import LinearProgram
from gateway.domain.curtailment.smoothing import smoothed
from gateway.domain.quiet_highs import quiet_highs
from gateway.domain.tree import Floats, Indices

ALL_PAUSES = 1500
"""Up to so many pauses to choose from, all of them are in the program."""

ROUNDS = 8
"""So many times prices are asked for at most."""

_BETWEEN = (0.0, 0.3, 0.7)
"""Pauses are priced at the newest prices, and so far on the way from there to the best."""

_TIME_TO_BRANCH = 10.0
"""The solver branches where there is time for so many of its linear programs: it gets nowhere in fewer."""

_MOST_TURNS = 4
"""Into so many parts a pause is cut at most that cannot be taken as a whole."""

_TIME_FOR_ROUND = 1.2
_TIME_FOR_WHOLE = 0.8
"""Another round is begun only while there is time for it and to make the pauses whole, in times of the last round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """The best that was found, what nothing can beat, as a fraction of all the jobs' worth (see ``Worth``), and prices.

    ``improved`` is false where the schedule is the one that was known before.
    """

    choice: Choice
    bound: float
    prices: Prices
    improved: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    values: Floats | None
    row_price: Floats | None
    bound: float


class _Search:
    """One problem's search. ``left_s`` says how much time there is."""

    def __init__(self, prepared: Prepared, start: Found, gap: float, left_s: Callable[[], float]) -> None:
        self._prepared = prepared
        self._gap = gap
        self._left_s = left_s
        self.best = start.choice
        self.worth: Worth = worth(prepared, start.choice)
        self.bound = start.bound
        self.prices = start.prices
        self.improved = False

    def done(self) -> bool:
        """Whether there is nothing more to gain, or no time."""
        return gap_of(self.worth, self.bound) <= self._gap or self._left_s() <= 0.0

    def run(self) -> None:
        known, complete = _all_pauses(self._prepared)
        if not complete:
            # Those of the schedule known already say most of what the first prices cannot: when whose turn is.
            known = sorted(_going_on(self._prepared) | set(pauses(self._prepared, self.best.paused)))
        fractions: list[tuple[Pause, float]] = []
        round_s = 0.0
        for _ in range(ROUNDS):
            began_s = self._left_s()
            model = CurtailmentModel(self._prepared, known)
            limit_s = self._left_s() - _TIME_FOR_WHOLE * round_s
            answer = _optimise(model.program, limit_s=limit_s, whole=False)
            if answer.values is None or answer.row_price is None:
                break
            fractions = model.taken(answer.values)
            self._offer(model, answer.values, fractions)
            paying = self._price_out(model.prices(answer.row_price))
            more = sorted(set(known) | paying)
            reached = (answer.bound * model.scale + model.constant_s) / (self._prepared.total_worth or 1.0)
            settled = complete or len(more) == len(known) or self.bound - reached <= self._gap / 4.0
            left_s = self._left_s()
            round_s = began_s - left_s
            if settled or self.done() or left_s < (_TIME_FOR_ROUND + _TIME_FOR_WHOLE) * round_s:
                break
            known = more
        if not self.done() and not complete:
            self._make_whole(fractions)
        if not self.done() and known and self._left_s() >= _TIME_TO_BRANCH * round_s:
            self._branch(known, complete=complete)

    def _price_out(self, prices: Prices) -> set[Pause]:
        """The pauses that pay at these prices, and on the way from them to the best known.

        Prices swing from round to round, and with them the pauses: those between show others, and are often the better
        bound.
        """
        best, paying = self.prices, set[Pause]()
        for part in _BETWEEN:
            one = between(prices, best, part)
            priced = price_out(self._prepared, one)
            paying |= set(priced.pauses)
            if priced.bound < self.bound:
                self.bound, self.prices = priced.bound, one
        return paying

    def _offer(self, model: CurtailmentModel, values: Floats, fractions: Sequence[tuple[Pause, float]]) -> None:
        """Keep what the values mean where every pause is whole and it is better than what there was."""
        if any(1e-6 < part < 1.0 - 1e-6 for _, part in fractions):
            return
        self._keep(smoothed(self._prepared, model.choice(values)))

    def _keep(self, choice: Choice) -> None:
        """Keep a schedule that is better than what there was."""
        found = worth(self._prepared, choice)
        if found.objective > self.worth.objective:
            self.best, self.worth, self.improved = choice, found, True

    def _make_whole(self, fractions: Sequence[tuple[Pause, float]]) -> None:
        """Pauses as whole ones that save as much in each interval, and the program with these alone."""
        booking = rounded(self._prepared, fractions)
        model = CurtailmentModel(self._prepared, sorted(set(booking.pauses)))
        answer = _optimise(model.program, limit_s=self._left_s(), whole=False, fixed=model.chosen)
        if answer.values is not None:
            self._offer(model, answer.values, model.taken(answer.values))
        else:
            # Stopped by the clock, the solver has nothing: the same pauses with caps by rule are nearly as good.
            self._keep(filled(self._prepared, Filling(self._prepared), booking))

    def _branch(self, known: Sequence[Pause], *, complete: bool) -> None:
        model = CurtailmentModel(self._prepared, known)
        total = self._prepared.total_worth or 1.0
        allowed = self._gap * max(abs(self.worth.weighted_throughput), 1e-9) * total / model.scale
        answer = _optimise(model.program, limit_s=self._left_s(), whole=True, gap=allowed / 2.0)
        if answer.values is not None:
            self._offer(model, answer.values, model.taken(answer.values))
        if complete:
            self.bound = min(self.bound, (answer.bound * model.scale + model.constant_s) / total)


def solve(prepared: Prepared, *, start: Found, gap: float, left_s: Callable[[], float]) -> Solved:
    """The best schedule within ``gap`` (see ``gap_of``), or the best there is when the time is over.

    ``start`` is a schedule known already, with what nothing can beat; neither gets worse. The same problem gives the
    same schedule where the time suffices.
    """
    search = _Search(prepared, start, gap, left_s)
    if not search.done():
        search.run()
    return Solved(
        choice=search.best,
        bound=max(search.bound, search.worth.objective),
        prices=search.prices,
        improved=search.improved,
    )


def _all_pauses(prepared: Prepared) -> tuple[list[Pause], bool]:
    """Every pause that may be chosen, where they are few enough."""
    count = sum(int(windows.allowed.sum()) for windows in prepared.windows)
    if count > ALL_PAUSES:
        return [], False
    found = _going_on(prepared)
    for j, windows in zip(prepared.pausable.tolist(), prepared.windows, strict=True):
        found |= {Pause(j, int(first), int(last), False) for first, last in np.argwhere(windows.allowed)}
    return sorted(found), True


def _going_on(prepared: Prepared) -> set[Pause]:
    return {
        Pause(j, 0, int(last), True)
        for j, windows in zip(prepared.pausable.tolist(), prepared.windows, strict=True)
        if windows.goes_on is not None
        for last in np.flatnonzero(windows.goes_on)
    }


def rounded(prepared: Prepared, fractions: Sequence[tuple[Pause, float]]) -> Booking:
    """Whole pauses that save about as much power in each interval as these parts of pauses do."""
    booking = Booking(prepared)
    wanted = sorted(((part, pause) for pause, part in fractions if part > 1e-6), key=lambda one: (-one[0], one[1]))
    owing_w = np.zeros(prepared.intervals)
    for part, pause in wanted:
        owing_w[pause.first : pause.last] += part * prepared.saved_w(pause.job)
    for going in (True, False):
        for _, pause in wanted:
            if pause.goes_on is going:
                _take(booking, pause, owing_w, prepared.saved_w(pause.job))
    return booking


def _take(booking: Booking, pause: Pause, owing_w: Floats, saved_w: float) -> None:
    """Take as much of the pause as fits and is wanted, and off what is owing."""
    for pieces in _cut(pause):
        taken = False
        for piece in pieces:
            span = slice(piece.first, piece.last)
            wanted = piece.goes_on or float(owing_w[span].sum()) >= 0.5 * saved_w * (piece.last - piece.first)
            if wanted and booking.fits(piece):
                booking.take(piece)
                owing_w[span] -= saved_w
                taken = True
        if taken:
            return


def _cut(pause: Pause) -> Iterator[tuple[Pause, ...]]:
    """The pause, and its halves, thirds and quarters: a job that may not pause for all of it may take its turn."""
    length = pause.last - pause.first
    yield (pause,)
    for parts in range(2, 1 if pause.goes_on else min(length, _MOST_TURNS) + 1):
        edges = [pause.first + round(length * part / parts) for part in range(parts + 1)]
        yield tuple(Pause(pause.job, first, last, False) for first, last in pairwise(edges))


def _optimise(
    program: LinearProgram, *, limit_s: float, whole: bool, gap: float = 0.0, fixed: Indices | None = None
) -> _Answer:
    """Run HiGHS. ``fixed`` columns are at their upper end. ``values`` is ``None`` where nothing was found in time."""
    if limit_s <= 0.0:
        return _Answer(None, None, np.inf)
    solver = quiet_highs()
    for option, value in (
        ("random_seed", 0),
        ("time_limit", float(limit_s)),
        ("mip_rel_gap", 0.0),
        ("mip_abs_gap", gap),
        # Many jobs are worth the same: costs moved apart further make the simplex stall less on them.
        ("dual_simplex_cost_perturbation_multiplier", 10.0),
        ("presolve", "choose" if whole else "off"),
    ):
        solver.setOptionValue(option, value)
    low = program.low.copy()
    if fixed is not None:
        low[fixed] = program.high[fixed]
    kinds = program.whole if whole else np.zeros_like(program.whole)
    solver.passModel(
        len(program.gain),
        len(program.row_low),
        len(program.values),
        1,  # by column
        -1,  # the most
        0.0,
        program.gain,
        low,
        program.high,
        program.row_low,
        program.row_high,
        program.starts.astype(np.int32),
        program.row_of.astype(np.int32),
        program.values,
        kinds.astype(np.int32),
    )
    if solver.run() == highspy.HighsStatus.kError:
        raise RuntimeError(f"HiGHS would not solve the plan's program: {solver.getModelStatus()}")
    status, info = solver.getModelStatus(), solver.getInfo()
    found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    if not found or (not whole and status != highspy.HighsModelStatus.kOptimal):
        return _Answer(None, None, np.inf)
    solution = solver.getSolution()
    bound = info.mip_dual_bound if whole and program.whole.any() else info.objective_function_value
    return _Answer(np.array(solution.col_value), None if whole else np.array(solution.row_dual), float(bound))
