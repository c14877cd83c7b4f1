"""The sections that show how a statement was worked out: result, rule, intervals, days, adjustment."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum

from gateway.domain.assurance.assure import Assurance
from gateway.domain.baseline.rule import Rule
from gateway.domain.report.assured import range_words, verdict_words
from gateway.domain.report.document import Column, Kind, Table, instant_text, number_text
from gateway.domain.report.material import Part, StatementMaterial, Topic
from gateway.domain.report.reviewed import meter_words
from gateway.domain.verification import VerificationInputs

_CLASS = Column(title="Quantity")
_VALUE = Column(title="Value")


def result(material: StatementMaterial) -> Part:
    """What was delivered and what it is worth."""
    statement = material.statement
    verified = statement.verified
    money = f"{number_text(statement.amount, 2)} {statement.currency}"
    if verified.insufficient is not None:
        lead = f"Nothing is settled: the rule gives no baseline ({verified.insufficient}). The zero is no measurement."
    else:
        lead = (
            f"In event {verified.event_id} the site took {number_text(statement.delivered_kwh, 3)} kWh less than its "
            f"baseline, which is worth {money}."
        )
        if statement.delivered_kwh < 0:
            lead = (
                f"In event {verified.event_id} the site took {number_text(-statement.delivered_kwh, 3)} kWh more than "
                f"its baseline; the amount is {money}."
            )
    measured = math.fsum(interval.measured_wh for interval in verified.intervals)
    baseline = math.fsum(interval.baseline_wh for interval in verified.intervals)
    share = f"{number_text(100 * (baseline - measured) / baseline, 1)} %" if baseline > 0 else "not defined"
    whole = (
        ()
        if verified.insufficient is not None
        else (
            ("Baseline energy", f"{number_text(baseline / 1000, 3)} kWh"),
            ("Metered energy", f"{number_text(measured / 1000, 3)} kWh"),
            ("Reduction, as a share of the baseline", share),
        )
    )
    if statement.unpriced:
        lead = f"{lead} Nothing is priced: {statement.unpriced}."
    if isinstance(material.assurance, Assurance):
        lead += f" {_stated_range(material.assurance)}"
    rows = (
        ("Statement", statement.statement_id),
        ("Event", f"{verified.event_id}, revision {verified.revision}, over {verified.connection_id}"),
        ("Program", statement.program_id),
        ("Site", statement.site_id),
        ("Reduction", f"{number_text(statement.delivered_kwh, 3)} kWh"),
        *whole,
        ("Amount", money),
        ("Version", _edition_words(material)),
        ("Rests on", meter_words(statement.edition)),
        ("Range of the result", _range(material)),
        *(
            (("Tests for gaming", verdict_words(material.assurance)),)
            if isinstance(material.assurance, Assurance)
            else ()
        ),
        ("Capability test", "yes" if statement.capability_test else "no"),
        ("Time zone", material.timezone.key),
    )
    return Part(
        lead=lead,
        tables=(Table(name="result", caption="The result", columns=(_CLASS, _VALUE), rows=rows),),
        notes=(
            "Energy is imported energy. A reduction is baseline less meter, signed, never clamped.",
            "Times are the start of an interval, in local time with its offset from UTC.",
        ),
    )


def _range(material: StatementMaterial) -> str:
    if isinstance(material.assurance, Assurance):
        return range_words(material.assurance)
    return ("see " if Topic.ACCURACY in material.added else "not stated: see ") + Topic.ACCURACY.value


def _edition_words(material: StatementMaterial) -> str:
    edition, zone = material.statement.edition, material.timezone
    until = (
        "" if edition.dispute_until is None else f", may be disputed until {instant_text(edition.dispute_until, zone)}"
    )
    before = f", in place of {edition.supersedes}" if edition.supersedes else ""
    return f"{edition.version}, {edition.run.value}{before}{until}"


def _stated_range(found: Assurance) -> str:
    words = range_words(found)
    return f"Its range is {words}." if found.p50.value is None else f"It is {words}."


def rule(material: StatementMaterial) -> Part:
    """Which rule, from where, with which parameters."""
    verified = material.statement.verified
    if not isinstance(material.inputs, VerificationInputs):
        how = (
            "the sum of what the sites below have verified"
            if verified.sites
            else "its sheet and inputs were not read for this report"
        )
        return Part(lead=f"The baseline is by rule {verified.rule}, version {verified.rule_version}: {how}.")
    sheet = material.inputs.rule
    rows = (
        ("Rule", f"{sheet.rule_id}, version {sheet.version}"),
        ("Title", sheet.title),
        ("In a sentence", sheet.clause),
        ("Source", sheet.source),
        ("How far the source was read", sheet.read),
    )
    return Part(
        lead=f"The baseline is by rule {sheet.rule_id}, version {sheet.version}: {sheet.title}.",
        tables=(
            Table(name="rule", caption="The rule", columns=(_CLASS, _VALUE), rows=rows),
            Table(
                name="parameters",
                caption="Its parameters, as on its sheet",
                columns=(Column(title="Parameter"), _VALUE),
                rows=tuple(_parameters(sheet)),
            ),
        ),
    )


def _parameters(sheet: Rule) -> Iterator[tuple[str, str]]:
    yield from _spelled("", sheet.method)


def _spelled(path: str, value: object) -> Iterator[tuple[str, str]]:
    if is_dataclass(value):
        for one in fields(value):
            # What a sheet leaves out stands at its default and would only be in the way.
            if one.default is not MISSING and getattr(value, one.name) == one.default:
                continue
            yield from _spelled(f"{path}.{one.name}" if path else one.name, getattr(value, one.name))
    elif isinstance(value, Mapping):
        for name, member in value.items():
            yield from _spelled(f"{path}.{name}", member)
    elif isinstance(value, tuple) and any(is_dataclass(member) for member in value):
        for number, member in enumerate(value, 1):
            yield from _spelled(f"{path}[{number}]", member)
    else:
        yield path, _word(value)


def _word(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case Enum():
            return str(value.value)
        case tuple():
            return ", ".join(_word(member) for member in value) or "none"
        case float():
            return f"{value:g}"
        case _:
            return str(value) or "none"


def intervals(material: StatementMaterial) -> Part:
    """Every settled interval."""
    found = material.statement.verified.intervals
    if not found:
        return Part(lead="No interval is settled.")
    bounds = _interval_bounds(material)
    columns = (
        Column(title="From", kind=Kind.INSTANT),
        Column(title="Length", kind=Kind.NUMBER, unit="min", decimals=1),
        Column(title="Baseline", kind=Kind.NUMBER, unit="kWh", decimals=3),
        Column(title="Metered", kind=Kind.NUMBER, unit="kWh", decimals=3),
        Column(title="Reduction", kind=Kind.NUMBER, unit="kWh", decimals=3),
        *(_BOUNDS if bounds else ()),
        Column(title="Covered", kind=Kind.NUMBER, unit="%", decimals=1),
        Column(title="Quality"),
    )
    rows = tuple(
        (
            one.starts_at,
            one.duration_s / 60,
            one.baseline_wh / 1000,
            one.measured_wh / 1000,
            one.delivered_wh / 1000,
            *bounds.get(one.starts_at, ()),
            100 * one.coverage_fraction,
            one.quality.value,
        )
        for one in found
    )
    return Part(
        lead=f"{_count(len(found), 'interval')} between {_span(material)}. Time that no reading covers is neither "
        "credited nor charged.",
        tables=(Table(name="intervals", caption="Settled intervals", columns=columns, rows=rows),),
        notes=(
            "The statement rounds once, the sum: rows that are shown rounded may add up to a watt-hour beside it.",
            *(("P50 and P90 are lower bounds of each interval by itself; they do not add up.",) if bounds else ()),
        ),
    )


_BOUNDS = (
    Column(title="P50", kind=Kind.NUMBER, unit="kWh", decimals=3),
    Column(title="P90", kind=Kind.NUMBER, unit="kWh", decimals=3),
)


def _interval_bounds(material: StatementMaterial) -> Mapping[datetime, tuple[float | None, float | None]]:
    """Lower bounds in kWh by the start of the settled interval; none where there is no assurance of these intervals."""
    if not isinstance(material.assurance, Assurance):
        return {}
    by_start = {one.starts_at: one for one in material.assurance.intervals}
    found = {}
    for one in material.statement.verified.intervals:
        if one.starts_at not in by_start:
            return {}
        bounded, hours = by_start[one.starts_at], one.duration_s * one.coverage_fraction / 3_600_000
        p50, p90 = (None if power_w is None else power_w * hours for power_w in (bounded.p50_w, bounded.p90_w))
        found[one.starts_at] = (p50, p90)
    return found if any(bound is not None for pair in found.values() for bound in pair) else {}


def _span(material: StatementMaterial) -> str:
    found = material.statement.verified.intervals
    last = found[-1].starts_at + timedelta(seconds=found[-1].duration_s)
    first, after = (at.astimezone(material.timezone) for at in (found[0].starts_at, last))
    return f"{first:%Y-%m-%d %H:%M} and {after:%Y-%m-%d %H:%M}"


def days(material: StatementMaterial) -> Part:
    """The ledger of days: taken, and passed over with the reason."""
    found = material.statement.verified.days
    if not found:
        return Part(lead="The rule looks at no earlier days.")
    taken = sum(day.selected for day in found)
    columns = (Column(title="Day"), Column(title="Taken"), Column(title="Reason"), Column(title="Detail"))
    rows = tuple((day.date, "yes" if day.selected else "no", day.reason, day.detail) for day in found)
    return Part(
        lead=f"{_count(len(found), 'day')} looked at, {taken} taken, {len(found) - taken} passed over.",
        tables=(Table(name="days", caption="Days, taken and passed over", columns=columns, rows=rows),),
    )


def adjustment(material: StatementMaterial) -> Part:
    """How the event's own day moved the baseline."""
    verified = material.statement.verified
    raw, applied = verified.adjustment_raw, verified.adjustment_applied
    if raw is None or applied is None:
        return Part(lead="The rule has no adjustment, or there was no baseline to adjust.")
    unit = "W" if verified.adjustment_kind == "additive" else "times the baseline"
    bounded = "was bounded by the rule" if raw != applied else "was applied as it came"
    rows = (
        ("Kind", verified.adjustment_kind),
        ("Before bounds", f"{number_text(raw, 6)} {unit}"),
        ("Applied", f"{number_text(applied, 6)} {unit}"),
    )
    return Part(
        lead=f"The {verified.adjustment_kind} adjustment came to {number_text(raw, 6)} {unit} and {bounded}.",
        tables=(Table(name="adjustment", caption="The adjustment", columns=(_CLASS, _VALUE), rows=rows),),
        notes=("Its window and its bounds stand with the parameters of the rule.",),
    )


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
