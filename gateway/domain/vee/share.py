"""Of what quality a period's meter data are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from gateway.domain.measurement import IntervalEnergy, epoch_us, worst
from hardware.device import Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityShare:
    """Time in seconds by quality; what no reading stands for is missing. The four add up to ``total_s``."""

    good_s: float
    estimated_s: float
    suspect_s: float
    missing_s: float

    @property
    def total_s(self) -> float:
        """The whole period."""
        return self.good_s + self.estimated_s + self.suspect_s + self.missing_s

    @property
    def estimated_percent(self) -> float:
        """Of the whole period, as settlement reports want it told."""
        return self.percent(self.estimated_s)

    def percent(self, part_s: float) -> float:
        """What part of the period that is, 0 to 100."""
        return 100.0 * part_s / self.total_s

    def lines(self) -> tuple[str, ...]:
        """The report in figures: share and hours of each."""
        parts = (
            ("good", self.good_s),
            ("estimated", self.estimated_s),
            ("suspect", self.suspect_s),
            ("missing", self.missing_s),
        )
        return tuple(f"{name}: {self.percent(part_s):.2f} % ({part_s / 3_600:g} h)" for name, part_s in parts)


def quality_share(intervals: Sequence[IntervalEnergy], *, start: datetime, end: datetime) -> QualityShare:
    """Share of ``[start, end)`` by quality, in whatever order the intervals come.

    Where intervals overlap the worst counts, and the best covered. Of an interval covered in part the rest is missing.
    Raises ``ValueError`` for a period that ends before it begins, and for naive instants.
    """
    begin_us, end_us = epoch_us(start), epoch_us(end)
    if begin_us >= end_us:
        raise ValueError(f"the period ends at {end.isoformat()} and has to end after {start.isoformat()}")
    covered = [one for one in intervals if one.coverage_fraction > 0.0]
    spans = [(max(epoch_us(one.starts_at), begin_us), min(epoch_us(one.ends_at), end_us), one) for one in covered]
    inside = sorted((span for span in spans if span[0] < span[1]), key=lambda span: span[:2])
    cuts = sorted({begin_us, end_us, *(edge for first, last, _ in inside for edge in (first, last))})
    seconds = dict.fromkeys(Quality, 0.0)
    active: list[tuple[int, int, IntervalEnergy]] = []
    following = iter(inside)
    ahead = next(following, None)
    for left, right in pairwise(cuts):
        active = [span for span in active if span[1] > left]
        while ahead is not None and ahead[0] <= left:
            active.append(ahead)
            ahead = next(following, None)
        if active:
            share = min(1.0, max(one.coverage_fraction for _, _, one in active))
            seconds[worst(one.quality for _, _, one in active)] += share * (right - left) / 1e6
    return QualityShare(
        good_s=seconds[Quality.GOOD],
        estimated_s=seconds[Quality.ESTIMATED],
        suspect_s=seconds[Quality.SUSPECT],
        missing_s=max(0.0, (end_us - begin_us) / 1e6 - sum(seconds.values())),
    )
