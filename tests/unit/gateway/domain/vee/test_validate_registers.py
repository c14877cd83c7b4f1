from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.vee.finding import Finding, Kind, Severity
from gateway.domain.vee.rule import shipped_rules
from gateway.domain.vee.validate import validate
from tests.metered_site import BRUSSELS, clean_load, first_instant, gap, register

STANDARD = shipped_rules()["standard"]
MONDAY = date(2026, 5, 4)
LOAD = clean_load(MONDAY, 28, BRUSSELS)
NOON = 14 * 96 + 48
"""Slot of noon on the third Monday."""
READ_AT = [first_instant(MONDAY + timedelta(days=7 * week), BRUSSELS) for week in range(5)]


def look(intervals: Sequence[IntervalEnergy], **changes: Any) -> tuple[Finding, ...]:
    arguments: dict[str, Any] = {
        "interval_s": 900.0,
        "zone": BRUSSELS,
        "start": first_instant(MONDAY, BRUSSELS),
        "end": first_instant(MONDAY + timedelta(days=28), BRUSSELS),
        "rules": STANDARD,
    }
    return validate(intervals, **(arguments | changes))


def only(findings: Sequence[Finding], kind: Kind) -> Finding:
    (one,) = [finding for finding in findings if finding.kind is kind]
    return one


def kinds(findings: Sequence[Finding]) -> list[Kind]:
    return [finding.kind for finding in findings]


def test_a_register_that_agrees_finds_nothing():
    assert look(LOAD, registers=register(LOAD, *READ_AT)) == ()
    # Within the tolerance of 1 %.
    near = [replace(one, energy_wh=one.energy_wh * 1.009) for one in LOAD]
    assert look(near, registers=register(LOAD, *READ_AT)) == ()


def test_intervals_that_do_not_add_up_to_the_register_are_suspect_between_its_readings():
    lower = [replace(one, energy_wh=one.energy_wh * 0.9) for one in LOAD[7 * 96 : 14 * 96]]
    one = only(look([*LOAD[: 7 * 96], *lower, *LOAD[14 * 96 :]], registers=register(LOAD, *READ_AT)), Kind.REGISTER)
    assert (one.starts_at, one.ends_at, one.severity) == (READ_AT[1], READ_AT[2], Severity.SUSPECT)
    assert one.figure("intervals_sum") == pytest.approx(0.9 * one.figure("register"))
    assert "less than was measured" in one.text


def test_a_register_read_within_an_interval_takes_its_share():
    half = LOAD[NOON].starts_at + timedelta(minutes=5)
    read = [*register(LOAD, READ_AT[0]), *register(LOAD, READ_AT[4])]
    before_wh = register(LOAD, LOAD[NOON].starts_at)[0][1]
    assert look(LOAD, registers=[*read, (half, before_wh + LOAD[NOON].energy_wh / 3)]) == ()


def test_two_readings_within_intervals_take_the_share_of_each():
    cut = [LOAD[slot].starts_at + timedelta(minutes=5) for slot in (NOON, NOON + 2)]
    between_wh = LOAD[NOON].energy_wh * 2 / 3 + LOAD[NOON + 1].energy_wh + LOAD[NOON + 2].energy_wh / 3
    assert look(LOAD, registers=[(cut[0], 5e6), (cut[1], 5e6 + between_wh)]) == ()
    one = only(look(LOAD, registers=[(cut[0], 5e6), (cut[1], 5e6 + between_wh + 1_100)]), Kind.REGISTER)
    assert one.figure("intervals_sum") == pytest.approx(between_wh)


def test_with_a_gap_only_too_much_can_be_seen():
    with_gap = gap(LOAD, NOON, 8).intervals
    assert Kind.REGISTER not in kinds(look(with_gap, registers=register(LOAD, *READ_AT)))
    raised = [replace(one, energy_wh=one.energy_wh * 1.2) for one in with_gap]
    found = look(raised, registers=register(LOAD, READ_AT[2], READ_AT[3]))
    assert "more than was measured" in only(found, Kind.REGISTER).text


def test_a_register_that_runs_backwards_or_has_two_values_is_named():
    back = [(READ_AT[0], 9e6), (READ_AT[1], 8e6)]
    assert "it ran backwards" in only(look(LOAD, registers=back), Kind.REGISTER).text
    twice = [*register(LOAD, *READ_AT), (READ_AT[1], 1.0)]
    one = only(look(LOAD, registers=twice), Kind.REGISTER)
    assert (one.severity, one.figure("low"), one.starts_at) == (Severity.NOTE, 1.0, READ_AT[1])


def test_kilowatts_written_as_kilowatt_hours_show_against_the_register():
    wrong = [replace(one, energy_wh=one.energy_wh * 4) for one in LOAD]
    one = only(look(wrong, registers=register(LOAD, *READ_AT)), Kind.UNIT)
    assert (one.starts_at, one.ends_at) == (READ_AT[0], READ_AT[4])
    assert one.figure("ratio") == pytest.approx(4.0)
    assert "mean kW was probably written as kWh (a factor of 4)" in one.text
    other = [replace(one, energy_wh=one.energy_wh / 4) for one in LOAD]
    assert "taken for mean kW" in only(look(other, registers=register(LOAD, *READ_AT)), Kind.UNIT).text


def test_kilowatts_written_as_kilowatt_hours_show_against_like_days():
    tuesday = slice(8 * 96, 9 * 96)
    wrong = [replace(one, energy_wh=one.energy_wh * 4) for one in LOAD[tuesday]]
    load = [*LOAD[: 8 * 96], *wrong, *LOAD[9 * 96 :]]
    one = only(look(load), Kind.UNIT)
    assert (one.starts_at, one.ends_at) == (LOAD[8 * 96].starts_at, LOAD[9 * 96].starts_at)
    assert one.figure("ratio") == pytest.approx(4.0, rel=0.05)
    # Where the register says that so much was drawn, it was, read once a week or with every interval.
    assert look(load, registers=register(load, *READ_AT)) == ()
    each = [one.starts_at for one in load[::24]]
    assert look(load, registers=register(load, *each)) == ()


@pytest.mark.parametrize(("minutes", "factor"), [(5, 12), (30, 2)])
def test_the_factor_of_a_wrong_unit_follows_the_interval(minutes: int, factor: int):
    step = timedelta(minutes=minutes)
    load = clean_load(MONDAY, 7, BRUSSELS, step=step)
    wrong = [replace(one, energy_wh=one.energy_wh * factor) for one in load]
    end = first_instant(MONDAY + timedelta(days=7), BRUSSELS)
    arguments: dict[str, Any] = {"interval_s": step.total_seconds(), "end": end}
    assert look(load, registers=register(load, READ_AT[0], end), **arguments) == ()
    one = only(look(wrong, registers=register(load, READ_AT[0], end), **arguments), Kind.UNIT)
    assert one.figure("ratio") == pytest.approx(factor)
