"""All that a report on a statement shows, read from the record; reports are written from it."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.baseline.rule import Rule
from gateway.domain.event import EventRecord
from gateway.domain.fleet import Site
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.merkle import MerkleLog
from gateway.domain.meter_import import MeterImport
from gateway.domain.report.material import ControlAction, HistoryLine, LogProof, StatementMaterial
from gateway.domain.report.statement import AFTER, BEFORE
from gateway.domain.settlement import SettlementStatement
from gateway.domain.site_verification import SiteVerificationInputs
from gateway.domain.verification import VerificationInputs
from gateway.evidence_store import EvidenceStore
from gateway.ledger import Ledger
from gateway.services.assuring import AssuranceSources, assurance_of
from gateway.services.meter_data import MeterData
from gateway.services.reviewing import versions
from gateway.services.settling import gather_inputs
from gateway.services.site_inputs import gather_stated_inputs


async def material_of(
    ledger: Ledger,
    statement: SettlementStatement,
    sources: AssuranceSources | None,
    evidence: EvidenceStore | None = None,
) -> StatementMaterial:
    """What there is; without ``sources`` neither the baseline's inputs nor an assurance, and instants in UTC.

    Without ``evidence`` it is not said where the statement stands in the log.
    """
    verified = statement.verified
    start, end = _time_of(statement)
    named = (verified.connection_id, verified.event_id)
    record = await ledger.event(*named)
    return StatementMaterial(
        statement=statement,
        timezone=ZoneInfo("UTC") if sources is None else sources.site.timezone,
        inputs=None if sources is None or record is None else await _inputs(ledger, sources, record, statement),
        event=record,
        plan=await ledger.plan(*named),
        history=tuple(HistoryLine(at=line.at, what=line.what, detail=line.detail) for line in await ledger.log(*named)),
        actions=() if record is None else await _actions(ledger, record, statement),
        command=await ledger.standing_command(*named),
        versions=await versions(ledger, statement.statement_id),
        imports=() if sources is None else await _imports(ledger, sources.site, start, end),
        edits=() if sources is None else await ledger.edits_between(sources.site.meter_id, start, end),
        proof=None if evidence is None else await _proof(evidence, statement.statement_id),
        around=() if sources is None else await _around(ledger, sources.site, statement, start, end),
        assurance=None if sources is None else await assurance_of(sources, statement),
    )


def _time_of(statement: SettlementStatement) -> tuple[datetime, datetime]:
    """The settled time; of a statement of nothing its own instant."""
    found = statement.verified.intervals
    if not found:
        return statement.issued_at, statement.issued_at
    return found[0].starts_at, found[-1].starts_at + timedelta(seconds=found[-1].duration_s)


async def _around(
    ledger: Ledger, site: Site, statement: SettlementStatement, start: datetime, end: datetime
) -> tuple[IntervalEnergy, ...]:
    data = MeterData(ledger, interval_s=site.interval_s, as_of=statement.verified.verified_at)
    return await data.energy_between(site.meter_id, start - BEFORE, end + AFTER)


async def _imports(ledger: Ledger, site: Site, start: datetime, end: datetime) -> tuple[MeterImport, ...]:
    return tuple(one for one in await ledger.imports(site.meter_id) if one.starts_at < end and one.ends_at > start)


async def _proof(evidence: EvidenceStore, statement_id: str) -> LogProof | None:
    """Under the first head that covers the statement, so that later heads change no report."""
    entries, heads = await evidence.find_statement(statement_id), await evidence.heads()
    if not entries:
        return None
    entry = entries[-1]
    head = next((one for one in heads if one.head.size > entry.number), None)
    if head is None:
        return LogProof(entry=entry)
    leaves = (await evidence.leaves())[: head.head.size]
    # A year of entries takes a tenth of a second to hash: not in the loop.
    path = await asyncio.to_thread(lambda: MerkleLog(leaves).inclusion(entry.number))
    return LogProof(entry=entry, head=head, path=path, stamped=await evidence.stamp(head.head.sha256) is not None)


async def _inputs(
    ledger: Ledger, sources: AssuranceSources, record: EventRecord, statement: SettlementStatement
) -> VerificationInputs | SiteVerificationInputs | None:
    """``None`` where the record is of a later revision, or the rule does not come with this gridgate."""
    verified = statement.verified
    if record.event.revision != verified.revision or not (verified.sites or verified.rule in sources.rules):
        return None
    declared_w = sources.declared_w(statement)
    return await inputs_of(ledger, sources.site, sources.rules, record, statement, declared_w=declared_w)


async def inputs_of(
    ledger: Ledger,
    site: Site,
    rules: Mapping[str, Rule],
    record: EventRecord,
    statement: SettlementStatement,
    *,
    declared_w: float | None,
) -> VerificationInputs | SiteVerificationInputs:
    """What a statement of an event was computed from, read from the record again."""
    verified = statement.verified
    if verified.sites:
        return await gather_stated_inputs(ledger, site, record, verified.sites)
    return await gather_inputs(
        ledger, site, record, rules[verified.rule], as_of=verified.verified_at, declared_w=declared_w
    )


async def _actions(ledger: Ledger, record: EventRecord, statement: SettlementStatement) -> tuple[ControlAction, ...]:
    """From when we heard of the event until it was verified, so that the same record gives the same report."""
    found = await ledger.outcomes_between(record.first_received_at, statement.verified.verified_at)
    return tuple(
        ControlAction(
            at=one.at,
            device_id=one.device_id,
            requested_w=one.requested_w,
            applied_w=one.applied_w,
            outcome=one.outcome,
        )
        for one in found
    )
