from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.contract import Program
from gateway.domain.event import EventRecord, state
from gateway.domain.plan import PowerPlan
from gateway.http import words
from protocols.grid import EventInterval, GridEvent, Opt, OptDecision, Refusal, Signal, SignalKind

PHOENIX = ZoneInfo("America/Phoenix")
NOON = datetime(2026, 7, 14, 19, 0, tzinfo=UTC)
PROGRAM = Program(program_id="srp-peak", levels={1: 0.10, 2: 0.25})


def record(event: GridEvent, **more: object) -> EventRecord:
    return EventRecord(event=event, first_received_at=NOON, received_at=NOON, **more)  # type: ignore[arg-type] # by name


def told(found: EventRecord, now: datetime, plan: PowerPlan | None = None) -> str:
    return words.headline(found, state(found, now), program=PROGRAM, plan=plan, zone=PHOENIX, now=now)


@pytest.mark.parametrize(
    ("power_w", "text"),
    [
        (75_000.0, "75.0 kW"),
        (-1_250.0, "\N{MINUS SIGN}1.2 kW"),
        (1_234_567.0, "1,234.6 kW"),
        (12_345_678.0, "12.35 MW"),
    ],
)
def test_power_is_told_in_kilowatts_and_from_ten_megawatts_in_megawatts(power_w: float, text: str) -> None:
    assert words.power(power_w) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3.0, "0 s"),
        (59.9, "59 s"),
        (60.0, "1 min"),
        (250.0, "4 min 10 s"),
        (3_600.0, "1 h"),
        (3_905.0, "1 h 5 min"),
        (183_600.0, "2 d 3 h"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


def test_an_instant_is_local_with_its_date_only_on_another_day() -> None:
    assert words.instant(NOON, PHOENIX, NOON) == "12:00"
    assert words.instant(NOON + timedelta(seconds=5), PHOENIX, NOON) == "12:00:05"
    # 02:00 UTC is still the fourteenth in Phoenix.
    assert words.instant(NOON + timedelta(hours=7), PHOENIX, NOON) == "19:00"
    assert words.instant(NOON + timedelta(hours=24), PHOENIX, NOON) == "Wed 15 Jul 12:00"


def test_a_zone_is_named_once() -> None:
    assert words.zone_name(PHOENIX, NOON) == "America/Phoenix (MST)"
    assert words.zone_name(ZoneInfo("UTC"), NOON) == "UTC"


def test_a_long_text_is_cut_and_stays_in_one_line() -> None:
    assert words.clipped("a\nb  c") == "a b c"
    assert words.clipped("x" * 500, 10) == "xxxxxxxxx\N{HORIZONTAL ELLIPSIS}"


def test_an_event_to_come_says_what_it_asks_and_when(make_event: Callable[..., GridEvent]) -> None:
    found = record(make_event())
    now = found.event.starts_at - timedelta(minutes=4, seconds=10)
    assert told(found, now) == "Grid event srp-peak: hold the site at or under 75.0 kW from 16:00 to 17:00"
    assert words.countdown(found, state(found, now), now) == "starts in 4 min 10 s"


def test_an_active_event_says_until_when(make_event: Callable[..., GridEvent]) -> None:
    found = record(make_event())
    now = found.event.starts_at + timedelta(minutes=50)
    assert told(found, now) == "Grid event srp-peak: hold the site at or under 75.0 kW until 17:00"
    assert words.countdown(found, state(found, now), now) == "ends in 10 min"


def test_an_open_ended_event_says_who_ends_it(make_event: Callable[..., GridEvent]) -> None:
    found = record(make_event(duration_s=None))
    now = found.event.starts_at + timedelta(minutes=5)
    assert told(found, now) == "Grid event srp-peak: hold the site at or under 75.0 kW until the grid ends it"
    assert words.countdown(found, state(found, now), now) == "for 5 min so far"


def test_a_cancelled_event_says_when_and_what_it_had_asked(make_event: Callable[..., GridEvent]) -> None:
    found = record(make_event(), ended_at=NOON + timedelta(hours=1), end_cause="cancelled by the sender")
    text = told(found, NOON + timedelta(hours=2))
    assert text == (
        "Grid event srp-peak was cancelled at 13:00. It asked to hold the site at or under 75.0 kW from 16:00 until "
        "17:00."
    )
    assert words.countdown(found, state(found, NOON + timedelta(hours=2)), NOON + timedelta(hours=2)) == ""


def test_an_event_that_is_over_says_since_when(make_event: Callable[..., GridEvent]) -> None:
    text = told(record(make_event()), NOON + timedelta(hours=6))
    assert text.startswith("Grid event srp-peak is over since 17:00. It asked to hold the site")


@pytest.mark.parametrize(
    ("kind", "values", "asks"),
    [
        (SignalKind.LIMIT, (75e3, 60e3), "hold the site at or under 75.0 kW, then 60.0 kW"),
        (SignalKind.CAPACITY, (0.7,), "hold the site at or under 70\N{NO-BREAK SPACE}% of its capacity"),
        (SignalKind.NOTICE, (12.5,), "note LOAD_DISPATCH, which is shown and not acted on"),
        (SignalKind.LIMIT, (75e3, 75e3), "hold the site at or under 75.0 kW"),
        (SignalKind.LIMIT, (5e3, 4e3, 3e3, 2e3, 1e3), "hold the site at or under 1.0 kW to 5.0 kW in 5 steps"),
        (SignalKind.SETPOINT, (75e3,), "hold the site at 75.0 kW"),
        (SignalKind.ADJUST, (-20e3,), "draw 20.0 kW less than the baseline"),
        (SignalKind.ADJUST, (20e3,), "draw 20.0 kW more than the baseline"),
        (SignalKind.FRACTION, (0.25,), "draw 25\N{NO-BREAK SPACE}% less than the baseline"),
        (SignalKind.LEVEL, (2.0,), "draw 25\N{NO-BREAK SPACE}% less than the baseline (level 2)"),
        (SignalKind.LEVEL, (3.0,), "follow level 3"),
        (SignalKind.PRICE, (0.25,), "mind a price of 0.25 USD a kWh"),
        (SignalKind.OTHER, (1.0,), "note LOAD_DISPATCH, which is shown and not acted on"),
        (SignalKind.LIMIT, (float("nan"),), "follow LOAD_DISPATCH, which has a value that is no number"),
        (SignalKind.LIMIT, (), "note LOAD_DISPATCH, which is shown and not acted on"),
    ],
)
def test_every_kind_of_signal_is_told(
    make_event: Callable[..., GridEvent], kind: SignalKind, values: tuple[float, ...], asks: str
) -> None:
    assert words.asked(make_event(kind=kind, values=values), PROGRAM, None) == asks


def test_an_event_of_an_unknown_program_is_told_all_the_same(make_event: Callable[..., GridEvent]) -> None:
    event = make_event(program_id="whose", kind=SignalKind.LEVEL, values=(2.0,))
    assert words.asked(event, None, None) == "follow level 2"


def test_an_event_without_a_signal_is_told_all_the_same(make_event: Callable[..., GridEvent]) -> None:
    assert words.asked(make_event(signals=()), PROGRAM, None) == (
        "do nothing that we could read (it carries no signal)"
    )


def test_of_several_signals_the_governing_one_is_told(make_event: Callable[..., GridEvent]) -> None:
    event = make_event()
    interval = EventInterval(starts_at=event.starts_at, duration_s=3600.0, value=1.0)
    simple = Signal(name="SIMPLE", kind=SignalKind.LEVEL, intervals=(interval,))
    assert words.asked(make_event(signals=(simple, *event.signals)), PROGRAM, None) == (
        "hold the site at or under 75.0 kW"
    )


def test_a_plan_turns_a_fraction_into_watts(
    make_event: Callable[..., GridEvent], make_plan: Callable[..., PowerPlan]
) -> None:
    event = make_event(kind=SignalKind.FRACTION, values=(0.25,))
    assert words.asked(event, PROGRAM, make_plan(event, 60_000.0, 80_000.0)) == "hold the site at or under 60.0 kW"


def decision(event: GridEvent, opt: Opt, **why: object) -> OptDecision:
    return OptDecision(
        connection_id=event.connection_id,
        event_id=event.event_id,
        revision=event.revision,
        opt=opt,
        decided_at=NOON,
        **why,  # type: ignore[arg-type] # by name
    )


def test_the_answer_says_whether_the_grid_has_it(make_event: Callable[..., GridEvent]) -> None:
    event = make_event()
    opted = decision(event, Opt.IN, detail="LOAD_DISPATCH governs")
    assert words.answer(record(event), PHOENIX, NOON) == "Not answered yet."
    assert words.answer(record(event, decision=opted), PHOENIX, NOON) == (
        "We opted in at 12:00; the grid has not been told yet."
    )
    assert words.answer(record(event, decision=opted, acknowledged_at=NOON), PHOENIX, NOON) == (
        "We opted in at 12:00; the grid has our answer."
    )


def test_a_refusal_says_why(make_event: Callable[..., GridEvent]) -> None:
    event = make_event()
    refused = decision(event, Opt.OUT, refusal=Refusal.OPERATOR, detail="the hall is being rebuilt")
    found = record(event, decision=refused, acknowledged_at=NOON)
    assert words.answer(found, PHOENIX, NOON) == (
        "We opted out at 12:00; the grid has our answer. Reason: operator: the hall is being rebuilt."
    )
    assert told(found, NOON) == ("Grid event srp-peak asks to hold the site at or under 75.0 kW from 16:00 to 17:00")
