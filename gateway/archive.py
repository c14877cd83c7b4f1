"""The archive port: closed days as files that are never rewritten, and questions over all of them.

A day is written some days after it has ended. Where late data comes in after that, the day is written once more as its
next version beside the first: a question takes the last version of each day, an auditor has them all.

* ArchiveError
  + ArchiveUnavailable       cannot be read or written just now: try again, nothing lost
  + ArchiveBroken            a file is not what its manifest says: names the file and what is wrong
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from gateway.domain.closed_day import ClosedDay, DayManifest, EventTotal


class ArchiveError(Exception):
    """Root of the tree."""


class ArchiveUnavailable(ArchiveError):
    """The archive's folder cannot be used just now."""


class ArchiveBroken(ArchiveError):
    """A file is missing, or is not what its manifest says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenFile:
    """One file that is not as it was written; ``path`` is relative to the archive's folder."""

    path: str
    what: str


class DayArchive(Protocol):
    """Closed days. One writer; every call blocks for as long as a disk does, so that services call it in a thread."""

    def manifests(self) -> tuple[DayManifest, ...]:
        """The last version of each day, by day. Raises ``ArchiveUnavailable`` and ``ArchiveBroken``."""

    def write(self, day: ClosedDay, at: datetime) -> DayManifest:
        """Keep a day, durable when it returns.

        One whose content is the same as its last version is that version; else it becomes the next. Raises
        ``ArchiveUnavailable``.
        """

    def check(self) -> Sequence[BrokenFile]:
        """Every file against its manifest, and every manifest against the next; empty where all is as written."""

    def totals(self, first: date, last: date) -> tuple[EventTotal, ...]:
        """What was delivered in each event, summed over the archived intervals of these days, both included.

        By event, in order of connection and event. Raises ``ArchiveBroken`` for files that cannot be read.
        """
