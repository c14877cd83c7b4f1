"""Rules that look beyond the event: at the notice, or at hours after it, which have to be over first."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.baseline.reach import reads_until
from gateway.domain.baseline.rule import Regression, Rule, SameDay, shipped_rules
from gateway.domain.evidence import fingerprint
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.settlement import SettlementStatement, check
from gateway.domain.verification import VerificationInputs
from gateway.services.settling import gather_inputs
from hardware.device import PowerReading
from tests.unit.gateway.services.rig import CONNECTION_ID, PROGRAM, PROGRAM_ID, SITE, STARTS_AT, Rig

NOTICED = {"ercot-meter-before-after", "jiangsu"}
"""Rules that count from when the site was told."""

SHORT = SameDay(before_h=(-2 / 60, -1 / 60), after_h=(2 / 60, 3 / 60), minimum_coverage_fraction=0.95)


def use(rig: Rig, rule_id: str) -> None:
    rig.programs = {PROGRAM_ID: replace(PROGRAM, baseline_rule=rule_id)}


async def statement(rig: Rig) -> SettlementStatement:
    (found,) = await rig.ledger.statements()
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    program = rig.programs[PROGRAM_ID]
    inputs = await gather_inputs(rig.ledger, SITE, record, shipped_rules()[program.baseline_rule])
    assert check(found, inputs, program) is None
    return found


async def meter(rig: Rig, power_w: float, opens: datetime, closes: datetime) -> None:
    """Half-minute readings of the meter from before the rig's time."""
    count = int((closes - opens).total_seconds() / 30)
    rig.ledger.publish(
        [
            PowerReading(meter_id=SITE.meter_id, power_w=power_w, measured_at=opens + timedelta(seconds=30 * index))
            for index in range(count)
        ]
    )
    await rig.ledger.flush()


async def test_a_meter_before_the_notice_is_not_moved_by_what_the_site_did_after_it(rig: Rig) -> None:
    use(rig, "ercot-meter-before-after")
    await meter(rig, 2_000.0, STARTS_AT - timedelta(minutes=16), STARTS_AT)
    await meter(rig, 9_000.0, STARTS_AT, STARTS_AT + timedelta(hours=1))
    await rig.take(rig.event(in_s=3600, lasts_s=60))
    rig.clock._now += timedelta(hours=1)
    await rig.run(rig.metering(), rig.settling(), for_s=140)
    verified = (await statement(rig)).verified
    assert verified.insufficient is None
    assert sum(one.baseline_wh for one in verified.intervals) == pytest.approx(2_000.0 / 60)


async def test_a_whole_quarter_of_an_hour_is_read_to_its_beginning(rig: Rig) -> None:
    use(rig, "elia-last-quarter-hour")
    start = STARTS_AT + timedelta(hours=1)
    quarter = start - timedelta(minutes=25)
    assert quarter.minute == 15
    await meter(rig, 2_000.0, quarter, quarter + timedelta(minutes=10))
    await meter(rig, 5_000.0, quarter + timedelta(minutes=10), quarter + timedelta(minutes=15))
    await meter(rig, 9_000.0, quarter + timedelta(minutes=15), start)
    await rig.take(rig.event(in_s=3600, lasts_s=60))
    rig.clock._now = start
    await rig.run(rig.metering(), rig.settling(), for_s=140)
    verified = (await statement(rig)).verified
    assert sum(one.baseline_wh for one in verified.intervals) == pytest.approx(3_000.0 / 60)


async def test_days_are_counted_from_the_notice(rig: Rig) -> None:
    use(rig, "jiangsu")
    # Those that count lie further back than the rule looks from the event.
    for days in range(45, 80):
        start = STARTS_AT - timedelta(days=days) + timedelta(minutes=1)
        energy = IntervalEnergy(starts_at=start, duration_s=60.0, energy_wh=float(days), coverage_fraction=1.0)
        await rig.ledger.record_energy(SITE.meter_id, [energy])
    told_at = STARTS_AT - timedelta(days=48)
    rig.clock._now = told_at
    await rig.take(rig.event(in_s=48 * 86_400 + 60, lasts_s=60))
    rig.clock._now = STARTS_AT
    await rig.run(rig.metering(), rig.settling(), for_s=180)
    verified = (await statement(rig)).verified
    assert verified.insufficient is None
    assert max(day.date for day in verified.days) == (told_at.astimezone(SITE.timezone) - timedelta(days=1)).strftime(
        "%Y-%m-%d"
    )


async def test_a_rule_that_reads_after_the_event_waits_for_it_and_delays_no_other(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = replace(shipped_rules()["pjm-same-day-3-2"], method=SHORT)
    known = {**shipped_rules(), rule.rule_id: rule}
    monkeypatch.setattr("tests.unit.gateway.services.rig.shipped_rules", lambda: known)
    rig.programs = {
        PROGRAM_ID: replace(PROGRAM, baseline_rule=rule.rule_id),
        "quick": replace(PROGRAM, program_id="quick", baseline_rule="meter-before-after"),
    }
    await rig.take(rig.event(in_s=180, lasts_s=60))
    await rig.take(replace(rig.event(event_id="other", in_s=180, lasts_s=60), program_id="quick"))
    seen: list[set[str]] = []

    async def look() -> None:
        seen.append({one.verified.event_id for one in await rig.ledger.statements()})

    # The event ends after 240 s; the last minute that the rule reads ends three minutes later.
    await rig.run(rig.metering(), rig.settling(), for_s=450, script={260: look, 415: look, 440: look})
    assert seen == [{"other"}, {"other"}, {"other", "peak-1"}]
    settled = {one.verified.event_id: one.verified for one in await rig.ledger.statements()}
    assert settled["peak-1"].insufficient is None


@pytest.mark.parametrize(
    ("rule_id", "hours"),
    [
        ("pjm-same-day-3-2", 3),
        ("caiso-5-in-10", 4),
        # The event ends at 16:00 in Phoenix: the day has eight hours more.
        ("pjm-match-day", 8),
        ("caiso-10-in-10", 0),
        ("jiangsu", 0),
        ("meter-before-after", 0),
        ("maximum-base-load", 0),
        ("generator-output", 0),
    ],
)
def test_how_long_after_the_event_a_rule_reads(rule_id: str, hours: int) -> None:
    rule: Rule = shipped_rules()[rule_id]
    end = datetime(2026, 7, 15, 23, tzinfo=UTC)
    assert reads_until(rule, end - timedelta(hours=2), end, SITE.timezone) == end + timedelta(hours=hours)


async def days_of(rig: Rig, meter_id: str, power_w: float) -> None:
    """Closed minutes around the event's hour, of the days before it."""
    for days in range(1, 46):
        first = STARTS_AT - timedelta(days=days)
        await rig.ledger.record_energy(
            meter_id,
            [
                IntervalEnergy(
                    starts_at=first + timedelta(minutes=index),
                    duration_s=60.0,
                    energy_wh=power_w / 60,
                    coverage_fraction=1.0,
                )
                for index in range(10)
            ],
        )


async def test_a_generator_is_settled_by_what_it_gives_more_than_on_its_days(rig: Rig) -> None:
    use(rig, "generator-output")
    rig.site = replace(SITE, generator_meter_id="generator")
    await days_of(rig, "generator", 1_000.0)
    await rig.take(rig.event(in_s=60, lasts_s=120))

    class Meters:
        async def read(self) -> tuple[PowerReading, ...]:
            powers = {SITE.meter_id: 6_000.0, "generator": 4_000.0}
            return tuple(
                PowerReading(meter_id=meter_id, power_w=w, measured_at=rig.clock.now())
                for meter_id, w in powers.items()
            )

    await rig.run(rig.metering(Meters()), rig.settling(), for_s=260)
    (found,) = await rig.ledger.statements()
    assert found.verified.insufficient is None
    assert sum(one.delivered_wh for one in found.verified.intervals) == pytest.approx(100.0)
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    rule = shipped_rules()["generator-output"]
    assert check(found, await gather_inputs(rig.ledger, rig.site, record, rule), rig.programs[PROGRAM_ID]) is None


async def test_a_declared_level_settles_and_is_asked_again_at_an_audit(rig: Rig) -> None:
    program = replace(PROGRAM, baseline_rule="maximum-base-load", declared_w=5_000.0)
    rig.programs = {PROGRAM_ID: program}
    await rig.take(rig.event(in_s=60, lasts_s=60))
    await rig.run(rig.metering(), rig.settling(), for_s=200)
    (found,) = await rig.ledger.statements()
    assert found.verified.insufficient is None
    assert [one.baseline_wh for one in found.verified.intervals] == pytest.approx([5_000.0 / 60])
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    rule = shipped_rules()["maximum-base-load"]
    again = await gather_inputs(rig.ledger, SITE, record, rule, declared_w=5_000.0)
    assert check(found, again, program) is None
    other = await gather_inputs(rig.ledger, SITE, record, rule, declared_w=6_000.0)
    assert check(found, other, program) is not None


async def test_only_a_rule_that_asks_for_the_notice_has_it_among_its_inputs(rig: Rig) -> None:
    await rig.take(rig.event(in_s=60, lasts_s=60))
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    asks = {
        name
        for name, rule in shipped_rules().items()
        if (await gather_inputs(rig.ledger, SITE, record, rule)).noticed_at is not None
    }
    assert asks == NOTICED


def degrees(day: int) -> float:
    return 10.0 + 5 * day % 13


async def weather(rig: Rig, days: Iterable[int], *, at: datetime) -> None:
    """The temperature of the event's hour on so many days before it."""
    hour = STARTS_AT.replace(minute=0)
    await rig.ledger.record_temperatures([(hour - timedelta(days=day), degrees(day)) for day in days], at)


async def test_a_regression_goes_by_what_was_known_of_the_weather_when_the_event_was_over(rig: Rig) -> None:
    rule = shipped_rules()["time-of-week-regression"]
    assert isinstance(rule.method, Regression)
    use(rig, rule.rule_id)
    for day in range(1, rule.method.look_back_days + 2):
        first = STARTS_AT - timedelta(days=day)
        energy = [
            IntervalEnergy(
                starts_at=first + timedelta(minutes=index),
                duration_s=60.0,
                energy_wh=(5_000.0 + 100.0 * degrees(day)) / 60,
                coverage_fraction=1.0,
            )
            for index in range(4)
        ]
        await rig.ledger.record_energy(SITE.meter_id, energy)
    await rig.take(rig.event(in_s=60, lasts_s=60))
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    # Of the days before alone nothing is known of the event's own hour: the regression goes without.
    await weather(rig, range(1, rule.method.look_back_days + 2), at=STARTS_AT - timedelta(hours=1))
    assert (await gather_inputs(rig.ledger, SITE, record, rule)).temperature_c == ()
    await weather(rig, [0], at=STARTS_AT)
    await rig.run(rig.metering(), rig.settling(), for_s=200)
    found = await statement(rig)
    assert found.verified.insufficient is None
    assert found.verified.intervals[0].baseline_wh * 60 == pytest.approx(5_000.0 + 100.0 * degrees(0), abs=1.0)
    # What is imported later is not among what the first version was computed from, and makes another.
    record_at = found.verified.verified_at
    await rig.ledger.record_temperatures([(STARTS_AT.replace(minute=0), 24.0)], record_at + timedelta(seconds=1))
    again = await gather_inputs(rig.ledger, SITE, record, rule, as_of=record_at)
    assert fingerprint(again) == found.verified.inputs_sha256
    await rig.run(rig.settling(), for_s=20)
    first, second = await rig.ledger.statements()
    assert (first, second.edition.version) == (found, 2)
    assert second.verified.intervals[0].baseline_wh > first.verified.intervals[0].baseline_wh
    # Inputs are kept with every version, temperatures and all, and read as they were.
    for one in (first, second):
        kept = await rig.ledger.statement_inputs(one.verified.inputs_sha256)
        assert isinstance(kept, VerificationInputs)
        assert kept.temperature_c
        assert fingerprint(kept) == one.verified.inputs_sha256
