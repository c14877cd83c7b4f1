"""The options of ``gridgate vtn event``, in the event's own terms."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.cli.event_wish import Options, wish_of
from protocols.grid import SignalKind, Target

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def test_options_are_read_in_watts_and_seconds() -> None:
    wish = wish_of(
        Options(
            program="peak",
            starts="+10m",
            duration="2h",
            signal="limit-kw",
            values=("80 for 15m", "60.5"),
            targets=("ven=a", "group=west"),
            ramp_up="-5m",
            start_within="90s",
        ),
        NOON,
    )
    assert (wish.starts_at, wish.duration_s) == (NOON + timedelta(minutes=10), 7200.0)
    assert (wish.kind, wish.values) == (SignalKind.LIMIT, ((900.0, 80_000.0), (None, 60_500.0)))
    assert wish.targets == (Target(kind="ven", value="a"), Target(kind="group", value="west"))
    assert (wish.ramp_up_s, wish.recovery_s, wish.start_tolerance_s) == (-300.0, None, 90.0)


@pytest.mark.parametrize(("starts", "after_s"), [("now", 1), ("+10m", 601), ("2026-07-01T14:00:00.5+02:00", 0.5)])
def test_an_event_begins_at_a_whole_second_unless_another_is_written(starts: str, after_s: float) -> None:
    now = NOON + timedelta(microseconds=250_000)
    assert wish_of(Options(starts=starts), now).starts_at == NOON + timedelta(seconds=after_s)


def test_what_is_not_given_is_left_as_it_is() -> None:
    wish = wish_of(Options(), NOON)
    assert (wish.starts_at, wish.duration_s, wish.open_ended, wish.values, wish.targets) == (
        None,
        None,
        False,
        (),
        None,
    )
    assert wish_of(Options(duration="open", starts="2026-07-01T14:00:00+02:00"), NOON).open_ended


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (Options(values=("2",)), "--value needs --signal"),
        (Options(signal="watts"), "choose one of level"),
        (Options(signal="level", values=("two",)), "'two' is no value"),
        (Options(duration="soon"), "no length of time: write 90s"),
        (Options(starts="tomorrow"), "no start: write now"),
        (Options(starts="2026-07-01T14:00:00"), "in which time zone"),
        (Options(targets=("west",)), "write as in ven=NAME"),
        (Options(targets=("colour=red",)), "kinds are ven"),
    ],
)
def test_what_cannot_be_read_says_how_it_is_written(options: Options, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        wish_of(options, NOON)
