"""Accounts of what was kept back from jobs."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.work_account import asked_anew, brought_up, opened, taken_over

NOON = datetime(2026, 7, 15, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(minutes: float) -> datetime:
    return NOON + minutes * MINUTE


def test_what_is_lost_is_time_by_what_is_missing_and_costs() -> None:
    account = brought_up(opened("train-1", NOON), NOON, throughput=0.0, cost_s=20.0)
    account = brought_up(account, at(5), throughput=0.8, cost_s=10.0)
    account = brought_up(account, at(15), throughput=1.0)
    account = brought_up(account, at(20), throughput=1.0)
    assert account.lost_s == pytest.approx(20.0 + 300.0 + 10.0 + 0.2 * 600.0)
    assert account.asked_s == 1200.0
    assert account.asked_given_s == pytest.approx(1200.0 - 450.0)
    assert account.given_fraction == pytest.approx(1.0 - 450.0 / 1200.0)


def test_a_new_stretch_of_asking_leaves_the_life_as_it_was() -> None:
    account = asked_anew(brought_up(brought_up(opened("j", NOON), NOON, throughput=0.5), at(10), throughput=1.0))
    assert (account.lost_s, account.asked_lost_s, account.asked_s) == (300.0, 0.0, 0.0)


def test_a_clock_that_was_set_back_adds_nothing() -> None:
    account = brought_up(brought_up(opened("j", NOON), NOON, throughput=0.5), at(-10), throughput=0.5)
    assert (account.lost_s, account.at, account.given_fraction) == (0.0, NOON, 1.0)


@pytest.mark.parametrize(("away_min", "lost_s", "asked_lost_s"), [(0.5, 30.0, 30.0), (5, 60.0, 60.0), (11, 60.0, 0.0)])
def test_the_next_gateway_takes_a_pause_to_have_lasted_as_long_as_its_lease(
    away_min: float, lost_s: float, asked_lost_s: float
) -> None:
    paused = brought_up(opened("j", NOON), NOON, throughput=0.0)
    found = taken_over(paused, at(away_min), leased=MINUTE, same_stretch=10 * MINUTE)
    assert (found.lost_s, found.asked_lost_s, found.at) == (lost_s, asked_lost_s, at(away_min))
