"""The sections on versions, on what people said and decided, and on how all of it can be proved."""

from collections.abc import Iterator
from datetime import datetime

from gateway.domain.operator import said_by
from gateway.domain.report.document import Column, Kind, Table
from gateway.domain.report.material import Part, StatementMaterial
from gateway.domain.settlement import Edition
from gateway.domain.statement_versions import VersionLine
from protocols.grid import Refusal

CHANGES_ON_PAGES = 40


def meter_words(edition: Edition) -> str:
    """Whose metering a statement rests on."""
    if edition.shadow:
        return "our own metering: no data of the revenue meter is loaded"
    return "the revenue meter; its baseline in part on our own" if edition.own_baseline else "the revenue meter"


def versions(material: StatementMaterial) -> Part:
    """All statements of the event, what changed from one to the next, and what counterparties state."""
    found = material.versions
    if not found:
        return Part(lead="Other versions of this statement were not read for this report.")
    columns = (
        Column(title="Version", kind=Kind.NUMBER),
        Column(title="Run"),
        Column(title="Statement"),
        Column(title="Issued", kind=Kind.INSTANT),
        Column(title="Reduction", kind=Kind.NUMBER, unit="kWh", decimals=3),
        Column(title="Amount", kind=Kind.NUMBER, unit=material.statement.currency, decimals=2),
        Column(title="Shadow"),
        Column(title="Approved by"),
    )
    rows = tuple(
        (
            float(line.statement.edition.version),
            line.statement.edition.run.value,
            line.statement.statement_id,
            line.statement.issued_at,
            line.statement.delivered_kwh,
            line.statement.amount,
            "yes" if line.statement.edition.shadow else "no",
            ", ".join(line.approved_by),
        )
        for line in found
    )
    tables = [Table(name="versions", caption="Statements of this event", columns=columns, rows=rows)]
    return Part(lead=_which(material), tables=(*tables, *_changes(found), *_received(found)))


def _which(material: StatementMaterial) -> str:
    found = material.versions
    newest = max(found, key=lambda line: line.statement.edition.version).statement
    if len(found) == 1:
        return "This is the only statement of the event."
    if newest.statement_id == material.statement.statement_id:
        return f"This is the newest of {len(found)} statements of the event."
    return f"This statement is superseded: the newest of {len(found)} is {newest.statement_id}."


def _changes(found: tuple[VersionLine, ...]) -> Iterator[Table]:
    rows = tuple(
        (float(line.statement.edition.version), one.figure, one.starts_at, one.before, one.after, one.cause)
        for line in found
        for one in line.changes
    )
    columns = (
        Column(title="In version", kind=Kind.NUMBER),
        Column(title="Figure"),
        Column(title="Interval", kind=Kind.INSTANT),
        Column(title="Before"),
        Column(title="After"),
        Column(title="Cause"),
    )
    if rows:
        yield Table(
            name="changes",
            caption="What changed from one version to the next",
            columns=columns,
            rows=rows,
            most_on_pages=CHANGES_ON_PAGES,
        )


def _received(found: tuple[VersionLine, ...]) -> Iterator[Table]:
    heard = [(line.statement, one) for line in found for one in line.received]
    columns = (
        Column(title="From"),
        Column(title="Reference"),
        Column(title="Against version", kind=Kind.NUMBER),
        Column(title="Figures", kind=Kind.NUMBER),
        Column(title="Differ", kind=Kind.NUMBER),
    )
    rows = tuple(
        (one.party, one.reference, float(ours.edition.version), float(one.compared), float(len(one.differences)))
        for ours, one in heard
    )
    if not rows:
        return
    yield Table(name="received", caption="What counterparties state", columns=columns, rows=rows)
    differing = tuple(
        (one.reference, line.figure, line.starts_at, line.ours, line.theirs, line.reason)
        for _, one in heard
        for line in one.differences
    )
    if differing:
        yield Table(
            name="differences",
            caption="Where they state otherwise",
            columns=(
                Column(title="Reference"),
                Column(title="Figure"),
                Column(title="Interval", kind=Kind.INSTANT),
                Column(title="Ours"),
                Column(title="Theirs"),
                Column(title="What it looks like"),
            ),
            rows=differing,
            most_on_pages=CHANGES_ON_PAGES,
        )


def proofs(material: StatementMaterial) -> Part:
    """Fingerprints, the place in the log of evidence, and how to verify all of it."""
    statement = material.statement
    rows = (
        ("Of everything the statement was computed from", statement.inputs_sha256 or "not on record"),
        ("Of the verification's inputs", statement.verified.inputs_sha256 or "not on record"),
        ("Of the signal as it came over the wire", statement.raw_sha256 or "not on record"),
    )
    prints = Table(
        name="proofs",
        caption="Fingerprints (SHA-256 of the canonical JSON, RFC 8785)",
        columns=(Column(title="What"), Column(title="SHA-256")),
        rows=rows,
    )
    name = statement.statement_id
    return Part(
        lead=f"The figures follow from the record: anybody who has it can compute them again. {_logged(material)}",
        tables=(prints, *_log_tables(material)),
        notes=(
            f"To compute every figure again from the record: gridgate statement show {name} --check --config FILE",
            f"To hand over all of it: gridgate statement bundle {name} --config FILE",
            "Whoever gets that file checks it without a network and without us: gridgate verify FILE --key KEY",
        ),
    )


def _logged(material: StatementMaterial) -> str:
    proof = material.proof
    if proof is None:
        return "Where it stands in the log of evidence was not looked up, or it is not logged yet."
    if proof.head is None:
        return f"It is entry {proof.entry.number} of the log of evidence, which no signed head covers yet."
    return f"It is entry {proof.entry.number} of the log of evidence, under a signed head."


def _log_tables(material: StatementMaterial) -> Iterator[Table]:
    proof = material.proof
    if proof is None or proof.head is None:
        return
    head = proof.head.head
    rows = (
        ("Log", head.log_id),
        ("Entry", f"{proof.entry.number} of {head.size}"),
        ("SHA-256 of the record", proof.entry.sha256),
        ("Leaf", proof.entry.leaf.hex()),
        ("Root", head.root_sha256),
        ("SHA-256 of the head", head.sha256),
        ("Head made", f"{head.made_at:%Y-%m-%d %H:%M:%S}Z"),
        ("Public key (Ed25519)", proof.head.public_key),
        ("Signature", proof.head.signature),
        ("Time stamp of an authority", "yes" if proof.stamped else "none"),
    )
    yield Table(
        name="head",
        caption="The head that covers it (RFC 6962)",
        columns=(Column(title="What"), Column(title="Value")),
        rows=rows,
    )
    yield Table(
        name="inclusion",
        caption="Proof of inclusion: hashed with these in turn, the leaf comes to the root",
        columns=(Column(title="Step", kind=Kind.NUMBER), Column(title="Hash")),
        rows=tuple((float(number), step.hex()) for number, step in enumerate(proof.path, 1)),
    )


def exceptions(material: StatementMaterial) -> Part:
    """What people decided and said, by name."""
    rows = sorted(_decided(material), key=lambda row: row[0])
    columns = (
        Column(title="At", kind=Kind.INSTANT),
        Column(title="By"),
        Column(title="What"),
        Column(title="Reason"),
    )
    table = Table(name="overrides", caption="What people decided and said", columns=columns, rows=tuple(rows))
    disputes = sum(len(line.open_disputes) for line in material.versions)
    lead = "No decision of a person is on record."
    if rows:
        lead = (
            "One decision or review is on record."
            if len(rows) == 1
            else f"{len(rows)} decisions and reviews are on record."
        )
    if disputes:
        lead += " One dispute is open." if disputes == 1 else f" {disputes} disputes are open."
    return Part(
        lead=lead,
        tables=(table,) if rows else (),
        notes=material.statement.notes,
    )


def _decided(material: StatementMaterial) -> Iterator[tuple[datetime, str, str, str]]:
    record = material.event
    if material.command is not None:
        command = material.command
        yield command.at, command.by, said_by(command), command.reason
    by_operator = record is not None and record.decision is not None and record.decision.refusal is Refusal.OPERATOR
    if record is not None and record.left_at is not None:
        yield record.left_at, "", "the event counts up to here: an operator opted out", ""
    elif by_operator and material.command is None and record is not None and record.decision is not None:
        yield record.decision.decided_at, "", "an operator opted out", record.decision.detail
    for line in material.versions:
        for one in line.reviews:
            about = f" ({', '.join(one.lines)})" if one.lines else ""
            yield one.at, one.by, f"version {line.statement.edition.version} {one.kind.value}{about}", one.reason
