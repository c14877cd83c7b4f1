"""The sections around the working: timeline, versions, proofs, exceptions, glossary; and what is not on record."""

from collections.abc import Iterator
from datetime import datetime

from gateway.domain.operator import said_by
from gateway.domain.report.document import Column, Kind, Table
from gateway.domain.report.material import Part, StatementMaterial, Topic
from protocols.grid import Refusal

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
    ("SHA-256", "A fingerprint of data; another fingerprint means other data."),
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


def versions(material: StatementMaterial) -> Part:
    """All statements of the event."""
    found = material.versions or (material.statement,)
    columns = (
        Column(title="Statement"),
        Column(title="Issued", kind=Kind.INSTANT),
        Column(title="Reduction", kind=Kind.NUMBER, unit="kWh", decimals=3),
        Column(title="Amount", kind=Kind.NUMBER, unit=material.statement.currency, decimals=2),
    )
    rows = tuple((one.statement_id, one.issued_at, one.delivered_kwh, one.amount) for one in found)
    one = len(found) == 1
    return Part(
        lead="This is the only statement of the event." if one else f"There are {len(found)} statements of the event.",
        tables=(Table(name="versions", caption="Statements of this event", columns=columns, rows=rows),),
    )


def proofs(material: StatementMaterial) -> Part:
    """Fingerprints, and the command that computes the statement again."""
    statement = material.statement
    rows = (
        ("Of everything the statement was computed from", statement.inputs_sha256 or "not on record"),
        ("Of the verification's inputs", statement.verified.inputs_sha256 or "not on record"),
        ("Of the signal as it came over the wire", statement.raw_sha256 or "not on record"),
    )
    return Part(
        lead="The figures follow from the record: anybody who has it can compute them again.",
        tables=(
            Table(
                name="proofs",
                caption="Fingerprints (SHA-256 of the canonical JSON, RFC 8785)",
                columns=(Column(title="What"), Column(title="SHA-256")),
                rows=rows,
            ),
        ),
        notes=(
            f"To compute every figure again: gridgate statement show {statement.statement_id} --check --config FILE",
        ),
    )


def exceptions(material: StatementMaterial) -> Part:
    """What people decided, and what a reader has to know."""
    rows: list[tuple[datetime | None, str, str, str]] = []
    if material.command is not None:
        command = material.command
        rows.append((command.at, command.by, said_by(command), command.reason))
    record = material.event
    by_operator = record is not None and record.decision is not None and record.decision.refusal is Refusal.OPERATOR
    if record is not None and record.left_at is not None:
        rows.append((record.left_at, "", "the event counts up to here: an operator opted out", ""))
    elif by_operator and material.command is None and record is not None and record.decision is not None:
        rows.append((record.decision.decided_at, "", "an operator opted out", record.decision.detail))
    columns = (
        Column(title="At", kind=Kind.INSTANT),
        Column(title="By"),
        Column(title="What"),
        Column(title="Reason"),
    )
    table = Table(name="overrides", caption="What people decided", columns=columns, rows=tuple(rows))
    notes = material.statement.notes
    lead = (
        f"{len(rows)} manual decisions are on record." if rows else "No manual decision about this event is on record."
    )
    return Part(lead=lead, tables=(table,) if rows else (), notes=notes)


def glossary(_material: StatementMaterial) -> Part:
    """The words of this report."""
    columns = (Column(title="Word"), Column(title="Meaning"))
    return Part(
        lead="What the words of this report mean.",
        tables=(Table(name="glossary", caption="Words", columns=columns, rows=_TERMS),),
    )
