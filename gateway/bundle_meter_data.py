"""Imports and edits of meter data in a bundle: which of them it holds, and what they say.

A bundle from before there were any holds none, and reads as it always did.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from gateway.bundle_file import BundleError, parsed
from gateway.domain.baseline.method import Anchor
from gateway.domain.baseline.rule import DayMatching, MeterBeforeAfter, Rule
from gateway.domain.event import EventRecord, ramp_starts_at, took_part_until
from gateway.domain.evidence_log import EvidenceEntry
from gateway.domain.fleet import Site
from gateway.domain.measurement import IntervalEnergy, epoch_us
from gateway.domain.meter_import import LONGEST_INTERVAL_S, ImportedEnergy, MeterImport
from gateway.domain.vee.edit import Edit
from gateway.services.meter_data import MeterData, SettledFrom
from gateway.services.settling import interval_end
from hardware.device import Quality

IMPORTS, IMPORTED, EDITS = "reading_import", "imported_energy", "reading_edit"

BESIDE = timedelta(seconds=LONGEST_INTERVAL_S)
"""Intervals that begin so long before reach into a period, and as many after it may stand in place of these."""

Records = Sequence[tuple[EvidenceEntry, bytes]]
"""Records of one kind with their entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _EnergyRow:
    import_id: str
    starts_at: datetime
    duration_s: float
    energy_wh: float
    quality: Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class _EditRow:
    document: str


_IMPORT = TypeAdapter(MeterImport)
_ENERGY = TypeAdapter(_EnergyRow)
_EDIT_ROW = TypeAdapter(_EditRow)
_EDIT = TypeAdapter(Edit)


def wanted_meter_data(meter_id: str, start: datetime, end: datetime) -> Mapping[str, Callable[[EvidenceEntry], bool]]:
    """By kind, which entries count for what is read of ``[start, end)``.

    All imports: by an entry alone nobody sees which meter one is of. So it is with their intervals, of which those of
    the time do.
    """
    first_us, last_us = epoch_us(start - BESIDE), epoch_us(end + BESIDE)

    def in_time(text: str) -> bool:
        return text.isdigit() and first_us <= int(text) < last_us

    def edits(entry: EvidenceEntry) -> bool:
        starts_us, _, rest = entry.key.partition("/")
        return in_time(starts_us) and rest.startswith(f"{meter_id}/")

    return {
        IMPORTS: lambda _: True,
        IMPORTED: lambda entry: in_time(entry.key.rpartition("/")[2]),
        EDITS: edits,
    }


def read_imports(meter_id: str, imports: Records, energy: Records) -> tuple[ImportedEnergy, ...]:
    """A meter's imports in the order in which they were recorded, with the intervals held. Raises ``BundleError``."""
    sources = sorted(
        ((_number(entry), parsed(_IMPORT, content, IMPORTS)) for entry, content in imports), key=lambda one: one[0]
    )
    intervals: dict[str, list[IntervalEnergy]] = {}
    for _, content in energy:
        row = parsed(_ENERGY, content, IMPORTED)
        intervals.setdefault(row.import_id, []).append(
            IntervalEnergy(
                starts_at=row.starts_at,
                duration_s=row.duration_s,
                energy_wh=row.energy_wh,
                coverage_fraction=1.0,
                quality=row.quality,
            )
        )
    return tuple(
        ImportedEnergy(source=one, intervals=tuple(sorted(intervals[one.import_id], key=lambda held: held.starts_at)))
        for _, one in sources
        if one.meter_id == meter_id and one.import_id in intervals
    )


def read_edits(meter_id: str, edits: Records) -> tuple[Edit, ...]:
    """A meter's edits that are held. Raises ``BundleError``."""
    rows = (parsed(_EDIT_ROW, content, EDITS) for _, content in edits)
    found = (parsed(_EDIT, row.document.encode(), EDITS) for row in rows)
    return tuple(one for one in found if one.meter_id == meter_id)


def between(imports: Iterable[ImportedEnergy], start: datetime, end: datetime) -> tuple[ImportedEnergy, ...]:
    """As ``Ledger.imported_between``, of those."""
    found = (
        ImportedEnergy(
            source=one.source,
            intervals=tuple(held for held in one.intervals if held.starts_at < end and held.ends_at > start),
        )
        for one in imports
    )
    return tuple(one for one in found if one.intervals)


def edits_within(edits: Iterable[Edit], start: datetime, end: datetime) -> tuple[Edit, ...]:
    """As ``Ledger.edits_between``, of those."""
    return tuple(
        one for one in edits if one.starts_at < end and one.starts_at + timedelta(seconds=one.duration_s) > start
    )


def trusted_meter_data(imports: Iterable[ImportedEnergy], edits: Iterable[Edit], at: datetime) -> list[str]:
    """What nobody can check of the imports and edits that counted at that instant, in words."""
    trust = [
        f"Import: that {one.source.source!r}, which {one.source.by} handed over for meter {one.source.meter_id}, says "
        f"what the meter measured; compare SHA-256 {one.source.sha256} with that of the file you have."
        for one in imports
        if one.source.at <= at
    ]
    counted = [one for one in edits if one.at <= at]
    if counted:
        by = ", ".join(sorted({one.by for one in counted}))
        trust.append(f"Edits: {len(counted)} of the meter's intervals, by {by}; records/{EDITS}.txt has the reasons.")
    return trust


async def known_of(
    read: SettledFrom, site: Site, record: EventRecord, rule: Rule, as_of: datetime
) -> tuple[IntervalEnergy, ...]:
    """The imported and edited intervals that are cut to what is settled, by what was on record at that instant."""
    start, end = record.event.starts_at, took_part_until(record)
    if end is None:
        raise BundleError(f"event {record.event.event_id!r} is open ended and not over")
    if isinstance(rule.method, MeterBeforeAfter):
        # Its minutes are cut, too.
        noticed_at = record.first_received_at if looks_at_notice(rule) else start
        before = timedelta(seconds=rule.method.length_s + (rule.method.align_s or 0.0))
        start = min(start, noticed_at, ramp_starts_at(record.event)) - before
        end = interval_end(end, site.interval_s)
    return await MeterData(read, as_of=as_of).standing_between(site.meter_id, start, end)


def looks_at_notice(rule: Rule) -> bool:
    """Whether the rule looks back from the notice of the event, instead of from its start."""
    match rule.method:
        case MeterBeforeAfter(anchor=anchor) | DayMatching(count_from=anchor):
            return anchor is Anchor.NOTICE
        case _:
            return False


def _number(entry: EvidenceEntry) -> int:
    if not entry.key.isdigit() or len(entry.key) > 18:
        raise BundleError(f"entry {entry.number} is no import's: {entry.key!r}")
    return int(entry.key)
