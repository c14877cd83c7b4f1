"""Stamps of signed messages that were taken, so that a replay is found out after a restart, too."""

from datetime import datetime

from sqlalchemy import delete, func, select

from gateway.storage import party_tables, rows
from gateway.storage.sql_ledger import SqlLedger
from protocols.errors import NotAuthentic
from protocols.replay import MOST_PER_SIGNER, NonceStore, Stamp


class SqlNonceStore(NonceStore):
    """``NonceStore`` beside a ledger. Raises ``LedgerUnavailable`` where the database cannot be used just now.

    Stamps hold for every connection alike: who sends one message to two of ours signs it twice.
    """

    def __init__(self, ledger: SqlLedger, most_per_signer: int = MOST_PER_SIGNER) -> None:
        self._database = ledger.database
        self._most_per_signer = most_per_signer

    async def remember(self, stamp: Stamp, *, now: datetime, until: datetime) -> bool:
        table = party_tables.nonce
        row = {"signer": stamp.signer, "signed_at": stamp.signed_at, "nonce": stamp.nonce, "until": until}
        kept = select(func.count()).select_from(table).where(table.c.signer == stamp.signer)
        async with self._database.write() as connection:
            await connection.execute(delete(table).where(table.c.until < now))
            # By signer, so that one who sends too much shuts out nobody else.
            if (await connection.execute(kept)).scalar_one() >= self._most_per_signer:
                raise NotAuthentic(
                    f"{self._most_per_signer} signed messages of {stamp.signer} within the replay window, more than "
                    "are remembered: have the sender send less",
                    signer=stamp.signer,
                )
            return await rows.add(connection, table, row)
