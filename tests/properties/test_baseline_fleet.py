"""Many sites at once get the answers that each of them gets by itself."""

from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.baseline.engine import evaluate
from gateway.domain.baseline.fleet import FleetBaseline, evaluate_fleet
from gateway.domain.baseline.fleet_load import FleetLoad, fleet_load
from gateway.domain.baseline.result import Baseline
from gateway.domain.baseline.rule import DayMatching, Rule, shipped_rules
from gateway.domain.measurement import IntervalEnergy

ZONES = [ZoneInfo("America/New_York"), ZoneInfo("America/Phoenix")]
RULES = {rule_id: rule for rule_id, rule in shipped_rules().items() if isinstance(rule.method, DayMatching)}
DAYS = 62


def drawn(
    chance: Random, zone: ZoneInfo, *, sites: int = 5
) -> tuple[FleetLoad, datetime, np.ndarray, datetime, datetime]:
    """Two months of hours with gaps, quiet days and a site that is always the same; the event is near their end."""
    day = datetime(2025, 3, 1, tzinfo=zone) + timedelta(days=chance.randint(0, 200))
    first = (day - timedelta(days=DAYS)).astimezone(UTC)
    hours = (DAYS + 2) * 24
    table = np.array([[chance.randint(20_000, 60_000) for _ in range(sites)] for _ in range(hours)], dtype=float)
    table[:, 0] = 30_000.0
    for site in range(1, sites):
        for _ in range(chance.choice([0, 3, 80])):
            table[chance.randrange(hours), site] = np.nan
        quiet = chance.randrange(DAYS) * 24
        table[quiet : quiet + 24, site] *= 0.01
    start = (day + timedelta(hours=chance.randint(6, 16))).astimezone(UTC)
    return fleet_load(first, 3600.0, table), first, table, start, start + timedelta(hours=chance.randint(1, 3))


def one(table: np.ndarray, first: datetime, site: int) -> list[IntervalEnergy]:
    return [
        IntervalEnergy(
            starts_at=first + timedelta(hours=number), duration_s=3600.0, energy_wh=float(power), coverage_fraction=1.0
        )
        for number, power in enumerate(table[:, site])
        if np.isfinite(power)
    ]


def agree(rule: Rule, chance: Random, zone: ZoneInfo) -> FleetBaseline:
    load, first, table, start, end = drawn(chance, zone)
    events = [
        tuple(
            (start - timedelta(days=back), start - timedelta(days=back) + timedelta(hours=1))
            for back in chance.sample(range(1, 40), count)
        )
        for count in (0, 1, 5, 25, 1)
    ]
    told_at = start - timedelta(days=chance.choice([0, 0, 5]))
    more = {"event_start": start, "event_end": end, "timezone": zone, "noticed_at": told_at}
    fleet = evaluate_fleet(rule, load, excluded=events, **more)
    for site in range(load.sites):
        alone = evaluate(rule, one(table, first, site), excluded=events[site], **more)
        assert fleet.days_of(site) == {day.date: day.reason for day in alone.days}
        if site in fleet.alone:
            assert fleet.alone[site] == alone
            assert np.isnan(fleet.baseline_w[:, site]).all()
            continue
        assert isinstance(alone, Baseline), alone
        assert fleet.starts_at == tuple(item.starts_at for item in alone.intervals)
        assert fleet.baseline_w[:, site] == pytest.approx([item.baseline_w for item in alone.intervals], rel=1e-9)
        assert fleet.unadjusted_w[:, site] == pytest.approx([item.unadjusted_w for item in alone.intervals], rel=1e-9)
        for ours, theirs in [(fleet.raw, alone.adjustment.raw), (fleet.applied, alone.adjustment.applied)]:
            assert (ours is None) == (theirs is None)
            assert ours is None or ours[site] == pytest.approx(theirs, rel=1e-9, abs=1e-6)
    return fleet


@settings(deadline=None, max_examples=60)  # each example is five histories of two months
@given(rule=st.sampled_from(sorted(RULES)), chance=st.integers(0, 2**32 - 1).map(Random), zone=st.sampled_from(ZONES))
def test_a_fleet_gets_what_each_site_gets(rule: str, chance: Random, zone: ZoneInfo) -> None:
    agree(RULES[rule], chance, zone)


@pytest.mark.parametrize("rule_id", sorted(RULES))
def test_a_fleet_minimal_example(rule_id: str) -> None:
    agree(RULES[rule_id], Random(3), ZONES[0])


def test_most_sites_are_answered_together() -> None:
    load, _, _, start, end = drawn(Random(3), ZONES[1], sites=40)
    fleet = evaluate_fleet(RULES["caiso-10-in-10"], load, event_start=start, event_end=end, timezone=ZONES[1])
    assert len(fleet.alone) < 10
    assert np.isfinite(fleet.baseline_w).any()


def test_what_a_fleet_cannot_be_asked_is_refused() -> None:
    load, _, _, start, end = drawn(Random(3), ZONES[1])
    more = {"event_start": start, "event_end": end, "timezone": ZONES[1]}
    with pytest.raises(ValueError, match="matches no days"):
        evaluate_fleet(shipped_rules()["meter-before-after"], load, **more)
    with pytest.raises(ValueError, match="1 lists of events for 5 sites"):
        evaluate_fleet(RULES["10-of-10"], load, excluded=[()], **more)
    with pytest.raises(ValueError, match="not after its start"):
        evaluate_fleet(RULES["10-of-10"], load, **{**more, "event_end": start})
    with pytest.raises(ValueError, match="by interval and site"):
        fleet_load(start, 3600.0, [1.0, 2.0])


def test_a_clock_change_among_the_days_is_kept() -> None:
    zone = ZONES[0]
    rule = RULES["10-of-10"]
    chance = Random(5)
    day = datetime(2025, 3, 11, tzinfo=zone)
    first = datetime(2025, 1, 10, tzinfo=zone).astimezone(UTC)
    table = np.array([[chance.randint(20_000, 60_000) for _ in range(3)] for _ in range(62 * 24)], dtype=float)
    start, end = day + timedelta(hours=1), day + timedelta(hours=5)
    more = {"event_start": start, "event_end": end, "timezone": zone}
    fleet = evaluate_fleet(rule, fleet_load(first, 3600.0, table), **more)
    assert not fleet.alone
    for site in range(3):
        alone = evaluate(rule, one(table, first, site), **more)
        assert isinstance(alone, Baseline)
        assert fleet.baseline_w[:, site] == pytest.approx([item.baseline_w for item in alone.intervals], rel=1e-9)


def days_of_hours(*days: list[float]) -> np.ndarray:
    """One site; each day from eleven days before the event's on has the same hours over and over."""
    return np.array([[hours[hour % len(hours)]] for hours in days for hour in range(24)])


def ask_both(rule_id: str, table: np.ndarray, start: datetime, zone: ZoneInfo) -> FleetBaseline:
    """A fleet's answer, which is each site's own."""
    first = (start.replace(hour=0) - timedelta(days=len(table) // 24 - 1)).astimezone(UTC)
    more = {"event_start": start, "event_end": start + timedelta(hours=3), "timezone": zone}
    fleet = evaluate_fleet(RULES[rule_id], fleet_load(first, 3600.0, table), **more)
    alone = evaluate(RULES[rule_id], one(table, first, 0), **more)
    assert fleet.alone == {0: alone}
    return fleet


def test_days_that_only_rounding_tells_apart_are_ranked_as_for_one_site() -> None:
    ups, downs = [0.1, 0.2, 0.3], [0.3, 0.2, 0.1]
    table = days_of_hours(*[ups, downs] * 8)
    found = ask_both("korea-middle-6-of-10", table, datetime(2025, 7, 11, 12, tzinfo=ZONES[1]), ZONES[1])
    assert isinstance(found.alone[0], Baseline)


def test_a_site_that_drew_nothing_gets_no_ratio() -> None:
    table = days_of_hours(*[[0.0]] * 20, [5.0])
    found = ask_both("caiso-10-in-10", table, datetime(2025, 7, 11, 12, tzinfo=ZONES[1]), ZONES[1])
    assert "no ratio can be taken" in found.alone[0].reason


def test_hours_that_lie_between_the_meters_are_missing() -> None:
    """On Lord Howe Island the clocks change by half an hour: before 5 October the hours are off this meter's grid."""
    zone = ZoneInfo("Australia/Lord_Howe")
    found = ask_both("10-of-10", days_of_hours(*[[5.0]] * 30), datetime(2025, 10, 8, 12, tzinfo=zone), zone)
    assert "2 usable business days" in found.alone[0].reason
