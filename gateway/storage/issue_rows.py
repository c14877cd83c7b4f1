"""What the utility's people asked of our own events and what became of it, in rows."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.issuing import IssueCommand
from gateway.domain.operator import CommandOutcome
from gateway.storage import rows, tables

_command = tables.issue_command
_outcome = tables.issue_outcome


async def add(connection: AsyncConnection, command: IssueCommand) -> bool:
    """Keep the command; false where its id is known."""
    return await rows.add(connection, _command, {"command_id": command.command_id, "document": command})


async def open_ones(connection: AsyncConnection) -> tuple[IssueCommand, ...]:
    """Commands without an outcome, in the order in which they were given."""
    asked = (
        select(_command.c.document)
        .outerjoin(_outcome, _outcome.c.command_id == _command.c.command_id)
        .where(_outcome.c.command_id.is_(None))
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
