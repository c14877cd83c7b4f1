"""What differs between two versions of a statement, line by line, each with its cause.

Causes are found by holding the inputs of both versions against each other: a figure can only move because something
that it is computed from did.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.settlement import SettlementStatement
from gateway.domain.verification import VerificationInputs, VerifiedInterval

NAMED = 5
"""So many days or intervals are named one by one; of more it is said how many there are."""

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line that reads otherwise. ``before`` or ``after`` is empty where the line was not there.

    ``figure`` names it with its unit; ``starts_at`` is its interval, ``None`` for a line of the whole event. ``cause``
    is in plain words.
    """

    figure: str
    before: str
    after: str
    cause: str
    starts_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """What of the inputs moved, in words; empty where nothing did."""

    event: str = ""
    measured: str = ""
    baseline: str = ""
    money: str = ""

    def of_the_meter(self) -> str:
        """Why a measured figure moved."""
        return _joined([self.event, self.measured])

    def of_the_baseline(self) -> str:
        """Why a baseline moved."""
        return _joined([self.event, self.baseline])

    def of_everything(self) -> str:
        """Why a figure that rests on all of it moved."""
        return _joined([self.event, self.measured, self.baseline, self.money])


def changes(
    before: SettlementStatement,
    after: SettlementStatement,
    inputs_before: VerificationInputs,
    inputs_after: VerificationInputs,
) -> tuple[Change, ...]:
    """Every line of ``after`` that is not as it was in ``before``; empty where all read alike.

    Names and instants of the statements themselves (ids, when issued or verified) are not lines.
    """
    causes = found_causes(before, after, inputs_before, inputs_after)
    lines = [
        ("delivered kWh", str(before.delivered_kwh), str(after.delivered_kwh)),
        (f"amount {after.currency}", f"{before.amount}", f"{after.amount}"),
        ("price a kWh", f"{before.price_per_kwh} {before.currency}", f"{after.price_per_kwh} {after.currency}"),
        ("rule", _rule_of(before), _rule_of(after)),
        ("adjustment", _adjustment_of(before), _adjustment_of(after)),
        ("baseline days", _days_of(before), _days_of(after)),
        ("why there is no baseline", before.verified.insufficient or "", after.verified.insufficient or ""),
    ]
    cause = causes.of_everything()
    whole = [Change(figure=figure, before=old, after=new, cause=cause) for figure, old, new in lines if old != new]
    return (*whole, *_of_intervals(before.verified.intervals, after.verified.intervals, causes))


def found_causes(
    before: SettlementStatement,
    after: SettlementStatement,
    inputs_before: VerificationInputs,
    inputs_after: VerificationInputs,
) -> Causes:
    """What moved between the inputs of two versions."""
    zone = inputs_after.timezone
    days = {
        energy.starts_at.astimezone(zone).date().isoformat()
        for energy in _moved(inputs_before.history, inputs_after.history)
    }
    slots = [
        energy.starts_at.astimezone(zone).isoformat(timespec="seconds")
        for energy in _moved(inputs_before.measured, inputs_after.measured)
    ]
    events = set(inputs_before.excluded) ^ set(inputs_after.excluded)
    baseline = [
        f"readings of {_some(sorted(days), 'days')} came late or were edited" if days else "",
        f"what is known of other events changed ({len(events)})" if events else "",
        ""
        if inputs_before.rule == inputs_after.rule
        else f"the rule changed from {_rule_of(before)} to {_rule_of(after)}",
        "" if inputs_before.timezone.tzname(None) == inputs_after.timezone.tzname(None) else "the time zone changed",
    ]
    return Causes(
        event=_event_cause(inputs_before, inputs_after),
        measured=f"readings of {_some(slots, 'intervals')} of the event came late or were edited" if slots else "",
        baseline=_joined(baseline),
        money=""
        if (before.price_per_kwh, before.currency) == (after.price_per_kwh, after.currency)
        else "the price changed",
    )


def _event_cause(before: VerificationInputs, after: VerificationInputs) -> str:
    if before.revision != after.revision:
        return f"the event was changed (revision {before.revision} to {after.revision})"
    if (before.event_start, before.event_end, before.ramp_start) != (
        after.event_start,
        after.event_end,
        after.ramp_start,
    ):
        return "the event's time was changed"
    return ""


def _moved(before: Sequence[IntervalEnergy], after: Sequence[IntervalEnergy]) -> list[IntervalEnergy]:
    """Intervals that are new, gone or otherwise than they were, in order of time."""
    old = {(energy.starts_at, energy.duration_s): energy for energy in before}
    new = {(energy.starts_at, energy.duration_s): energy for energy in after}
    return [energy for _, energy in sorted(_differing(old, new), key=lambda item: item[0])]


def _differing(old: Mapping[K, V], new: Mapping[K, V]) -> Iterable[tuple[K, V]]:
    for key in {**old, **new}:
        if old.get(key) != new.get(key):
            yield key, new.get(key) or old[key]


def _of_intervals(
    before: Sequence[VerifiedInterval], after: Sequence[VerifiedInterval], causes: Causes
) -> Iterable[Change]:
    old = {interval.starts_at: interval for interval in before}
    new = {interval.starts_at: interval for interval in after}
    figures = (
        ("baseline Wh", "baseline_wh", causes.of_the_baseline() or causes.of_everything()),
        ("measured Wh", "measured_wh", causes.of_the_meter() or causes.of_everything()),
        ("delivered Wh", "delivered_wh", causes.of_everything()),
        ("coverage", "coverage_fraction", causes.of_the_meter() or causes.of_everything()),
        ("quality", "quality", causes.of_the_meter() or causes.of_everything()),
    )
    for starts_at in sorted({**old, **new}):
        for figure, name, cause in figures:
            was, now = (_figure(found.get(starts_at), name) for found in (old, new))
            if was != now:
                yield Change(figure=figure, before=was, after=now, cause=cause, starts_at=starts_at)


def _figure(interval: VerifiedInterval | None, name: str) -> str:
    return "" if interval is None else str(getattr(interval, name))


def _rule_of(statement: SettlementStatement) -> str:
    return f"{statement.verified.rule} {statement.verified.rule_version}"


def _adjustment_of(statement: SettlementStatement) -> str:
    verified = statement.verified
    if verified.adjustment_applied is None:
        return verified.adjustment_kind
    return f"{verified.adjustment_kind} {verified.adjustment_applied} (before bounds {verified.adjustment_raw})"


def _days_of(statement: SettlementStatement) -> str:
    return ", ".join(day.date for day in statement.verified.days if day.selected)


def _some(names: Sequence[str], what: str) -> str:
    return ", ".join(names) if len(names) <= NAMED else f"{len(names)} {what}"


def _joined(parts: Iterable[str]) -> str:
    return "; ".join(part for part in parts if part)
