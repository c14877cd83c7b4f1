"""The best that anybody could have made of an event: a linear program over the truth, with HiGHS.

It knows what no gateway knows: what each job will draw and do under each cap at every minute, to the watt, and how the
cooling will follow. So its optimum is a bound, and the distance to it what not knowing, measuring and reacting cost.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.domain.allocate import envelope
from hardware.job import CurvePoint
from hardware.physics import COOLING_FRACTION, COOLING_S, FOLLOWING_FRACTION, Possible

Floats = NDArray[np.float64]
Indices = NDArray[np.int32]

_Row = tuple[float, float, dict[int, float]]
"""At least, at most, and coefficients by column."""


class NoOptimum(Exception):
    """The program has no solution: the target cannot be met within the tiers, whoever knows whatever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimumJob:
    """``weight`` counts for each device; ``min_throughput`` is the least mean over the event."""

    weight: float
    devices: int
    min_throughput: float


def best_throughput(
    jobs: Sequence[OptimumJob], possible: Sequence[Possible], target_w: Sequence[float], *, step_s: float
) -> float:
    """The most weighted throughput over the event, mean of 1 for each job that is never slowed.

    ``possible`` and ``target_w`` (nan for none) go by interval of ``step_s``, in which site power stays at or under the
    target on average. Before the first the site is at rest, so that the cooling stands at what the uncapped load needs.
    Raises ``NoOptimum``.
    """
    program = _Program(jobs, possible, target_w, step_s=step_s)
    weight = sum(job.weight * job.devices for job in jobs)
    return program.solve() / (weight * len(possible))


class _Program:
    """Columns are how far each segment of each job's concave curve is filled in each interval, 0 to 1.

    Rows keep targets and tiers, in kilowatts, so that all coefficients are of one size.

    In an interval load is ``(1 + f) * devices + fixed`` and cooling follows it: its mean over the interval is a linear
    function of this load and all loads before.
    """

    def __init__(
        self, jobs: Sequence[OptimumJob], possible: Sequence[Possible], target_w: Sequence[float], *, step_s: float
    ) -> None:
        self._count = len(possible)
        self._target_w = target_w
        self._fade = math.exp(-step_s / COOLING_S)
        self._held = COOLING_S / step_s * (1.0 - self._fade)
        self._width_kw: list[float] = []
        self._of_interval: list[list[int]] = [[] for _ in possible]
        self._of_job: list[list[int]] = [[] for _ in jobs]
        self._work: list[float] = []
        self._base_work = [0.0] * len(jobs)
        # Where devices are lost a tier is a share of what is left.
        self._most_work = np.sum([one.throughput[:, -1] for one in possible], axis=0).tolist()
        self._base_w = [one.rest_w for one in possible]
        self._fixed_w = [one.overhead_w for one in possible]
        self._jobs = jobs
        for interval, one in enumerate(possible):
            for index in range(len(jobs)):
                self._add_segments(interval, index, one)
        rest = possible[0]
        self._cooling_w = COOLING_FRACTION * (
            (1.0 + FOLLOWING_FRACTION) * (float(rest.power_w[:, -1].sum()) + rest.rest_w) + rest.overhead_w
        )
        self._base = sum(job.weight * job.devices * work for job, work in zip(jobs, self._base_work, strict=True))

    def _add_segments(self, interval: int, index: int, one: Possible) -> None:
        points = zip(one.power_w[index].tolist(), one.throughput[index].tolist(), strict=True)
        ends = envelope([CurvePoint(cap_w=power_w, power_w=power_w, throughput=part) for power_w, part in points])
        self._base_w[interval] += ends.power_w[0]
        self._base_work[index] += ends.throughput[0]
        for at in range(1, len(ends.power_w)):
            column = len(self._work)
            self._width_kw.append((ends.power_w[at] - ends.power_w[at - 1]) / 1000.0)
            self._work.append(ends.throughput[at] - ends.throughput[at - 1])
            self._of_interval[interval].append(column)
            self._of_job[index].append(column)

    def solve(self) -> float:
        """The best sum of weighted throughput over intervals and jobs."""
        import highspy  # noqa: PLC0415 - the solver is loaded where it solves

        from gateway.domain.quiet_highs import quiet_highs  # noqa: PLC0415 - as above

        solver = quiet_highs()
        # The simplex of HiGHS 1.16.0 says of this program that it cannot tell, with primal rows kilowatts off; the
        # interior point method solves it to 1e-9, and nobody needs a vertex.
        solver.setOptionValue("solver", "ipm")
        solver.setOptionValue("run_crossover", "off")
        fills, most = len(self._work), highspy.kHighsInf
        columns = fills + self._count
        solver.addVars(columns, np.zeros(columns), np.array([1.0] * fills + [most] * self._count))
        solver.changeObjectiveSense(highspy.ObjSense.kMaximize)
        for job, filled in zip(self._jobs, self._of_job, strict=True):
            for column in filled:
                solver.changeColCost(column, job.weight * job.devices * self._work[column])
        lower, upper, starts, indices, values = _by_row([*self._power_rows(fills, most), *self._tier_rows(most)])
        solver.addRows(len(lower), lower, upper, len(indices), starts, indices, values)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise NoOptimum(solver.modelStatusToString(solver.getModelStatus()))
        return self._base + float(solver.getInfo().objective_function_value)

    def _power_rows(self, fills: int, most: float) -> Iterator[_Row]:
        """Cooling that follows, and targets. After the fills comes the cooling at each interval's end, in kW."""
        factor = 1.0 + FOLLOWING_FRACTION
        lead = (1.0 - self._fade) * COOLING_FRACTION
        share = 1.0 + (1.0 - self._held) * COOLING_FRACTION
        for interval, columns in enumerate(self._of_interval):
            fixed_kw = (factor * self._base_w[interval] + self._fixed_w[interval]) / 1000.0
            load = {column: factor * self._width_kw[column] for column in columns}
            # What the cooling was at the interval's beginning: a column, or known.
            before = {fills + interval - 1: 1.0} if interval else {}
            known_kw = 0.0 if interval else self._cooling_w / 1000.0
            # At the end: fade * before + (1 - fade) * COOLING_FRACTION * load.
            end_kw = lead * fixed_kw + self._fade * known_kw
            row = {column: -lead * kw for column, kw in load.items()}
            yield end_kw, end_kw, {fills + interval: 1.0} | row | dict.fromkeys(before, -self._fade)
            if not math.isnan(self._target_w[interval]):
                # On average: held * before + (1 - held) * COOLING_FRACTION * load.
                spare_kw = self._target_w[interval] / 1000.0 - share * fixed_kw - self._held * known_kw
                row = {column: share * kw for column, kw in load.items()}
                yield -most, spare_kw, row | dict.fromkeys(before, self._held)

    def _tier_rows(self, most: float) -> Iterator[_Row]:
        for job, base, most_work, columns in zip(
            self._jobs, self._base_work, self._most_work, self._of_job, strict=True
        ):
            yield job.min_throughput * most_work - base, most, {column: self._work[column] for column in columns}


def _by_row(rows: Sequence[_Row]) -> tuple[Floats, Floats, Indices, Indices, Floats]:
    """Bounds, then the matrix by row: where each begins, columns and values."""
    starts = np.cumsum([0, *(len(row) for _, _, row in rows[:-1])]).astype(np.int32)
    indices = np.array([column for _, _, row in rows for column in row], dtype=np.int32)
    values = np.array([value for _, _, row in rows for value in row.values()], dtype=np.float64)
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows]), starts, indices, values
