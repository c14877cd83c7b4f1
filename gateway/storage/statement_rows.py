"""Statements, what they were computed from and what was said to them, in rows."""

import asyncio
import json
import zlib
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter
from sqlalchemy import select

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.evidence import canonical_json, fingerprint
from gateway.domain.reconciliation import ReceivedStatement
from gateway.domain.settlement import SettlementStatement
from gateway.domain.site_verification import SiteVerificationInputs
from gateway.domain.statement_review import StatementReview
from gateway.domain.verification import VerificationInputs
from gateway.ledger import LedgerError, Topic
from gateway.storage import rows, tables
from gateway.storage.database import Database


class StatementVerbs:
    """The ledger's verbs about statements."""

    database: Database
    _wake: Callable[[Topic], None]

    async def record_statement(
        self, statement: SettlementStatement, inputs: VerificationInputs | SiteVerificationInputs | None = None
    ) -> bool:
        # Weeks of history take a tenth of a second to spell and to pack: not in the loop.
        kept = None if inputs is None else await asyncio.to_thread(_packed, inputs)
        row = {"statement_id": statement.statement_id, "document": statement}
        async with self.database.write() as connection:
            new = await rows.add(connection, tables.statement, row)
            if new and kept is not None:
                sha256 = statement.verified.inputs_sha256
                await rows.add(connection, tables.statement_inputs, {"sha256": sha256, "body": kept})
        if new:
            self._wake(Topic.STATEMENTS)
        return new

    async def statements(self) -> tuple[SettlementStatement, ...]:
        table = tables.statement
        async with self.database.read() as connection:
            return tuple((await connection.execute(select(table.c.document).order_by(table.c.id))).scalars())

    async def statements_of(self, connection_id: str, event_id: str) -> tuple[SettlementStatement, ...]:
        table = tables.statement
        # Ids hold both names; the documents that match decide, since a name may hold another.
        likely = table.c.statement_id.contains(f"-{connection_id}-{event_id}-r", autoescape=True)
        asked = select(table.c.document).where(likely).order_by(table.c.id)
        async with self.database.read() as connection:
            found = (await connection.execute(asked)).scalars().all()
        return tuple(
            one for one in found if (one.verified.connection_id, one.verified.event_id) == (connection_id, event_id)
        )

    async def statement(self, statement_id: str) -> SettlementStatement | None:
        table = tables.statement
        asked = select(table.c.document).where(table.c.statement_id == statement_id)
        async with self.database.read() as connection:
            found: SettlementStatement | None = (await connection.execute(asked)).scalar_one_or_none()
        return found

    async def statement_inputs(self, sha256: str) -> VerificationInputs | SiteVerificationInputs | None:
        table = tables.statement_inputs
        async with self.database.read() as connection:
            body = (await connection.execute(select(table.c.body).where(table.c.sha256 == sha256))).scalar_one_or_none()
        return None if body is None else await asyncio.to_thread(_unpacked, body, sha256)

    async def record_review(self, review: StatementReview) -> None:
        async with self.database.write() as connection:
            row = {"review_id": review.review_id, "document": review}
            new = await rows.add(connection, tables.statement_review, row)
        if new:
            self._wake(Topic.STATEMENTS)

    async def reviews(self) -> tuple[StatementReview, ...]:
        table = tables.statement_review
        async with self.database.read() as connection:
            return tuple((await connection.execute(select(table.c.document).order_by(table.c.id))).scalars())

    async def record_counterparty(self, received: ReceivedStatement) -> bool:
        # The same file again is the same statement, whoever hands it in and whenever.
        digest = fingerprint({"statement_id": received.statement_id, "statement": received.statement})
        async with self.database.write() as connection:
            row = {"digest": digest, "document": received}
            return await rows.add(connection, tables.counterparty_statement, row)

    async def counterparty_statements(self, statement_id: str) -> tuple[ReceivedStatement, ...]:
        table = tables.counterparty_statement
        async with self.database.read() as connection:
            found = (await connection.execute(select(table.c.document).order_by(table.c.id))).scalars()
            return tuple(one for one in found if one.statement_id == statement_id)


def _packed(inputs: VerificationInputs | SiteVerificationInputs) -> bytes:
    return zlib.compress(canonical_json(inputs))


def _unpacked(body: bytes, sha256: str) -> VerificationInputs | SiteVerificationInputs:
    """The inputs as they were: their fingerprint says so."""
    content: dict[str, Any] = json.loads(zlib.decompress(body))
    found: VerificationInputs | SiteVerificationInputs
    if "rule" not in content:
        found = TypeAdapter(SiteVerificationInputs).validate_python(content)
    else:
        named = content["rule"]["rule_id"]
        rule = shipped_rules().get(named)
        if rule is None:
            raise LedgerError(f"the rule {named!r} of these inputs is no longer among the sheets")
        hints = get_type_hints(VerificationInputs)
        values = {
            field.name: TypeAdapter(hints[field.name]).validate_json(json.dumps(content[field.name]))
            for field in fields(VerificationInputs)
            if field.name in content and field.name not in {"rule", "timezone"}
        }
        found = VerificationInputs(rule=rule, timezone=ZoneInfo(content["timezone"]), **values)
    if fingerprint(found) != sha256:
        raise LedgerError(f"inputs {sha256[:12]} no longer read as they did: the sheet of their rule was changed since")
    return found
