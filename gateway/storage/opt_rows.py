"""Schedules of ours: what was asked of them, what became of that, and what the grid was told, in rows."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.operator import CommandOutcome
from gateway.domain.opting import OptCommand, OptRecord, OptTold
from gateway.storage import rows, tables
from gateway.storage.database import Database

_command = tables.opt_command
_outcome = tables.opt_outcome
_told = tables.opt_told


class OptVerbs:
    """The ledger's verbs about schedules of ours."""

    database: Database

    async def record_opt(self, command: OptCommand) -> None:
        async with self.database.write() as connection:
            await rows.add(connection, _command, {"command_id": command.command_id, "document": command})

    async def record_opt_acted(self, outcome: CommandOutcome) -> bool:
        row = {"command_id": outcome.command_id, "at": outcome.at, "done": outcome.done, "detail": outcome.detail}
        async with self.database.write() as connection:
            return await rows.add(connection, _outcome, row)

    async def record_opt_told(self, told: OptTold) -> bool:
        row = {"command_id": told.command_id, "at": told.at, "taken": told.taken, "detail": told.detail}
        async with self.database.write() as connection:
            return await rows.add(connection, _told, row)

    async def opts(self) -> tuple[OptRecord, ...]:
        async with self.database.read() as connection:
            return await _records(connection)


async def _records(connection: AsyncConnection) -> tuple[OptRecord, ...]:
    commands = (await connection.execute(select(_command.c.document).order_by(_command.c.id))).scalars().all()
    outcomes = {
        row["command_id"]: CommandOutcome(**row) for row in (await connection.execute(select(_outcome))).mappings()
    }
    told = {row["command_id"]: OptTold(**row) for row in (await connection.execute(select(_told))).mappings()}
    return tuple(
        OptRecord(command=command, outcome=outcomes.get(command.command_id), told=told.get(command.command_id))
        for command in commands
    )
