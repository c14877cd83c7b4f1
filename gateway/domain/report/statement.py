"""The report on a statement: 17 sections in a fixed order, none of them ever left out."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from gateway.domain.assurance.assure import Assurance, NotAssured
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.plan import target_w
from gateway.domain.report import around, assured, metered, priced, reviewed, working
from gateway.domain.report.document import Chart, ChartSpan, Report, Section, number_text, one_line
from gateway.domain.report.material import Part, StatementMaterial, Topic
from gateway.domain.verification import VerificationInputs, VerifiedInterval

BEFORE = AFTER = timedelta(hours=2)
"""So much of the meter before the event and after it is drawn."""

_WRITERS: Mapping[Topic, Callable[[StatementMaterial], Part]] = {
    Topic.RESULT: working.result,
    Topic.RULE: working.rule,
    Topic.TIMELINE: around.timeline,
    Topic.INTERVALS: working.intervals,
    Topic.DAYS: working.days,
    Topic.ADJUSTMENT: working.adjustment,
    Topic.QUALITY: metered.quality,
    Topic.MONEY: priced.money,
    Topic.VERSIONS: reviewed.versions,
    Topic.PROOFS: reviewed.proofs,
    Topic.EXCEPTIONS: reviewed.exceptions,
    Topic.GLOSSARY: around.glossary,
}


def report_of(material: StatementMaterial) -> Report:
    """The report, the same for the same material: its time is when the statement was issued."""
    statement = material.statement
    chart = chart_of(material)
    return Report(
        report_id=one_line(statement.statement_id),
        title=one_line(f"Settlement statement {statement.statement_id}"),
        site_id=one_line(statement.site_id),
        issued_at=statement.issued_at,
        timezone=material.timezone,
        sections=tuple(_section(number, topic, material, chart) for number, topic in enumerate(Topic, 1)),
        chart=chart,
    )


def _section(number: int, topic: Topic, material: StatementMaterial, chart: Chart | None) -> Section:
    part = material.added.get(topic)
    if part is None and topic is Topic.CHART:
        part = Part(lead="There is nothing to draw: no interval is settled." if chart is None else chart.description)
    if part is None:
        writer = _WRITERS.get(topic)
        part = _trusted(topic, material) if writer is None else writer(material)
    return Section(
        number=number,
        title=topic.value,
        lead=one_line(part.lead),
        tables=part.tables,
        notes=tuple(one_line(note) for note in part.notes),
    )


def _trusted(topic: Topic, material: StatementMaterial) -> Part:
    """A section that rests on the assurance, or why there is none."""
    match material.assurance:
        case Assurance() as found:
            return assured.WRITERS[topic](found)
        case NotAssured(reason=reason):
            return Part(lead=f"This cannot be said of this statement: {reason}.")
        case None:
            return Part(lead=around.NOT_ON_RECORD[topic])


def chart_of(material: StatementMaterial) -> Chart | None:
    """Mean power interval by interval, ``None`` where none is settled."""
    statement = material.statement
    found = statement.verified.intervals
    if not found:
        return None
    start, end = found[0].starts_at, _ends(found[-1])
    within = tuple(_span(one, material) for one in found)
    beside = material.around
    if not beside and isinstance(material.inputs, VerificationInputs):
        beside = material.inputs.history
    before, after = (
        tuple(map(_metered, sorted(found, key=lambda one: one.starts_at)))
        for found in (
            [one for one in beside if start - BEFORE <= one.starts_at and one.ends_at <= start],
            [one for one in beside if end <= one.starts_at and one.ends_at <= end + AFTER],
        )
    )
    return Chart(
        spans=(*before, *within, *after),
        event_start=start,
        event_end=end,
        price_unit=f"{statement.currency}/kWh",
        reduction=f"{number_text(statement.delivered_kwh, 1)} kWh less",
        description=_in_words(within, material),
    )


def _metered(one: IntervalEnergy) -> ChartSpan:
    return ChartSpan(
        starts_at=one.starts_at,
        ends_at=one.ends_at,
        metered_w=_mean_w(one.energy_wh, one.duration_s, one.coverage_fraction),
    )


def _span(one: VerifiedInterval, material: StatementMaterial) -> ChartSpan:
    return ChartSpan(
        starts_at=one.starts_at,
        ends_at=_ends(one),
        metered_w=_mean_w(one.measured_wh, one.duration_s, one.coverage_fraction),
        baseline_w=_mean_w(one.baseline_wh, one.duration_s, one.coverage_fraction),
        target_w=None if material.plan is None else target_w(material.plan, one.starts_at),
        price=_price(one.starts_at, material),
    )


def _price(at: datetime, material: StatementMaterial) -> Decimal:
    """Of the interval where it has one of its own, else what was agreed."""
    statement = material.statement
    own = next((one.price for one in statement.terms.prices if one.starts_at == at), None)
    return statement.price_per_kwh if own is None else own.per_kwh


def _ends(one: VerifiedInterval) -> datetime:
    return one.starts_at + timedelta(seconds=one.duration_s)


def _mean_w(energy_wh: float, duration_s: float, coverage_fraction: float) -> float | None:
    """Over the covered share; ``None`` where nothing is covered."""
    covered_s = duration_s * coverage_fraction
    return energy_wh * 3600 / covered_s if covered_s > 0 else None


def _in_words(spans: tuple[ChartSpan, ...], material: StatementMaterial) -> str:
    known = [
        (one.baseline_w, one.metered_w) for one in spans if one.metered_w is not None and one.baseline_w is not None
    ]
    if not known:
        return "No interval of the event is covered by readings, so that there is no curve to draw."
    baselines, meters = zip(*known, strict=True)
    price = number_text(material.statement.price_per_kwh, None)
    return (
        f"During the event the baseline is {_range(baselines)} and the meter {_range(meters)}; what lies between them, "
        f"green in the chart, is the reduction of {number_text(material.statement.delivered_kwh, 3)} kWh. "
        f"The price is {price} {material.statement.currency}/kWh."
    )


def _range(values_w: tuple[float, ...]) -> str:
    low, high = (number_text(value / 1000, 1) for value in (min(values_w), max(values_w)))
    return f"{low} kW" if low == high else f"{low} to {high} kW"
