from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gateway.domain.random_start import begun_late, cancelled_late, delay_s
from protocols.grid import EventInterval, EventStatus, GridEvent, Signal, SignalKind

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
EVENT = GridEvent(
    event_id="e",
    connection_id="c",
    program_id="p",
    revision=0,
    status=EventStatus.FAR,
    created_at=NOON,
    starts_at=NOON,
    duration_s=3600.0,
    signals=(
        Signal(
            name="SIMPLE",
            kind=SignalKind.LEVEL,
            intervals=(EventInterval(starts_at=NOON, duration_s=3600.0, value=1.0),),
        ),
    ),
    start_tolerance_s=600.0,
)


def test_sites_begin_at_different_times_all_within_the_tolerance() -> None:
    delays = [delay_s(EVENT, f"site-{index}") for index in range(500)]
    assert 0.0 <= min(delays) < 20.0
    assert 580.0 < max(delays) <= 600.0
    assert len(set(delays)) > 200
    assert 250.0 < sum(delays) / len(delays) < 350.0


def test_a_site_draws_once_for_all_revisions() -> None:
    assert delay_s(EVENT, "a") == delay_s(replace(EVENT, revision=4, starts_at=NOON + timedelta(hours=1)), "a")


def test_an_event_begins_later_and_lasts_as_long() -> None:
    later = begun_late(EVENT, "a")
    delay = timedelta(seconds=delay_s(EVENT, "a"))
    assert delay > timedelta(0)
    assert (later.starts_at, later.duration_s) == (NOON + delay, 3600.0)
    assert [item.starts_at for signal in later.signals for item in signal.intervals] == [NOON + delay]
    assert later.start_tolerance_s == 600.0


def test_an_event_without_a_tolerance_begins_and_ends_on_time() -> None:
    punctual = replace(EVENT, start_tolerance_s=0.0)
    assert begun_late(punctual, "a") is punctual
    assert cancelled_late(punctual, "a", NOON) == NOON


def test_a_cancel_ends_at_another_random_instant() -> None:
    ends = {(cancelled_late(EVENT, f"site-{index}", NOON) - NOON).total_seconds() for index in range(100)}
    assert len(ends) > 50
    assert all(0.0 <= end <= 600.0 for end in ends)
    assert cancelled_late(EVENT, "site-1", NOON) - NOON != timedelta(seconds=delay_s(EVENT, "site-1"))
