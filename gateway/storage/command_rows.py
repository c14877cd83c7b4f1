"""What operators asked for and what became of it, in rows."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.operator import CommandOutcome, OperatorCommand
from gateway.storage import rows, tables

_command = tables.operator_command
_outcome = tables.command_outcome
_told = tables.command_told


async def add(connection: AsyncConnection, command: OperatorCommand) -> bool:
    """Keep the command; false where its id is known."""
    row = {
        "command_id": command.command_id,
        "connection_id": command.connection_id,
        "event_id": command.event_id,
        "document": command,
    }
    return await rows.add(connection, _command, row)


async def open_ones(connection: AsyncConnection) -> tuple[OperatorCommand, ...]:
    """Commands without an outcome, in the order in which they were given."""
    asked = (
        select(_command.c.document)
        .outerjoin(_outcome, _outcome.c.command_id == _command.c.command_id)
        .where(_outcome.c.id.is_(None))
        .order_by(_command.c.id)
    )
    return tuple((await connection.execute(asked)).scalars())


async def add_outcome(connection: AsyncConnection, outcome: CommandOutcome) -> bool:
    """Keep what became of a command; false where that is known."""
    row = {"command_id": outcome.command_id, "at": outcome.at, "done": outcome.done, "detail": outcome.detail}
    return await rows.add(connection, _outcome, row)


async def outcome(connection: AsyncConnection, command_id: str) -> CommandOutcome | None:
    """What became of a command."""
    asked = select(_outcome.c.command_id, _outcome.c.at, _outcome.c.done, _outcome.c.detail)
    found = (await connection.execute(asked.where(_outcome.c.command_id == command_id))).mappings().one_or_none()
    return None if found is None else CommandOutcome(**found)


async def standing(connection: AsyncConnection, connection_id: str, event_id: str) -> OperatorCommand | None:
    """The command that was done last for the event."""
    asked = (
        select(_command.c.document)
        .join(_outcome, _outcome.c.command_id == _command.c.command_id)
        .where(_command.c.connection_id == connection_id, _command.c.event_id == event_id, _outcome.c.done)
        .order_by(_outcome.c.id.desc())
        .limit(1)
    )
    found: OperatorCommand | None = (await connection.execute(asked)).scalar_one_or_none()
    return found


async def untold(connection: AsyncConnection, connection_id: str) -> tuple[OperatorCommand, ...]:
    """The connection's commands that were done and not told, in the order in which they were done."""
    asked = (
        select(_command.c.document)
        .join(_outcome, _outcome.c.command_id == _command.c.command_id)
        .outerjoin(_told, _told.c.command_id == _command.c.command_id)
        .where(_command.c.connection_id == connection_id, _outcome.c.done, _told.c.command_id.is_(None))
        .order_by(_outcome.c.id)
    )
    return tuple((await connection.execute(asked)).scalars())
