"""The sections around the working: timeline and glossary; and what is not on record."""

from collections.abc import Iterator
from datetime import datetime

from gateway.domain.report.document import Column, Kind, Table
from gateway.domain.report.material import Part, StatementMaterial, Topic

NOT_ON_RECORD = {
    Topic.ACCURACY: "No placebo tests of this rule on this site are on record, so that no range is stated.",
    Topic.SENSITIVITY: "The event was not computed under other rules for this report.",
    Topic.GAMING: "No tests for gaming are on record for this event.",
    Topic.REBOUND: "The load after the event was not assessed for this report, so that no net effect is stated.",
}
"""Said where nothing was worked out; the section is never left out."""

CONTROLS_ON_PAGES = 30
"""Of hundreds of devices, so many caps show how they went; a page is for reading."""

_TERMS = (
    ("Adjustment", "Moves a baseline by the event day's own load before the event."),
    ("Bias", "Mean error of the rule on days without an event: above zero it credits too much."),
    ("Baseline", "What the site would have taken without the event, by the program's rule."),
    ("Coverage", "Share of an interval that readings stand for."),
    ("Estimated, suspect", "A reading put in by a rule; a reading that was marked and that nobody has judged."),
    ("Event", "One request by the grid to change consumption, from a start to an end."),
    ("Interval", "A stretch of time that energy is counted over; it is named by its start."),
    ("kW, kWh", "Power; energy. 1 kW over 1 hour is 1 kWh."),
    ("P50, P90", "What the reduction is at the least in one of two events, and in nine of ten, by the rule's errors."),
    ("Placebo test", "The rule applied to a day without an event: what it then shows is its error."),
    ("Rebound", "Consumption that an event did not avoid but move to later."),
    ("Reduction", "Baseline less meter, signed: negative where the site took more than its baseline."),
    ("Revision", "A version of an event, as the grid counts them."),
    ("RRMSE", "Relative root mean square error: how far the rule is off on days without an event, of the load."),
    ("Shadow", "A statement by our own metering, while no data of the revenue meter is loaded."),
    ("SHA-256", "A fingerprint of data; another fingerprint means other data."),
    ("Signed head", "What the log of evidence was at an instant, signed: it can never read otherwise afterwards."),
    ("Statement", "What one event is worth, with everything that the figure was computed from."),
    ("VEN, VTN", "In OpenADR: who is asked (virtual end node); who asks (virtual top node)."),
)


def timeline(material: StatementMaterial) -> Part:
    """Everything that happened, in order of time."""
    rows = sorted(_happened(material), key=lambda row: row[0])
    columns = (Column(title="At", kind=Kind.INSTANT), Column(title="What"), Column(title="Detail"))
    known = "" if material.event is not None else " The event itself is not on record."
    tables = [Table(name="timeline", caption="What happened", columns=columns, rows=tuple(rows))]
    if material.actions:
        tables.append(_actions(material))
    return Part(
        lead=f"From the signal to the statement, {len(rows)} steps; {len(material.actions)} caps and restores." + known,
        tables=tuple(tables),
    )


def _happened(material: StatementMaterial) -> Iterator[tuple[datetime, str, str]]:
    statement = material.statement
    yield statement.verified.verified_at, "verified", f"by rule {statement.verified.rule}"
    yield statement.issued_at, "statement issued", statement.statement_id
    yield from ((line.at, line.what, line.detail) for line in material.history)
    record = material.event
    if record is None:
        return
    event = record.event
    yield (
        record.first_received_at,
        "signal received",
        "; ".join(f"{signal.name} ({signal.kind.value})" for signal in event.signals),
    )
    yield event.starts_at, "event starts", event.comment
    if event.ends_at is not None:
        yield event.ends_at, "event ends by its own time", ""
    if record.acknowledged_at is not None:
        yield record.acknowledged_at, "answer acknowledged to the grid", ""
    if record.ended_at is not None:
        yield record.ended_at, "event ended early", record.end_cause


def _actions(material: StatementMaterial) -> Table:
    columns = (
        Column(title="At", kind=Kind.INSTANT),
        Column(title="Device"),
        Column(title="Asked", kind=Kind.NUMBER, unit="W"),
        Column(title="Applied", kind=Kind.NUMBER, unit="W"),
        Column(title="Outcome"),
    )
    rows = tuple((one.at, one.device_id, one.requested_w, one.applied_w, one.outcome) for one in material.actions)
    return Table(
        name="controls",
        caption="Caps and restores of devices",
        columns=columns,
        rows=rows,
        most_on_pages=CONTROLS_ON_PAGES,
    )


def glossary(_material: StatementMaterial) -> Part:
    """The words of this report."""
    columns = (Column(title="Word"), Column(title="Meaning"))
    return Part(
        lead="What the words of this report mean.",
        tables=(Table(name="glossary", caption="Words", columns=columns, rows=_TERMS),),
    )
