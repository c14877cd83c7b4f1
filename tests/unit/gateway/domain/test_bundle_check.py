"""The checks of a bundle that need no file: which hours count, what energy comes to, how many faults are told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.bundle_check import (
    MOST_FAULTS,
    LogCopy,
    check_energy,
    check_heads,
    check_records,
    hours_that_count,
    named,
    recompute_energy,
)
from gateway.domain.evidence_log import EvidenceEntry
from gateway.domain.measurement import IntervalEnergy, integrate, slices
from gateway.domain.reading_columns import ReadingColumns
from hardware.device import PowerReading

NOON = datetime(2026, 7, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def readings(start: datetime, minutes: int, power_w: float = 6000.0) -> list[PowerReading]:
    return [
        PowerReading(meter_id="site", power_w=power_w + minute, measured_at=start + timedelta(minutes=minute))
        for minute in range(minutes)
    ]


def test_of_a_rule_that_looks_at_the_meter_before_the_hours_before_and_of_the_event_count() -> None:
    rule = shipped_rules()["meter-before-after"]
    found = hours_that_count(rule, NOON + timedelta(minutes=30), NOON + timedelta(minutes=90))
    assert found == {NOON, NOON + HOUR}


def test_of_a_rule_that_looks_back_the_same_time_on_earlier_days_counts_with_an_hour_on_either_side() -> None:
    rule = shipped_rules()["caiso-10-in-10"]
    found = hours_that_count(rule, NOON, NOON + HOUR)
    day_before = {(at - NOON + timedelta(days=1)) // HOUR for at in found if at.date() == (NOON.date() - timedelta(1))}
    # The adjustment looks at up to four hours before; a reading of a minute before them may still stand.
    assert {-5, -4, -3, -2, -1, 0, 1} <= day_before
    assert max(day_before) == 1
    assert {at for at in found if at >= NOON} == {NOON}
    assert min(found).date() == NOON.date() - timedelta(days=rule.method.look_back_days + 1)  # type: ignore[union-attr]


def test_closed_intervals_follow_from_their_readings_alone() -> None:
    of_two_hours = readings(NOON - HOUR, 120)
    closed = integrate(of_two_hours, slices(NOON, NOON + HOUR, 300))
    hours = {NOON - HOUR, NOON}
    found = recompute_energy(closed, ReadingColumns.of(of_two_hours, "site"), hours)
    assert (len(found.pairs), found.bare) == (12, 0)
    assert check_energy(found).faults == ()
    harmed = [replace(closed[0], energy_wh=1.0), *closed[1:]]
    (fault,) = check_energy(recompute_energy(harmed, ReadingColumns.of(of_two_hours, "site"), hours)).faults
    assert fault.startswith("the interval at 2026-07-15 12:00:00Z is stated as 1.0 Wh and comes to 50")


def test_an_interval_without_readings_or_without_their_hour_is_bare_and_no_fault() -> None:
    imported = IntervalEnergy(starts_at=NOON, duration_s=300.0, energy_wh=500.0, coverage_fraction=1.0)
    late = readings(NOON + timedelta(minutes=30), 30)
    for hours in ({NOON - HOUR, NOON}, {NOON}, set[datetime]()):
        found = recompute_energy([imported], ReadingColumns.of(late, "site"), hours)
        assert (found.pairs, found.bare) == ((), 1)
        assert check_energy(found).faults == ()


def entry(number: int, sha256: str = "") -> EvidenceEntry:
    return EvidenceEntry(number=number, kind="statement", key=str(number), at=NOON, sha256=sha256)


def test_many_faults_are_counted_after_the_first() -> None:
    entries = tuple(entry(number) for number in range(10))
    copy = LogCopy(entries=entries, leaves=tuple(one.leaf for one in entries), heads=())
    found = check_records(copy, {0: b"else", 99: b""}, range(10))
    assert len(found.faults) == MOST_FAULTS + 1
    assert found.faults[0] == "statement 0 (entry 0) is not what was logged at 2026-07-15 12:00:00Z"
    assert found.faults[1] == "statement 1 (entry 1) is in the log and was left out of the bundle"
    assert found.faults[-1] == "and 8 more"


def test_a_log_without_a_head_is_vouched_for_by_nobody() -> None:
    assert "no head" in check_heads(LogCopy(entries=(), leaves=(), heads=()), "0" * 64).faults[0]


@pytest.mark.parametrize(
    ("kind", "key", "says"),
    [
        (
            "reading",
            "2026-07-15T12:00:00Z/site",
            "the hour of readings from 2026-07-15T12:00:00Z of meter site (entry 7)",
        ),
        ("event_revision", "utility/peak-1/0", "event revision utility/peak-1/0 (entry 7)"),
    ],
)
def test_a_record_is_named_in_plain_words(kind: str, key: str, says: str) -> None:
    assert named(EvidenceEntry(number=7, kind=kind, key=key, at=NOON, sha256="")) == says
