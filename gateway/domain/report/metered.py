"""The section on data quality: what the meter saw, what was imported and edited, and what devices say."""

import math
from collections import Counter

from gateway.domain.assurance.assure import Assurance
from gateway.domain.report.assured import devices_table
from gateway.domain.report.document import Column, Kind, Table, number_text
from gateway.domain.report.material import Part, StatementMaterial
from hardware.device import Quality

EDITS_ON_PAGES = 30


def quality(material: StatementMaterial) -> Part:
    """How much of the event the meter saw, and how well."""
    verified = material.statement.verified
    if not verified.intervals:
        return Part(lead="No interval is settled, so that there is no quality to state.")
    count = len(verified.intervals)
    seconds = math.fsum(one.duration_s for one in verified.intervals)
    covered = 100 * math.fsum(one.duration_s * one.coverage_fraction for one in verified.intervals) / seconds
    tally = Counter(one.quality for one in verified.intervals)
    tables = [
        Table(
            name="quality",
            caption="Intervals by the worst quality of their readings",
            columns=(
                Column(title="Quality"),
                Column(title="Intervals", kind=Kind.NUMBER),
                Column(title="Share", kind=Kind.NUMBER, unit="%", decimals=1),
            ),
            rows=tuple((kind.value, tally[kind], 100 * tally[kind] / count) for kind in Quality),
        ),
        *_imports(material),
        *_edits(material),
    ]
    if isinstance(material.assurance, Assurance):
        tables.append(devices_table(material.assurance))
    if verified.sites:
        tables.append(_sites(material))
    intervals = "1 interval rests" if count == 1 else f"{count:,} intervals rest"
    return Part(
        lead=f"Readings cover {number_text(covered, 1)} % of the event's time; "
        f"{tally[Quality.GOOD]} of {intervals} on good readings only. {_what_counts(material)}",
        tables=tuple(tables),
        notes=("Readings are kept as they came; what was imported or edited is laid over them, and they stay.",),
    )


def _what_counts(material: StatementMaterial) -> str:
    imports, edits = len(material.imports), len(material.edits)
    if not imports and not edits:
        return "Nothing was imported or edited."
    return f"Of the event, {imports} imports and {edits} edits of meter data are on record."


def _imports(material: StatementMaterial) -> tuple[Table, ...]:
    columns = (
        Column(title="File"),
        Column(title="Meter of"),
        Column(title="By"),
        Column(title="At", kind=Kind.INSTANT),
        Column(title="Intervals", kind=Kind.NUMBER),
        Column(title="SHA-256"),
    )
    rows = tuple((one.source, one.kind.value, one.by, one.at, float(one.count), one.sha256) for one in material.imports)
    return (Table(name="imports", caption="Meter data that was imported", columns=columns, rows=rows),) if rows else ()


def _edits(material: StatementMaterial) -> tuple[Table, ...]:
    columns = (
        Column(title="Interval from", kind=Kind.INSTANT),
        Column(title="Length", kind=Kind.NUMBER, unit="min", decimals=1),
        Column(title="Energy", kind=Kind.NUMBER, unit="kWh", decimals=3),
        Column(title="Method"),
        Column(title="By"),
        Column(title="At", kind=Kind.INSTANT),
        Column(title="Reason"),
    )
    rows = tuple(
        (
            one.starts_at,
            one.duration_s / 60,
            None if one.energy_wh is None else one.energy_wh / 1000,
            one.method.value,
            one.by,
            one.at,
            one.reason,
        )
        for one in material.edits
    )
    caption = "Edits; the latest of an interval counts"
    made = Table(name="edits", caption=caption, columns=columns, rows=rows, most_on_pages=EDITS_ON_PAGES)
    return (made,) if rows else ()


def _sites(material: StatementMaterial) -> Table:
    columns = (
        Column(title="Site"),
        Column(title="Reduction", kind=Kind.NUMBER, unit="kWh", decimals=3),
        Column(title="Covered", kind=Kind.NUMBER, unit="%", decimals=1),
        Column(title="Reports", kind=Kind.NUMBER),
        Column(title="Why it is not whole"),
    )
    rows = tuple(
        (part.party, part.delivered_wh / 1000, 100 * part.coverage_fraction, float(len(part.report_ids)), part.reason)
        for part in material.statement.verified.sites
    )
    return Table(name="sites", caption="What each site below gives", columns=columns, rows=rows)
