"""What a bundle of evidence shows, check by check: heads, log, and records against the log.

A bundle has the whole log up to its last head, entry by entry. So the root is computed and not proven, any head that a
reader has been given can be held against it, and nothing can be left out: what the log names and the bundle does not
hold is missed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from gateway.domain.baseline.rule import DayMatching, MeterBeforeAfter, Rule
from gateway.domain.evidence_log import EvidenceEntry
from gateway.domain.measurement import IntervalEnergy, Slice, epoch_us
from gateway.domain.merkle import MerkleLog
from gateway.domain.reading_columns import ReadingColumns, integrate_columns
from gateway.domain.tree_head import HeadError, SignedHead, check_chain, check_signature

HOUR = timedelta(hours=1)

GAP = timedelta(minutes=1)
"""So long a reading stands at the most: ``integrate`` wants the readings from so long before."""

_HOUR_US, _GAP_US = (span // timedelta(microseconds=1) for span in (HOUR, GAP))

MOST_FAULTS = 3
"""So many faults of one check are named; the rest are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was checked. ``holds`` says in plain words what is so where there are no ``faults``."""

    name: str
    holds: str
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCopy:
    """A log as somebody hands it over: every entry up to its last head, and the heads in their order.

    ``leaves`` are the entries' hashes, over the very bytes that they were read from.
    """

    entries: tuple[EvidenceEntry, ...]
    leaves: tuple[bytes, ...]
    heads: tuple[SignedHead, ...]

    def latest(self) -> dict[tuple[str, str], EvidenceEntry]:
        """The entry of each record that stands: the last one."""
        return {(entry.kind, entry.key): entry for entry in self.entries}


def check_heads(copy: LogCopy, key_id: str) -> Check:
    """Whether the key of that name has signed every head, and each names the one before it."""
    faults: list[str] = []
    for signed in copy.heads:
        try:
            check_signature(signed, key_id)
        except HeadError as cause:
            faults.append(str(cause))
    try:
        check_chain([signed.head for signed in copy.heads])
    except HeadError as cause:
        faults.append(str(cause))
    if not copy.heads:
        faults.append("there is no head: nothing vouches for the log")
    return Check(
        name="heads",
        holds=f"all {len(copy.heads)} heads are signed by key {key_id[:16]} and follow each other",
        faults=bounded(faults),
    )


def check_log(copy: LogCopy) -> Check:
    """Whether the log is what every head in the bundle says."""
    tree = MerkleLog(copy.leaves)
    faults = [
        f"entry {index} of the log says that it is number {entry.number}"
        for index, entry in enumerate(copy.entries)
        if entry.number != index
    ]
    faults += [fault for signed in copy.heads if (fault := _against(tree, signed, "the bundle's"))]
    if copy.heads and copy.heads[-1].head.size != len(tree):
        faults.append(f"the log has {len(tree)} entries, its last head {copy.heads[-1].head.size}")
    return Check(
        name="log",
        holds=f"the {len(tree)} entries of the log give the root of every head",
        faults=bounded(faults),
    )


def check_own_heads(copy: LogCopy, own_heads: Sequence[SignedHead], key_id: str) -> Check:
    """Whether the log is what every head says that the reader holds himself, and the trusted key has signed these."""
    tree = MerkleLog(copy.leaves)
    log_id = copy.heads[-1].head.log_id if copy.heads else ""
    faults: list[str] = []
    for signed in own_heads:
        try:
            check_signature(signed, key_id)
        except HeadError as cause:
            faults.append(f"your own: {cause}")
        if signed.head.log_id != log_id:
            faults.append(f"your head of {_at(signed)} is of log {signed.head.log_id}, the bundle of log {log_id}")
        elif fault := _against(tree, signed, "your"):
            faults.append(fault)
    return Check(
        name="your heads",
        holds=f"the log begins with what your {len(own_heads)} heads say: it was not rewritten since",
        faults=bounded(faults),
    )


def _against(tree: MerkleLog, signed: SignedHead, whose: str) -> str | None:
    head = signed.head
    if head.size > len(tree):
        return (
            f"{whose} head of {_at(signed)} is over {head.size} entries, the bundle has {len(tree)}: "
            "entries were taken away, or it is older than the head (ask for one that is made later)"
        )
    if tree.root(head.size).hex() != head.root_sha256:
        return f"{whose} head of {_at(signed)} over {head.size} entries does not fit: the log was rewritten"
    return None


def check_records(copy: LogCopy, records: Mapping[int, bytes], wanted: Collection[int]) -> Check:
    """Whether each record is what its entry says, and none that is ``wanted`` (entries by number) was left out."""
    faults: list[str] = []
    for number in sorted(records.keys() | set(wanted)):
        if not 0 <= number < len(copy.entries):
            faults.append(f"a record is said to be entry {number}, which the log does not have")
            continue
        entry = copy.entries[number]
        content = records.get(number)
        if content is None:
            faults.append(f"{named(entry)} is in the log and was left out of the bundle")
        elif sha256(content).hexdigest() != entry.sha256:
            faults.append(f"{named(entry)} is not what was logged at {entry.at:%Y-%m-%d %H:%M:%SZ}")
    return Check(
        name="records",
        holds=f"{len(records)} records are what the log says they were, and none that counts is missing",
        faults=bounded(faults),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """Closed intervals, and beside each what raw readings give; ``bare`` counts those that there are no readings of."""

    pairs: tuple[tuple[IntervalEnergy, IntervalEnergy], ...]
    bare: int


def recompute_energy(
    closed: Sequence[IntervalEnergy], readings: ReadingColumns, hours: Collection[datetime]
) -> Recomputed:
    """Closed intervals again, in their order, where the hours of raw readings are there that they lie in."""
    there_us = {epoch_us(hour) for hour in hours}
    within = [
        one
        for one in closed
        for at_us in [epoch_us(one.starts_at)]
        if at_us - at_us % _HOUR_US in there_us and (before_us := at_us - _GAP_US) - before_us % _HOUR_US in there_us
    ]
    pieces = [Slice(starts_at=one.starts_at, duration_s=one.duration_s) for one in within]
    pairs = zip(within, integrate_columns(readings, pieces), strict=True)
    # No reading at all is no tampering where the hour itself is as logged: such an interval came from elsewhere, as
    # imported history does.
    measured = tuple(pair for pair in pairs if pair[1].coverage_fraction > 0.0)
    return Recomputed(pairs=measured, bare=len(closed) - len(measured))


def check_energy(found: Recomputed) -> Check:
    """Whether the closed intervals that there are raw readings of follow from these."""
    faults = [
        f"the interval at {stated.starts_at:%Y-%m-%d %H:%M:%SZ} is stated as {stated.energy_wh!r} Wh and comes "
        f"to {computed.energy_wh!r} Wh (coverage {stated.coverage_fraction!r}, {computed.coverage_fraction!r})"
        for stated, computed in found.pairs
        if stated != computed
    ]
    return Check(
        name="energy",
        holds=f"{len(found.pairs)} of {len(found.pairs) + found.bare} closed intervals follow from raw readings",
        faults=bounded(faults),
    )


def hours_that_count(rule: Rule, start: datetime, last: datetime) -> frozenset[datetime]:
    """The hours (UTC) whose raw readings a statement rests on: of the event, and of the same time on earlier days.

    ``start`` is when power began to move, or the notice where a flat rule looks at that; ``last`` is the
    end of the last interval that is read. An hour more on either side leaves room for a change of the clock in between.
    Of rules that look at whole weeks the readings of the event's own day count, the rest is taken as it was closed.
    """
    if isinstance(rule.method, MeterBeforeAfter):
        return _hours(start - timedelta(seconds=rule.method.length_s + (rule.method.align_s or 0.0)) - 2 * GAP, last)
    if not isinstance(rule.method, DayMatching):
        return _hours(start - timedelta(days=1), last)
    before = timedelta(hours=min(0.0, rule.method.adjustment.from_h))
    found = _hours(start + before - GAP, last)
    for days in range(1, rule.method.look_back_days + 2):
        back = timedelta(days=days)
        found |= _hours(start + before - GAP - HOUR - back, last + HOUR - back)
    return found


def hours_of(intervals: Sequence[IntervalEnergy]) -> frozenset[datetime]:
    """The hours (UTC) whose raw readings intervals are shared out by."""
    return frozenset(hour for one in intervals for hour in _hours(one.starts_at - GAP, one.ends_at))


def _hours(start: datetime, end: datetime) -> frozenset[datetime]:
    first = _floor(start)
    count = -(-(end - first) // HOUR)
    return frozenset(first + index * HOUR for index in range(count))


def named(entry: EvidenceEntry) -> str:
    """A record as a reader is told of it."""
    if entry.kind == "reading":
        hour, _, meter_id = entry.key.partition("/")
        return f"the hour of readings from {hour} of meter {meter_id} (entry {entry.number})"
    return f"{entry.kind.replace('_', ' ')} {entry.key} (entry {entry.number})"


def bounded(faults: Sequence[str]) -> tuple[str, ...]:
    """The first few faults, and how many more there are."""
    shown = tuple(faults[:MOST_FAULTS])
    return shown if len(faults) <= MOST_FAULTS else (*shown, f"and {len(faults) - MOST_FAULTS} more")


def _at(signed: SignedHead) -> str:
    return f"{signed.head.made_at:%Y-%m-%d %H:%M:%SZ}"


def _floor(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
