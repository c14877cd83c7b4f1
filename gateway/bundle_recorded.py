"""What a bundle holds, read into terms of the domain: the log, the records by their entry, and whose statement it is.

A record is a line of ``records/KIND.txt``: the number of its entry, a space, and its content, over which the entry's
SHA-256 is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter

from gateway.bundle_file import BundleError, BundleFile, parsed
from gateway.bundle_meter_data import (
    EDITS,
    IMPORTED,
    IMPORTS,
    between,
    edits_within,
    looks_at_notice,
    read_edits,
    read_imports,
    wanted_meter_data,
)
from gateway.bundle_readings import read_canonical_hour
from gateway.bundle_terms import TERMS, Terms, read_terms
from gateway.domain.baseline.reach import look_back, reads_until
from gateway.domain.baseline.rule import MeterBeforeAfter, Regression, Rule, parse_rule
from gateway.domain.bundle_check import LogCopy, Recomputed, hours_of, hours_that_count, recompute_energy
from gateway.domain.event import EventRecord, ramp_starts_at, took_part_until
from gateway.domain.evidence import canonical_json
from gateway.domain.evidence_log import EvidenceEntry
from gateway.domain.fleet import Site
from gateway.domain.measurement import IntervalEnergy, epoch_us
from gateway.domain.merkle import leaf_hash
from gateway.domain.meter_import import ImportedEnergy
from gateway.domain.reading_columns import ReadingColumns, joined
from gateway.domain.settlement import PLAIN_TARIFF, SettlementStatement
from gateway.domain.tariff.sheet import parse_tariff, shipped_tariffs
from gateway.domain.tariff.terms import Tariff
from gateway.domain.tree_head import SignedHead
from gateway.domain.vee.edit import Edit
from gateway.services.settling import interval_end
from hardware.device import PowerReading, Quality
from protocols.grid import GridEvent, OptDecision

ENTRIES, HEADS = "log/entries.jsonl", "log/heads.jsonl"
STATEMENT, INPUTS, EVENTS, RULE = "statement.json", "inputs.json", "events.json", "rule.toml"
TARIFF = "tariff.toml"
README = "README.txt"

READING, ENERGY, STATEMENTS, REVISIONS, DECISIONS = "reading", "energy", "statement", "event_revision", "decision"
MESSAGES, TEMPERATURE = "raw_message", "temperature"

WHOLE_KINDS = (STATEMENTS, REVISIONS, DECISIONS)
"""Kinds of which a bundle holds every record: by an entry alone nobody sees which event it is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _EventRow:
    connection_id: str
    event_id: str
    revision: int
    received_at: datetime
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _EnergyRow:
    meter_id: str
    starts_at: datetime
    duration_s: float
    energy_wh: float
    coverage_fraction: float
    quality: Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class _TemperatureRow:
    starts_at: datetime
    recorded_at: datetime
    temperature_c: float


_ENTRY = TypeAdapter(EvidenceEntry)
_HEAD = TypeAdapter(SignedHead)
_STATEMENT = TypeAdapter(SettlementStatement)
_EVENTS = TypeAdapter(tuple[EventRecord, ...])
_EVENT = TypeAdapter(GridEvent)
_DECISION = TypeAdapter(OptDecision)
_EVENT_ROW = TypeAdapter(_EventRow)
_ENERGY_ROW = TypeAdapter(_EnergyRow)
_TEMPERATURE_ROW = TypeAdapter(_TemperatureRow)
_READINGS = TypeAdapter(list[tuple[datetime, float, float | None, Quality]])
_OBJECT = TypeAdapter(dict[str, Any])


class Recorded:
    """A bundle's content; every property raises ``BundleError`` where what it is read from cannot be read.

    Answers like a ledger what ``gather_inputs`` asks.
    """

    def __init__(self, bundle: BundleFile) -> None:
        self.bundle = bundle

    @cached_property
    def log(self) -> LogCopy:
        """The log up to the last head."""
        entries = _lines(self._file(ENTRIES))
        return LogCopy(
            entries=tuple(parsed(_ENTRY, line, ENTRIES) for line in entries),
            leaves=tuple(map(leaf_hash, entries)),
            heads=tuple(parsed(_HEAD, line, HEADS) for line in _lines(self._file(HEADS))),
        )

    @cached_property
    def records(self) -> Mapping[int, bytes]:
        """The records' content, by the number of their entry."""
        found: dict[int, bytes] = {}
        for name, body in self.bundle.files.items():
            if not name.startswith("records/"):
                continue
            for line in _lines(body):
                number, _, content = line.partition(b" ")
                if not number.isdigit() or len(number) > 15 or int(number) in found:
                    raise BundleError(f"{name} has a line that is no record, or one twice: {line[:40]!r}")
                found[int(number)] = content
        return found

    @cached_property
    def terms(self) -> Terms:
        """Site and program."""
        return read_terms(self._file(TERMS))

    @cached_property
    def site(self) -> Site:
        """The site, as far as settling needs it."""
        terms = self.terms.site
        try:
            zone = ZoneInfo(terms.timezone)
        except (ValueError, OSError, KeyError) as cause:
            raise BundleError(f"{TERMS} names a time zone that is not known here: {terms.timezone!r}") from cause
        if terms.interval_s <= 0:
            raise BundleError(f"{TERMS} has an interval of {terms.interval_s} s")
        return Site(site_id=terms.site_id, timezone=zone, meter_id=terms.meter_id, interval_s=terms.interval_s)

    @cached_property
    def rule(self) -> Rule:
        """The rule as its sheet in the bundle states it."""
        try:
            return parse_rule(self._file(RULE).decode())
        except (ValueError, RecursionError) as cause:
            raise BundleError(f"{RULE} is no rule sheet: {cause}") from cause

    @cached_property
    def tariff(self) -> Tariff:
        """The tariff as its sheet in the bundle states it; bundles of old have none, and a single price."""
        if TARIFF not in self.bundle.files and not self.statement.tariff:
            return shipped_tariffs()[PLAIN_TARIFF]
        try:
            return parse_tariff(self._file(TARIFF).decode())
        except (ValueError, RecursionError) as cause:
            raise BundleError(f"{TARIFF} is no tariff sheet: {cause}") from cause

    @cached_property
    def statements(self) -> tuple[SettlementStatement, ...]:
        """Every statement on record, of every event, in the order in which they were issued."""
        rows = (parsed(_OBJECT, content, STATEMENTS) for _, content in self.of_kind(STATEMENTS))
        return tuple(parsed(_STATEMENT, str(row.get("document")).encode(), STATEMENTS) for row in rows)

    @cached_property
    def statement(self) -> SettlementStatement:
        """The one that the bundle is of."""
        wanted = self.bundle.statement_id
        found = next((one for one in self.statements if one.statement_id == wanted), None)
        if found is None:
            raise BundleError(f"statement {wanted!r} is not among its records")
        return found

    @cached_property
    def event(self) -> EventRecord:
        """The statement's event."""
        verified = self.statement.verified
        for one in self.all_events:
            if (one.event.connection_id, one.event.event_id) == (verified.connection_id, verified.event_id):
                return one
        raise BundleError(f"event {verified.event_id!r} is not in {EVENTS}")

    @cached_property
    def all_events(self) -> tuple[EventRecord, ...]:
        """The event and those that the rule has to know of."""
        return parsed(_EVENTS, self._file(EVENTS), EVENTS)

    @cached_property
    def revisions(self) -> Mapping[tuple[str, str, int], tuple[datetime, GridEvent]]:
        """Every revision on record, by connection, event and number: when it was received, and what it says."""
        rows = [parsed(_EVENT_ROW, content, REVISIONS) for _, content in self.of_kind(REVISIONS)]
        return {
            (row.connection_id, row.event_id, row.revision): (
                row.received_at,
                parsed(_EVENT, row.document.encode(), REVISIONS),
            )
            for row in rows
        }

    @cached_property
    def decisions(self) -> Mapping[tuple[str, str, int], OptDecision]:
        """The decision that stands for each revision: the last one recorded."""
        rows = (parsed(_OBJECT, content, DECISIONS) for _, content in self.of_kind(DECISIONS))
        found = (parsed(_DECISION, str(row.get("document")).encode(), DECISIONS) for row in rows)
        return {(one.connection_id, one.event_id, one.revision): one for one in found}

    @cached_property
    def message_bodies(self) -> frozenset[str]:
        """The SHA-256 of the bodies that the message records in the bundle name."""
        rows = (parsed(_OBJECT, content, MESSAGES) for _, content in self.of_kind(MESSAGES))
        return frozenset(str(row.get("sha256")) for row in rows)

    @cached_property
    def readings(self) -> ReadingColumns:
        """The site meter's, in order of time."""
        meter_id = self.site.meter_id
        hours = [self._hour_of_readings(entry, content) for entry, content in self.of_kind(READING)]
        return joined(hours, meter_id)

    def _hour_of_readings(self, entry: EvidenceEntry, content: bytes) -> ReadingColumns:
        meter_id = self.site.meter_id
        canonical = read_canonical_hour(content, hour_of(entry)[0], meter_id)
        if canonical is not None:
            return canonical
        found = [
            PowerReading(meter_id=meter_id, measured_at=at, power_w=power_w, energy_j=energy_j, quality=quality)
            for at, power_w, energy_j, quality in parsed(_READINGS, content, READING)
        ]
        return ReadingColumns.of(found, meter_id)

    @cached_property
    def hours(self) -> frozenset[datetime]:
        """The hours that readings are there of."""
        return frozenset(hour_of(entry)[0] for entry, _ in self.of_kind(READING))

    @cached_property
    def closed(self) -> tuple[IntervalEnergy, ...]:
        """Closed intervals, in order of time."""
        rows = [parsed(_ENERGY_ROW, content, ENERGY) for _, content in self.of_kind(ENERGY)]
        found = [
            IntervalEnergy(
                starts_at=row.starts_at,
                duration_s=row.duration_s,
                energy_wh=row.energy_wh,
                coverage_fraction=row.coverage_fraction,
                quality=row.quality,
            )
            for row in rows
        ]
        return tuple(sorted(found, key=lambda one: (one.starts_at, one.duration_s)))

    @cached_property
    def imports(self) -> tuple[ImportedEnergy, ...]:
        """What was imported of the site meter, in the order in which it was."""
        return read_imports(self.site.meter_id, tuple(self.of_kind(IMPORTS)), tuple(self.of_kind(IMPORTED)))

    @cached_property
    def edits(self) -> tuple[Edit, ...]:
        """Edits of the site meter."""
        return read_edits(self.site.meter_id, tuple(self.of_kind(EDITS)))

    @cached_property
    def recomputed(self) -> Recomputed:
        """Closed intervals again from raw readings."""
        return recompute_energy(self.closed, self.readings, self.hours)

    def of_kind(self, kind: str) -> Iterator[tuple[EvidenceEntry, bytes]]:
        """The records of a kind with their entries, in the log's order."""
        entries = self.log.entries
        for number, content in sorted(self.records.items()):
            if number < len(entries) and entries[number].kind == kind:
                yield entries[number], content

    async def readings_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[PowerReading, ...]:
        """As ``Ledger.readings_between``."""
        return self.readings.between(start, end) if meter_id == self.site.meter_id else ()

    async def energy_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[IntervalEnergy, ...]:
        """As ``Ledger.energy_between``."""
        return tuple(one for one in self.closed if meter_id == self.site.meter_id and start <= one.starts_at < end)

    async def imported_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[ImportedEnergy, ...]:
        """As ``Ledger.imported_between``."""
        return between(self.imports, start, end) if meter_id == self.site.meter_id else ()

    async def edits_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[Edit, ...]:
        """As ``Ledger.edits_between``."""
        return edits_within(self.edits, start, end) if meter_id == self.site.meter_id else ()

    @cached_property
    def temperatures(self) -> tuple[_TemperatureRow, ...]:
        """Every temperature on record, in order of time and then of recording."""
        rows = [parsed(_TEMPERATURE_ROW, content, TEMPERATURE) for _, content in self.of_kind(TEMPERATURE)]
        return tuple(sorted(rows, key=lambda row: (row.starts_at, row.recorded_at)))

    async def temperatures_between(
        self, start: datetime, end: datetime, *, known_by: datetime | None = None
    ) -> tuple[tuple[datetime, float], ...]:
        """As ``Ledger.temperatures_between``."""
        found = {
            row.starts_at: row.temperature_c
            for row in self.temperatures
            if start <= row.starts_at < end and (known_by is None or row.recorded_at <= known_by)
        }
        return tuple(found.items())

    async def events(self, since: datetime | None = None) -> tuple[EventRecord, ...]:  # noqa: ARG002
        """As ``Ledger.events``, of those that the bundle holds."""
        return self.all_events

    def _file(self, name: str) -> bytes:
        if name not in self.bundle.files:
            raise BundleError(f"{name} is missing from the bundle")
        return self.bundle.files[name]


def wanted(
    log: LogCopy, *, site: Site, rule: Rule, record: EventRecord, known: Sequence[IntervalEnergy] = ()
) -> tuple[EvidenceEntry, ...]:
    """The entries whose records a bundle of the event's statement must hold, in the log's order.

    Of what may grow, the last entry. Messages are not among them: an entry does not say which message it is of.
    ``known`` are the imported and edited intervals of the event: those that it begins or ends within are shared out by
    readings.
    """
    start, end = ramp_starts_at(record.event), took_part_until(record)
    if end is None:
        raise BundleError(f"event {record.event.event_id!r} is open ended and not over")
    noticed_at = min(start, record.first_received_at) if looks_at_notice(rule) else start
    last = interval_end(reads_until(rule, record.event.starts_at, end, site.timezone), site.interval_s)
    hours = hours_that_count(rule, noticed_at if isinstance(rule.method, MeterBeforeAfter) else start, last)
    hours |= hours_of(known)
    closed_from = last if isinstance(rule.method, MeterBeforeAfter) else noticed_at - look_back(rule)
    first_us, last_us = epoch_us(closed_from), epoch_us(last)
    tests: dict[str, Callable[[EvidenceEntry], bool]] = {
        READING: lambda entry: hour_of(entry)[0] in hours and hour_of(entry)[1] == site.meter_id,
        ENERGY: lambda entry: _closes(entry, site.meter_id, first_us, last_us),
        **dict.fromkeys(WHOLE_KINDS, lambda _: True),
        **wanted_meter_data(site.meter_id, min(closed_from, *hours), last),
        # All of them: an entry does not say of which hour it is.
        TEMPERATURE: lambda _: isinstance(rule.method, Regression),
    }
    found = [entry for entry in log.latest().values() if entry.kind in tests and tests[entry.kind](entry)]
    return tuple(sorted(found, key=lambda entry: entry.number))


def hour_of(entry: EvidenceEntry) -> tuple[datetime, str]:
    """The hour and the meter of an entry of readings. Raises ``BundleError``."""
    hour, _, meter_id = entry.key.partition("/")
    try:
        at = datetime.fromisoformat(hour)
    except ValueError as cause:
        raise BundleError(f"entry {entry.number} names no hour: {entry.key!r}") from cause
    return at, meter_id


def _lines(body: bytes) -> list[bytes]:
    """Lines by line feeds alone: a carriage return is content."""
    found = body.split(b"\n")
    # What follows the last line feed is no line, unless there is something.
    return found if found[-1] else found[:-1]


def _closes(entry: EvidenceEntry, meter_id: str, first_us: int, last_us: int) -> bool:
    meter, _, rest = entry.key.rpartition("/")[0].rpartition("/")
    return meter == meter_id and rest.isdigit() and first_us <= int(rest) < last_us


def lines(values: Sequence[object]) -> bytes:
    """Each in canonical JSON on a line of its own."""
    return b"".join(canonical_json(value) + b"\n" for value in values)
