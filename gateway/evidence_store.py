"""The port to the log of evidence: what the record holds is logged by its fingerprint, and heads over it are kept.

All may raise ``LedgerUnavailable``; each call is durable when it returns.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

from gateway.domain.evidence_log import EvidenceEntry, Mismatch
from gateway.domain.tree_head import SignedHead


class EvidenceStore(Protocol):
    """The log is of the whole record: every connection, meter, device and statement.

    Several processes may append at once: each entry has one number, what is logged already is not logged again, and
    heads of a log follow each other in one line.
    """

    async def log_new(self, at: datetime) -> int:
        """Log what the record holds and the log does not; returns how many entries that made.

        Readings are logged by the hour, some minutes after it has ended. Bounded: where much is missing it takes
        several calls, of which the last makes none.
        """

    async def log_late(self, first: datetime, last: datetime, at: datetime) -> int:
        """Log the hours of readings in ``[first, last)`` that are not logged or have grown since, complete or not.

        An hour that is logged before it is complete is logged once more by ``log_new`` when it is.
        """

    async def size(self) -> int:
        """How many entries there are."""

    async def entries(self, first: int, count: int) -> tuple[EvidenceEntry, ...]:
        """Entries from number ``first`` on, in their order."""

    async def find(self, kind: str, key: str) -> tuple[EvidenceEntry, ...]:
        """The entries of one record, in order."""

    async def find_statement(self, statement_id: str) -> tuple[EvidenceEntry, ...]:
        """The entries of a statement by its id, in order."""

    async def leaves(self, first: int = 0) -> tuple[bytes, ...]:
        """The leaves from number ``first`` on, as they were hashed when they were logged."""

    async def content(self, kind: str, key: str) -> bytes | None:
        """The content of a record as it is now, in canonical JSON; ``None`` where it is not there."""

    async def contents(self, kind: str, keys: Collection[str]) -> Mapping[str, bytes]:
        """The content of many records of a kind (any but readings) by key, those left out that are not there."""

    async def mismatches(self, limit: int = 100) -> Sequence[Mismatch]:
        """Hold every entry against the record and its own leaf; what differs, in order, up to the limit."""

    async def record_head(self, head: SignedHead) -> bool:
        """Keep a head that follows the last one of its log, and say whether it is kept; one that is known stays.

        False, and nothing changed, where it follows another head: somebody else has made one meanwhile.
        """

    async def record_stamp(self, head_sha256: str, response: bytes, at: datetime) -> None:
        """Keep an authority's stamp over a head that is kept; the first of a head stays."""

    async def stamp(self, head_sha256: str) -> bytes | None:
        """The stamp over a head, ``None`` where there is none."""

    async def unstamped(self) -> tuple[SignedHead, ...]:
        """Heads without a stamp, in the order in which they were made."""

    async def heads(self, since: date | None = None) -> tuple[SignedHead, ...]:
        """Heads in the order in which they were made; ``since`` leaves out those made before that day (UTC)."""
