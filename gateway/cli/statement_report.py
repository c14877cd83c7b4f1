"""What ``gridgate statement report`` reads from the record, and how it writes."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.app import inputs_of
from gateway.cli.output import BAD_USAGE, fail
from gateway.config import ConfigError, load_config
from gateway.domain.event import EventRecord
from gateway.domain.fleet import Site
from gateway.domain.report.material import ControlAction, HistoryLine, StatementMaterial
from gateway.domain.settlement import SettlementStatement
from gateway.ledger import Ledger


def site_of(config: Path | None, *, json_wanted: bool) -> Site | None:
    """The site of a config file, ``None`` without one. Ends the command with exit code 2 where it cannot be used."""
    if config is None:
        return None
    try:
        return load_config(config).site.site()
    except ConfigError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)


def material_of(statement_id: str, site: Site | None) -> Callable[[Ledger], Awaitable[StatementMaterial | None]]:
    """A question for all that a report on a statement shows; ``None`` where there is no such statement."""

    async def asked(ledger: Ledger) -> StatementMaterial | None:
        statement = await ledger.statement(statement_id)
        return None if statement is None else await _material(ledger, statement, site)

    return asked


async def _material(ledger: Ledger, statement: SettlementStatement, site: Site | None) -> StatementMaterial:
    verified = statement.verified
    named = (verified.connection_id, verified.event_id)
    record = await ledger.event(*named)
    return StatementMaterial(
        statement=statement,
        timezone=ZoneInfo("UTC") if site is None else site.timezone,
        inputs=None if site is None or record is None else await inputs_of(ledger, site, record, statement),
        event=record,
        plan=await ledger.plan(*named),
        history=tuple(HistoryLine(at=line.at, what=line.what, detail=line.detail) for line in await ledger.log(*named)),
        actions=() if record is None else await _actions(ledger, record, statement),
        command=await ledger.standing_command(*named),
        versions=tuple(
            one for one in await ledger.statements() if (one.verified.connection_id, one.verified.event_id) == named
        ),
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


def write_new(path: Path, body: bytes) -> None:
    """Write a file that is not there yet. Raises ``OSError``."""
    with path.open("xb") as file:
        file.write(body)
