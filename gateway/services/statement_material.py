"""All that a report on a statement shows, read from the record; reports are written from it."""

from collections.abc import Mapping
from datetime import timedelta
from zoneinfo import ZoneInfo

from gateway.domain.baseline.rule import Rule
from gateway.domain.event import EventRecord
from gateway.domain.fleet import Site
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.report.material import ControlAction, HistoryLine, StatementMaterial
from gateway.domain.report.statement import AFTER, BEFORE
from gateway.domain.settlement import SettlementStatement
from gateway.domain.site_verification import SiteVerificationInputs
from gateway.domain.verification import VerificationInputs
from gateway.ledger import Ledger
from gateway.services.assuring import AssuranceSources, assurance_of
from gateway.services.settling import gather_inputs
from gateway.services.site_inputs import gather_stated_inputs


async def material_of(
    ledger: Ledger, statement: SettlementStatement, sources: AssuranceSources | None
) -> StatementMaterial:
    """What there is; without ``sources`` neither the baseline's inputs nor an assurance, and instants in UTC."""
    verified = statement.verified
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
        versions=tuple(
            one for one in await ledger.statements() if (one.verified.connection_id, one.verified.event_id) == named
        ),
        around=() if sources is None else await _around(ledger, sources.site, statement),
        assurance=None if sources is None else await assurance_of(sources, statement),
    )


async def _around(ledger: Ledger, site: Site, statement: SettlementStatement) -> tuple[IntervalEnergy, ...]:
    found = statement.verified.intervals
    if not found:
        return ()
    return await ledger.energy_between(
        site.meter_id,
        found[0].starts_at - BEFORE,
        found[-1].starts_at + timedelta(seconds=found[-1].duration_s) + AFTER,
    )


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
