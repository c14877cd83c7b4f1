from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.vee.share import QualityShare, quality_share
from hardware.device import Quality

START = datetime(2026, 3, 2, tzinfo=UTC)
END = START + timedelta(hours=2)


def interval(slot: int, quality: Quality = Quality.GOOD, coverage_fraction: float = 1.0) -> IntervalEnergy:
    return IntervalEnergy(
        starts_at=START + slot * timedelta(minutes=15),
        duration_s=900.0,
        energy_wh=10.0,
        coverage_fraction=coverage_fraction,
        quality=quality,
    )


def test_the_share_of_time_by_quality():
    intervals = [
        *(interval(slot) for slot in range(3)),
        interval(3, Quality.ESTIMATED),
        interval(4, Quality.ESTIMATED),
        interval(5, Quality.SUSPECT),
        interval(6, Quality.SUSPECT, 0.0),
    ]
    share = quality_share(intervals[::-1], start=START, end=END)
    assert share == QualityShare(good_s=2700.0, estimated_s=1800.0, suspect_s=900.0, missing_s=1800.0)
    assert (share.total_s, share.estimated_percent) == (7200.0, 25.0)
    assert share.lines() == (
        "good: 37.50 % (0.75 h)",
        "estimated: 25.00 % (0.5 h)",
        "suspect: 12.50 % (0.25 h)",
        "missing: 25.00 % (0.5 h)",
    )


def test_what_overlaps_counts_once_and_as_its_worst():
    hour = replace(interval(0, Quality.SUSPECT), duration_s=3600.0)
    share = quality_share([*(interval(slot) for slot in range(8)), hour, interval(7)], start=START, end=END)
    assert (share.good_s, share.suspect_s, share.missing_s) == (3600.0, 3600.0, 0.0)


def test_what_is_covered_in_part_or_cut_by_the_period_counts_by_its_share():
    share = quality_share(
        [interval(0), interval(1, coverage_fraction=0.5)], start=START + timedelta(minutes=10), end=END
    )
    assert (share.good_s, share.total_s) == (300.0 + 450.0, 6600.0)


def test_a_period_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match="has to end after"):
        quality_share([], start=END, end=START)
