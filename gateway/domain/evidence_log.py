"""Entries of the log of evidence: what was recorded, by its fingerprint, in the order in which it was logged.

An entry holds no content. Whoever has the content can show by the log that it is what was recorded then, and whoever
has the log alone can show that nothing was added, taken away or changed since a head was signed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from gateway.domain.evidence import canonical_json
from gateway.domain.merkle import leaf_hash

COMPLETE_AFTER = timedelta(hours=1, minutes=10)
"""After its start an hour of readings is complete: by then what was held in memory is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceEntry:
    """One entry; ``number`` is its place in the log, from 0.

    ``kind`` and ``key`` say which record it is of: a record that may grow (an hour of readings) has an entry anew each
    time that it did, and the last one stands. ``at`` is when it was logged, ``sha256`` is over its content.
    """

    number: int
    kind: str
    key: str
    at: datetime
    sha256: str

    @property
    def leaf(self) -> bytes:
        """Its hash in the tree."""
        return leaf_hash(canonical_json(self))

    @property
    def running(self) -> bool:
        """Of an hour of readings: whether it was logged before it was complete, for a head on demand.

        What has come since follows in another entry. Raises ``ValueError`` for an entry of anything else.
        """
        return self.at < datetime.fromisoformat(self.key.partition("/")[0]) + COMPLETE_AFTER


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A record that is not what the log says, in plain words."""

    number: int
    kind: str
    key: str
    what: str


def as_logged(content: bytes, digest: str) -> bytes | None:
    """The readings of an hour as they were when it was logged under ``digest``; ``None`` where it never was like that.

    ``content`` is how they are spelled today, a list of lists in order of time. An hour that is logged before it is
    over grows at its end from then on, and only there.
    """
    known = sha256()
    begin = 0
    while (end := content.find(b"]", begin)) >= 0:
        known.update(content[begin : end + 1])
        whole = known.copy()
        whole.update(b"]")
        if whole.hexdigest() == digest:
            return content[: end + 1] + b"]"
        begin = end + 1
    return content if sha256(content).hexdigest() == digest else None
