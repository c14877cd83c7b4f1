"""Metered history on its own grid, ready to be looked up."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.domain.baseline.result import BaselineInterval
from gateway.domain.measurement import IntervalEnergy, epoch_us, from_epoch_us, seconds_us


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadHistory:
    """Mean power by interval. The grid is the meter's: the commonest length and offset of the intervals given.

    ``power_w`` is keyed by the interval's start in microseconds since the epoch and holds complete intervals only.
    """

    interval_us: int
    offset_us: int
    power_w: Mapping[int, float]

    def overlapping(self, start: datetime, end: datetime) -> tuple[datetime, ...]:
        """Starts of the grid's intervals that overlap ``[start, end)``, whether metered or not."""
        begin_us = epoch_us(start) - self.offset_us
        first_us = begin_us // self.interval_us * self.interval_us + self.offset_us
        return tuple(from_epoch_us(at) for at in range(first_us, epoch_us(end), self.interval_us))

    def on_grid(self, at: datetime) -> bool:
        """Whether an interval begins just then."""
        return (epoch_us(at) - self.offset_us) % self.interval_us == 0

    def at(self, start: datetime) -> float | None:
        """Mean power in watts of the interval that begins then, ``None`` where it is missing."""
        return self.power_w.get(epoch_us(start))

    @property
    def interval_s(self) -> float:
        """Length of an interval."""
        return self.interval_us / 1_000_000


def gather(history: Sequence[IntervalEnergy], *, minimum_coverage_fraction: float) -> LoadHistory | None:
    """Put the intervals on their grid, in whatever order they come; ``None`` where there are none.

    Left out are intervals off the grid, those not covered or covered less than the minimum, and those given twice with
    different energy: there is no telling which is right. Raises ``ValueError`` for an interval without duration.
    """
    if not history:
        return None
    placed = []
    for interval in history:
        length_us = seconds_us(interval.duration_s)
        if length_us <= 0:
            raise ValueError(f"the interval at {interval.starts_at.isoformat()} lasts {interval.duration_s} s")
        placed.append((epoch_us(interval.starts_at), length_us, interval))
    grids = Counter((length_us, start_us % length_us) for start_us, length_us, _ in placed)
    # Between grids that are equally common the finer one, so that the answer does not hang on the order.
    (interval_us, offset_us), _ = min(grids.items(), key=lambda item: (-item[1], item[0]))
    values: dict[int, set[float]] = {}
    for start_us, length_us, interval in placed:
        on_grid = length_us == interval_us and start_us % interval_us == offset_us
        if on_grid and 0 < interval.coverage_fraction >= minimum_coverage_fraction:
            values.setdefault(start_us, set()).add(mean_w(interval))
    power_w = {start_us: found.pop() for start_us, found in values.items() if len(found) == 1}
    return LoadHistory(interval_us=interval_us, offset_us=offset_us, power_w=power_w)


def mean_w(interval: IntervalEnergy) -> float:
    """Mean power over the covered share of an interval; the interval must be covered."""
    return interval.energy_wh * 3_600 / (interval.duration_s * interval.coverage_fraction)


def beside_meter(load: LoadHistory, start: datetime, *, unadjusted_w: float, baseline_w: float) -> BaselineInterval:
    """One interval of the answer, with what the meter said."""
    measured_w = load.at(start)
    return BaselineInterval(
        starts_at=start,
        duration_s=load.interval_s,
        unadjusted_w=unadjusted_w,
        baseline_w=baseline_w,
        measured_w=measured_w,
        reduction_w=None if measured_w is None else baseline_w - measured_w,
    )


def grid_note(load: LoadHistory, start: datetime, end: datetime) -> tuple[str, ...]:
    """Say so where the event does not begin and end with the meter's intervals."""
    if load.on_grid(start) and load.on_grid(end):
        return ()
    note = (
        f"the event does not begin and end with the meter's intervals of {load.interval_s:g} s: "
        "every interval that overlaps it is given whole"
    )
    return (note,)
