"""``gridgate event``: what the grid asked, and what we did about it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.cli.output import FAILED, as_json, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url, read_record
from gateway.domain.event import EventRecord, state
from gateway.domain.plan import PowerPlan
from gateway.ledger import Ledger, LogEntry

event = typer.Typer(help="Events: what the grid asked, and what we did about it.", no_args_is_help=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    record: EventRecord
    plan: PowerPlan | None
    log: tuple[LogEntry, ...]


@event.command("list")
def list_events(config: ConfigOption = None, database: DatabaseOption = None, json_wanted: JsonOption = False) -> None:
    """List the events on record, by start."""

    async def all_events(ledger: Ledger) -> tuple[EventRecord, ...]:
        return await ledger.events()

    now = datetime.now(UTC)
    records = read_record(database_url(config, database), all_events, json_wanted=json_wanted)
    rows = [{"state": state(record, now), **as_json(record)} for record in records]

    def text() -> str:
        if not records:
            return "no events on record"
        return "\n".join(
            f"{record.event.starts_at:%Y-%m-%d %H:%M:%SZ}  {state(record, now):<10}"
            f"  {record.event.event_id}  revision {record.event.revision}"
            f"  {record.event.program_id}  opt {record.decision.opt if record.decision else 'undecided'}"
            for record in records
        )

    show(rows, json_wanted=json_wanted, text=text)


@event.command("show")
def show_event(
    event_id: str,
    connection: Annotated[str | None, typer.Option(help="Connection, where the id is not unique.")] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Show one event: its signals, our answer, the plan and the history."""

    async def histories(ledger: Ledger) -> list[_History]:
        return [
            _History(
                record=record,
                plan=await ledger.plan(record.event.connection_id, event_id),
                log=await ledger.log(record.event.connection_id, event_id),
            )
            for record in await ledger.events()
            if record.event.event_id == event_id and connection in {None, record.event.connection_id}
        ]

    found = read_record(database_url(config, database), histories, json_wanted=json_wanted)
    if not found:
        fail(f"no event {event_id!r} on record; see: gridgate event list", code=FAILED, json_wanted=json_wanted)
    if len(found) > 1:
        names = ", ".join(history.record.event.connection_id for history in found)
        fail(f"event {event_id!r} came over {names}: choose with --connection", code=FAILED, json_wanted=json_wanted)
    history = found[0]
    moment = datetime.now(UTC)
    answer = {"state": state(history.record, moment), **as_json(history)}
    show(answer, json_wanted=json_wanted, text=lambda: _in_words(history, moment))


def _in_words(history: _History, now: datetime) -> str:
    record, plan = history.record, history.plan
    event_ = record.event
    lines = [
        (
            f"{event_.event_id} (revision {event_.revision}) of {event_.program_id} over {event_.connection_id}:"
            f" {state(record, now)}"
        ),
        f"  {event_.starts_at:%Y-%m-%d %H:%M:%SZ} to "
        + ("further notice" if event_.ends_at is None else f"{event_.ends_at:%Y-%m-%d %H:%M:%SZ}")
        + (", a test: answered, not acted on" if event_.test else ""),
    ]
    for signal in event_.signals:
        values = ", ".join(f"{interval.value:g}" for interval in signal.intervals)
        lines.append(f"  signal {signal.name} ({signal.kind}): {values}")
    if record.decision is not None:
        lines.append(f"  we opted {record.decision.opt} {record.decision.detail}".rstrip())
    if plan is not None:
        lines.append(f"  plan: {plan.reason}")
    lines += [f"  {entry.at:%H:%M:%SZ} {entry.what} {entry.detail}".rstrip() for entry in history.log]
    return "\n".join(lines)
