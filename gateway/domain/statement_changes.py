"""What differs between two versions of a statement, line by line, each with its cause.

Causes are found by holding the inputs of both versions against each other: a figure can only move because something
that it is computed from did.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.settlement import SettlementStatement
from gateway.domain.site_verification import SiteVerificationInputs
from gateway.domain.tariff.statement import StatementLine
from gateway.domain.verification import SitePart, VerificationInputs, VerifiedInterval

NAMED = 5
"""So many days or intervals are named one by one; of more it is said how many there are."""

Inputs = VerificationInputs | SiteVerificationInputs

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
        """Why a figure that rests on all of it moved; never empty, since only terms are left where no input moved."""
        return _joined([self.event, self.measured, self.baseline, self.money]) or "the terms of the program changed"


_NOT_KEPT = Causes(event="what one of them was computed from was not kept: the cause is not known")


def changes(
    before: SettlementStatement,
    after: SettlementStatement,
    inputs_before: Inputs | None,
    inputs_after: Inputs | None,
) -> tuple[Change, ...]:
    """Every line of ``after`` that is not as it was in ``before``; empty where all read alike.

    Without the inputs of both the lines are the same, and say that their cause is not known. Names and instants of the
    statements themselves (ids, when issued or verified) are not lines.
    """
    causes = _NOT_KEPT
    if inputs_before is not None and inputs_after is not None:
        causes = found_causes(before, after, inputs_before, inputs_after)
    lines = [
        ("revision of the event", str(before.verified.revision), str(after.verified.revision)),
        ("delivered kWh", str(before.delivered_kwh), str(after.delivered_kwh)),
        (f"amount {after.currency}", f"{before.amount}", f"{after.amount}"),
        ("price a kWh", f"{before.price_per_kwh} {before.currency}", f"{after.price_per_kwh} {after.currency}"),
        ("tariff", _tariff_of(before), _tariff_of(after)),
        ("requested kW", str(before.terms.requested_kw), str(after.terms.requested_kw)),
        ("committed kW", str(before.terms.committed_kw), str(after.terms.committed_kw)),
        ("awarded kW", str(before.terms.awarded_kw), str(after.terms.awarded_kw)),
        ("why nothing is priced", before.unpriced, after.unpriced),
        ("meter", _meter_of(before), _meter_of(after)),
        ("rule", _rule_of(before), _rule_of(after)),
        ("adjustment", _adjustment_of(before), _adjustment_of(after)),
        ("baseline days", _days_of(before), _days_of(after)),
        ("why there is no baseline", before.verified.insufficient or "", after.verified.insufficient or ""),
    ]
    cause = causes.of_everything()
    whole = [Change(figure=figure, before=old, after=new, cause=cause) for figure, old, new in lines if old != new]
    return (
        *whole,
        *_of_days(before, after, causes.of_the_baseline() or cause),
        *_of_sites(before, after, cause),
        *_of_prices(before, after, cause),
        *_of_money(before, after, cause),
        *_of_intervals(before.verified.intervals, after.verified.intervals, causes),
    )


def found_causes(
    before: SettlementStatement, after: SettlementStatement, inputs_before: Inputs, inputs_after: Inputs
) -> Causes:
    """What moved between the inputs of two versions."""
    if isinstance(inputs_before, SiteVerificationInputs) or isinstance(inputs_after, SiteVerificationInputs):
        measured, baseline = _by_sites(inputs_before, inputs_after), ""
    else:
        measured, baseline = _measured(inputs_before, inputs_after), _baseline(inputs_before, inputs_after, after)
    return Causes(
        event=_event_cause(inputs_before, inputs_after),
        measured=_joined([measured, "" if _meter_of(before) == _meter_of(after) else _loaded(after)]),
        baseline=baseline,
        money=_money(before, after),
    )


def _by_sites(before: Inputs, after: Inputs) -> str:
    if not isinstance(before, SiteVerificationInputs) or not isinstance(after, SiteVerificationInputs):
        return "it is verified in another way: by our meter, or as the sum of the sites below"
    known = {(one.site.connection_id, one.site.party): one.reports for one in before.sites}
    moved = [
        one.site.party for one in after.sites if known.get((one.site.connection_id, one.site.party)) != one.reports
    ]
    return f"reports of {_some(moved, 'sites')} came or were corrected" if moved else ""


def _measured(before: VerificationInputs, after: VerificationInputs) -> str:
    zone = after.timezone
    slots = [
        energy.starts_at.astimezone(zone).isoformat(timespec="seconds")
        for energy in _moved(before.measured, after.measured)
    ]
    return f"readings of {_some(slots, 'intervals')} of the event came late or were edited" if slots else ""


def _baseline(before: VerificationInputs, after: VerificationInputs, statement: SettlementStatement) -> str:
    zone = after.timezone
    days = {energy.starts_at.astimezone(zone).date().isoformat() for energy in _moved(before.history, after.history)}
    events = set(before.excluded) ^ set(after.excluded)
    parts = [
        f"readings of {_some(sorted(days), 'days')} came late or were edited" if days else "",
        f"what is known of other events changed ({len(events)})" if events else "",
        ""
        if before.rule == after.rule
        else f"the rule changed from {before.rule.rule_id} {before.rule.version} to {_rule_of(statement)}",
        "" if before.temperature_c == after.temperature_c else "temperatures came or were corrected",
        "" if before.declared_w == after.declared_w else "the declared level changed",
        "" if before.generation == after.generation else "readings of the generator came late or were edited",
        "" if before.timezone.tzname(None) == after.timezone.tzname(None) else "the time zone changed",
    ]
    return _joined(parts)


def _loaded(after: SettlementStatement) -> str:
    return f"it rests on {_meter_of(after)} now"


def _money(before: SettlementStatement, after: SettlementStatement) -> str:
    same_price = (before.price_per_kwh, before.currency) == (after.price_per_kwh, after.currency)
    moved = {
        "the price changed": not same_price,
        f"the tariff changed from {_tariff_of(before)} to {_tariff_of(after)}": _tariff_of(before) != _tariff_of(after),
        "prices of intervals came or changed": before.terms.prices != after.terms.prices,
        "what was committed or asked for changed": _held(before) != _held(after),
        "a price that was agreed changed": same_price and _agreed_moved(before, after),
    }
    return _joined(cause for cause, is_so in moved.items() if is_so)


def _held(statement: SettlementStatement) -> tuple[Decimal, ...]:
    terms = statement.terms
    return terms.requested_kw, terms.committed_kw, terms.awarded_kw


def _agreed_moved(before: SettlementStatement, after: SettlementStatement) -> bool:
    """Whether a line of the same tariff has another price, though no price of an interval moved."""
    if _tariff_of(before) != _tariff_of(after) or before.terms.prices != after.terms.prices:
        return False
    old, new = _lines_of(before), _lines_of(after)
    return any(old[name].price != new[name].price for name in old.keys() & new.keys())


def _event_cause(before: Inputs, after: Inputs) -> str:
    if before.revision != after.revision:
        return f"the event was changed (revision {before.revision} to {after.revision})"
    ramps = [getattr(one, "ramp_start", None) for one in (before, after)]
    if (before.event_start, before.event_end, ramps[0]) != (after.event_start, after.event_end, ramps[1]):
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


def _of_days(before: SettlementStatement, after: SettlementStatement, cause: str) -> Iterable[Change]:
    """Days that the rule passed over both times, for another reason; those that it took have a line of their own."""
    old, new = ({day.date: day for day in one.verified.days} for one in (before, after))
    for date in sorted({**old, **new}):
        was, now = old.get(date), new.get(date)
        if was != now and not any(day is not None and day.selected for day in (was, now)):
            texts = ["" if day is None else _joined([day.reason, day.detail]) for day in (was, now)]
            yield Change(figure=f"day {date} is passed over", before=texts[0], after=texts[1], cause=cause)


def _of_sites(before: SettlementStatement, after: SettlementStatement, cause: str) -> Iterable[Change]:
    """Sites below, of a report that is the sum of them."""
    old, new = ({(one.connection_id, one.party): one for one in given.verified.sites} for given in (before, after))
    for name in {**old, **new}:
        was, now = old.get(name), new.get(name)
        if was != now:
            yield Change(figure=f"site {name[1]}", before=_site_text(was), after=_site_text(now), cause=cause)


def _site_text(part: SitePart | None) -> str:
    if part is None:
        return ""
    whole = f"{part.delivered_wh} Wh delivered, {part.coverage_fraction} covered"
    return _joined([whole, part.reason, f"reports {', '.join(part.report_ids)}"])


def _of_prices(before: SettlementStatement, after: SettlementStatement, cause: str) -> Iterable[Change]:
    """Prices of intervals, with where they are from."""
    old, new = ({one.starts_at: one.price for one in given.terms.prices} for given in (before, after))
    for starts_at in sorted({**old, **new}):
        was, now = old.get(starts_at), new.get(starts_at)
        if was != now:
            yield Change(
                figure="price of the interval",
                before="" if was is None else f"{was.per_kwh} ({was.source})",
                after="" if now is None else f"{now.per_kwh} ({now.source})",
                cause=cause,
                starts_at=starts_at,
            )


def _of_money(before: SettlementStatement, after: SettlementStatement, cause: str) -> Iterable[Change]:
    """Lines of the tariff, by what they are for; a line that stands there twice is told apart by its place.

    A line that comes to the same amount in another way, such as a figure that is worth nothing by itself, is named by
    how it is worked out.
    """
    old, new = _lines_of(before), _lines_of(after)
    for name in {**old, **new}:
        was, now = old.get(name), new.get(name)
        part, what, starts_at, _ = name
        figure = f"{part}: {what}"
        texts = ["" if line is None else str(line.amount) for line in (was, now)]
        if texts[0] != texts[1]:
            figure += f" {after.currency}"
        elif was is not None and now is not None and was.working != now.working:
            texts = [was.working, now.working]
        else:
            continue
        yield Change(figure=figure, before=texts[0], after=texts[1], cause=cause, starts_at=starts_at)


def _lines_of(statement: SettlementStatement) -> dict[tuple[str, str, datetime | None, int], StatementLine]:
    found: dict[tuple[str, str, datetime | None, int], StatementLine] = {}
    for line in statement.lines:
        place = sum((part, what, at) == (line.part.value, line.what, line.starts_at) for part, what, at, _ in found)
        found[line.part.value, line.what, line.starts_at, place] = line
    return found


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


def _tariff_of(statement: SettlementStatement) -> str:
    # A statement of a release that knew a single price has none; the tariff of a single price is the same.
    return f"{statement.tariff} {statement.tariff_version}" if statement.tariff else "flat-energy 1.0"


def _meter_of(statement: SettlementStatement) -> str:
    if statement.edition.shadow:
        return "our own metering"
    return (
        "the revenue meter, its baseline in part on our own" if statement.edition.own_baseline else "the revenue meter"
    )


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
