"""Figures, instants and events in plain words, for people. Pure; times are shown in the zone that is asked for."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from urllib.parse import quote
from zoneinfo import ZoneInfo

from gateway.domain.contract import Program
from gateway.domain.event import (
    EventRecord,
    EventState,
    cancelled_at,
    effective_end,
    is_answer_told,
)
from gateway.domain.governing import governing_signal
from gateway.domain.plan import PowerPlan
from protocols.grid import GridEvent, Opt, Signal, SignalKind

MINUS = "\N{MINUS SIGN}"

MOST_STEPS = 4
"""A sentence names so many values of a signal one after another; of more it gives the range."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def power(power_w: float) -> str:
    """``75.0 kW``; from ten megawatts on ``12.35 MW``."""
    text = f"{power_w / 1e6:,.2f} MW" if abs(power_w) >= 1e7 else f"{power_w / 1e3:,.1f} kW"
    return text.replace("-", MINUS)


def device_power(power_w: float) -> str:
    """``412 W``."""
    return f"{power_w:,.0f} W".replace("-", MINUS)


def span(seconds: float) -> str:
    """``12 s``, ``4 min 10 s``, ``1 h 5 min``, ``2 d 3 h``: the two largest units, never below 0."""
    whole_s = max(0, int(seconds))
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for place, (unit, size_s) in enumerate(units):
        if whole_s >= size_s and unit != "s":
            smaller, smaller_s = units[place + 1]
            rest = whole_s % size_s // smaller_s
            return f"{whole_s // size_s} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole_s} s"


def instant(at: datetime, zone: tzinfo, now: datetime) -> str:
    """``16:00``, with seconds where there are any, and with the date where it is not today."""
    local = at.astimezone(zone)
    clock = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
    if local.date() == now.astimezone(zone).date():
        return clock
    return f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {clock}"


def clipped(text: str, most: int = 100) -> str:
    """The text in one line, cut short where the sender was carried away."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def zone_name(zone: ZoneInfo, now: datetime) -> str:
    """``America/Phoenix (MST)``; without the abbreviation where it adds nothing (``UTC``)."""
    short = now.astimezone(zone).tzname()
    return zone.key if short is None or short == zone.key or not short.isalpha() else f"{zone.key} ({short})"


def count(number: int, thing: str) -> str:
    """``1 device``, ``2 devices``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def asked(event: GridEvent, program: Program | None, plan: PowerPlan | None) -> str:
    """What the event calls for, so that it reads on after "asks to": in watts as soon as there is a plan."""
    if plan is not None and plan.intervals:
        return f"hold the site at or under {_in_turn(_plan_targets_w(event, plan), power)}"
    signal = governing_signal(event, program) if program is not None else None
    if signal is None:
        signal = next((found for found in event.signals if found.kind not in _SHOWN), None)
    return _signal_asks(signal, program) if signal is not None and signal.intervals else _carried(event.signals)


def _plan_targets_w(event: GridEvent, plan: PowerPlan) -> list[float]:
    """The plan's steady targets in order; where it has none (all ramps), where the ramps lead."""
    within = [part for part in plan.intervals if event.ends_at is None or part.starts_at < event.ends_at]
    steady = [part.end_w for part in within if part.start_w == part.end_w and part.starts_at >= event.starts_at]
    return steady or [part.end_w for part in plan.intervals]


def _signal_asks(signal: Signal, program: Program | None) -> str:
    values = [interval.value for interval in signal.intervals]
    if not all(math.isfinite(value) for value in values):
        return f"follow {signal.name}, which has a value that is no number"
    if signal.kind is SignalKind.LEVEL:
        return _level_asks(values, {} if program is None else program.levels)
    if signal.kind is SignalKind.PRICE:
        price = _in_turn(values, lambda value: f"{value:,.4g}")
        return f"mind a price of {price} {signal.currency or '(no currency given)'} a kWh"
    if signal.kind not in _ASKS:
        return _carried([signal])
    sentence, value_words = _ASKS[signal.kind]
    return sentence.format(_in_turn(values, value_words))


def _level_asks(values: Sequence[float], levels: Mapping[int, float]) -> str:
    named = f"level {_in_turn(values, lambda value: f'{value:g}')}"
    shares = [levels.get(int(value), 0.0) for value in values if value == 0 or value in levels]
    return f"draw {_in_turn(shares, _share)} than the baseline ({named})" if shares else f"follow {named}"


def _carried(signals: Sequence[Signal]) -> str:
    if not signals:
        return "do nothing that we could read (it carries no signal)"
    names = ", ".join(dict.fromkeys(signal.name for signal in signals))
    return f"note {names}, which is shown and not acted on"


def _change(change_w: float) -> str:
    return f"{power(abs(change_w))} {'less' if change_w <= 0 else 'more'}"


def _share(fraction: float) -> str:
    return f"{abs(fraction) * 100:.3g}\N{NO-BREAK SPACE}% {'less' if fraction >= 0 else 'more'}"


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.3g}\N{NO-BREAK SPACE}%"


_SHOWN = frozenset({SignalKind.OTHER, SignalKind.NOTICE})
_ASKS: Mapping[SignalKind, tuple[str, Callable[[float], str]]] = {
    SignalKind.LIMIT: ("hold the site at or under {}", power),
    SignalKind.CAPACITY: ("hold the site at or under {} of its capacity", _percent),
    SignalKind.SETPOINT: ("hold the site at {}", power),
    SignalKind.ADJUST: ("draw {} than the baseline", _change),
    SignalKind.FRACTION: ("draw {} than the baseline", _share),
}


def _in_turn(values: Iterable[float], words: Callable[[float], str]) -> str:
    """``75.0 kW``, or ``75.0 kW, then 60.0 kW``; a value that stays is named once."""
    steps: list[float] = []
    for value in values:
        if not steps or steps[-1] != value:
            steps.append(value)
    if len(steps) > MOST_STEPS:
        return f"{words(min(steps))} to {words(max(steps))} in {len(steps)} steps"
    return ", then ".join(words(step) for step in steps)


def headline(
    record: EventRecord,
    state: EventState,
    *,
    program: Program | None,
    plan: PowerPlan | None,
    zone: tzinfo,
    now: datetime,
) -> str:
    """The event in one sentence, without the countdown."""
    event = record.event
    name = f"{'Test event' if event.test else 'Grid event'} {clipped(event.program_id or event.event_id)}"
    ask = asked(event, program, plan)
    starts = instant(event.starts_at, zone, now)
    # An end on the same day as the start needs no date of its own.
    ends = "the grid ends it" if event.ends_at is None else instant(event.ends_at, zone, event.starts_at)
    refused = record.decision is not None and record.decision.opt is Opt.OUT
    match state:
        case EventState.CANCELLED:
            at = cancelled_at(record)
            when = "" if at is None else f" at {instant(at, zone, now)}"
            return f"{name} was cancelled{when}. It asked to {ask} from {starts} until {ends}."
        case EventState.COMPLETED | EventState.SUPERSEDED:
            over_at = effective_end(record)
            when = "" if over_at is None else f" since {instant(over_at, zone, now)}"
            return f"{name} is over{when}. It asked to {ask} from {starts} until {ends}."
        case EventState.ACTIVE if not (event.test or refused):
            until = ends if event.ends_at is None else instant(event.ends_at, zone, now)
            return f"{name}: {ask} until {until}"
        case _ if not (event.test or refused):
            return f"{name}: {ask} from {starts} {'until' if event.ends_at is None else 'to'} {ends}"
        case _:
            return f"{name} asks to {ask} from {starts} {'until' if event.ends_at is None else 'to'} {ends}"


def countdown(record: EventRecord, state: EventState, now: datetime) -> str:
    """``starts in 4 min 10 s``, ``ends in 50 min``; empty once the event is over."""
    event = record.event
    if state in {EventState.FAR, EventState.NEAR}:
        return f"starts in {span((event.starts_at - now).total_seconds())}"
    if state is not EventState.ACTIVE:
        return ""
    if event.ends_at is None:
        return f"for {span((now - event.starts_at).total_seconds())} so far"
    return f"ends in {span((event.ends_at - now).total_seconds())}"


def answer(record: EventRecord, zone: tzinfo, now: datetime) -> str:
    """What we answered and when, whether the grid has it, and why where we refused."""
    decision = record.decision
    if decision is None:
        return "Not answered yet."
    told = "; the grid has our answer" if is_answer_told(record) else "; the grid has not been told yet"
    said = f"We opted {decision.opt} at {instant(decision.decided_at, zone, now)}{told}"
    if decision.opt is Opt.IN:
        return f"{said}."
    reason = ": ".join(part for part in (decision.refusal, decision.detail) if part)
    return f"{said}. Reason: {reason or 'none given'}."


def statement_address(statement_id: str) -> str:
    """Where the page of a statement is. An id may have anything in it."""
    return f"/statements/{quote(statement_id, safe='')}"
