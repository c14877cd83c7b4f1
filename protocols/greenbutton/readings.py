"""The readings of a meter's interval blocks: in order of time, each once, in UTC."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from protocols.errors import MalformedMessage
from protocols.greenbutton import codes
from protocols.greenbutton.codes import EPOCH, LONGEST_S
from protocols.greenbutton.feed import Entry, whole_number
from protocols.greenbutton.model import Quality
from protocols.greenbutton.names import ESPI, readable
from protocols.greenbutton.reading_types import Kind, Understood
from protocols.xml import Element, line_of

_TIME_PERIOD, _VALUE, _QUALITY = ESPI + "timePeriod", ESPI + "value", ESPI + "ReadingQuality"
_START, _DURATION, _CODE = ESPI + "start", ESPI + "duration", ESPI + "quality"
_OWN_UNIT = frozenset({ESPI + "powerOfTenMultiplier", ESPI + "uom"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading. ``value`` is in watt-hours or watts; ``entry`` is where it stands."""

    starts_at: datetime
    duration_s: int
    value: float
    quality: Quality
    entry: Entry

    @property
    def ends_at(self) -> datetime:
        """The first instant after it."""
        return self.starts_at + timedelta(seconds=self.duration_s)


@dataclass(frozen=True, slots=True)
class Gatherer:
    """Collects the readings of one meter. ``remarks`` counts what was passed over, by what it was."""

    understood: Understood
    local_time: tzinfo | None
    remarks: Counter[str] = field(default_factory=Counter)
    _seen: Counter[int] = field(default_factory=Counter)

    def gather(self, blocks: Sequence[Entry]) -> list[Reading]:
        """Raises ``MalformedMessage`` for what is no number, contradicts itself or overlaps."""
        found: list[Reading] = []
        for entry in blocks:
            for block in entry.resources:
                before = len(found)
                self._read_block(block, entry, found)
                if len(found) == before:
                    self.remarks["blocks without readings"] += 1
        found.sort(key=lambda reading: reading.starts_at)
        return self._each_once(found)

    def _read_block(self, block: Element, entry: Entry, found: list[Reading]) -> None:
        interval = block.find(ESPI + "interval")
        at_s, _ = _period(interval, entry)
        usual_s = self.understood.type.interval_s
        for element in block.iterchildren(ESPI + "IntervalReading"):
            value, period, quality = self._parts(element, entry)
            start_s, duration_s = _period(period, entry)
            # A reading without a period follows the one before it, as one without a duration has the usual one.
            start_s = at_s if start_s is None else start_s
            duration_s = usual_s if duration_s is None else duration_s
            if start_s is None or (duration_s is None and self.understood.kind is not Kind.REGISTER):
                raise MalformedMessage(
                    f"a reading in {entry} has no start or no duration, nor has its block or its reading type: ask the"
                    " sender for a feed with a timePeriod in every reading",
                    line=line_of(element),
                )
            duration_s = duration_s or 0
            at_s = start_s + duration_s
            if value is None:
                self.remarks["readings without a value"] += 1
                continue
            if not duration_s and self.understood.kind is Kind.ENERGY:
                if not value:
                    self.remarks["readings of 0 Wh over 0 s"] += 1
                    continue
                if usual_s is None:
                    raise MalformedMessage(
                        f"a reading in {entry} has energy over 0 s, and its reading type has no intervalLength: ask the"
                        " sender over which time it was",
                        line=line_of(element),
                    )
                self.remarks[f"readings over 0 s, taken as {usual_s} s"] += 1
                duration_s = usual_s
            starts_at, ends_at = self._instants(start_s, duration_s, entry, element)
            if self.understood.kind is Kind.REGISTER:
                # Over an interval, it is what the register showed at its end.
                starts_at, duration_s = ends_at, 0
            found.append(Reading(starts_at=starts_at, duration_s=duration_s, value=value, quality=quality, entry=entry))

    def _parts(self, element: Element, entry: Entry) -> tuple[float | None, Element | None, Quality]:
        value: float | None = None
        period: Element | None = None
        qualities: list[Quality] = []
        for child in element:
            tag = child.tag
            if tag == _TIME_PERIOD:
                period = child
            elif tag == _VALUE:
                value = self._scaled(whole_number(child, entry))
            elif tag == _QUALITY:
                qualities += [self._quality(whole_number(code, entry)) for code in child.iterchildren(_CODE)]
            elif tag in _OWN_UNIT:
                raise MalformedMessage(
                    f"a reading in {entry} has a {readable(tag)} of its own, which ESPI does not know, so that its"
                    " value can be meant in two ways. Ask the sender which one holds",
                    line=line_of(child),
                )
        if not qualities:
            return value, period, self.understood.default_quality
        return value, period, max(qualities, key=codes.WORST_LAST.index)

    def _scaled(self, value: int) -> float:
        power = self.understood.type.power_of_ten
        # Division of whole numbers rounds once.
        return float(value * 10**power) if power >= 0 else value / 10**-power

    def _quality(self, code: int) -> Quality:
        if code not in codes.QUALITIES:
            self.remarks["readings of a quality that is not known, taken as suspect"] += 1
        return codes.QUALITIES.get(code, Quality.SUSPECT)

    def _instants(self, start_s: int, duration_s: int, entry: Entry, element: Element) -> tuple[datetime, datetime]:
        try:
            starts_at = EPOCH + timedelta(seconds=start_s)
            if self.local_time is not None:
                starts_at = self._from_local(starts_at, self.local_time, start_s)
            return starts_at, starts_at + timedelta(seconds=duration_s)
        except OverflowError as cause:
            raise MalformedMessage(
                f"a reading in {entry} is of second {start_s}, which is no date", line=line_of(element)
            ) from cause
        except ValueError as cause:
            raise MalformedMessage(f"a reading in {entry} {cause}", line=line_of(element)) from cause

    def _from_local(self, utc: datetime, zone: tzinfo, start_s: int) -> datetime:
        """What a clock on the wall said, as an instant. In the hour that comes twice the first reading is earlier."""
        local = utc.replace(tzinfo=zone)
        again = local.replace(fold=1)
        earlier, later = local.utcoffset(), again.utcoffset()
        assert earlier is not None  # noqa: S101 - a zone has an offset
        assert later is not None  # noqa: S101 - as above
        if earlier < later:
            raise ValueError(
                f"is of {utc:%Y-%m-%d %H:%M}, an hour that {zone} leaves out: the feed is not in that local time"
            )
        if earlier > later:
            self._seen[start_s] += 1
            local = local if self._seen[start_s] == 1 else again
        return local.astimezone(UTC)

    def _each_once(self, readings: Sequence[Reading]) -> list[Reading]:
        kept: list[Reading] = []
        for reading in readings:
            before = kept[-1] if kept else None
            if before is not None and before.starts_at == reading.starts_at:
                if _same(before, reading):
                    self.remarks["readings given more than once"] += 1
                    continue
                raise MalformedMessage(
                    f"{before.entry} and {reading.entry} have different readings of"
                    f" {reading.starts_at:%Y-%m-%dT%H:%MZ}. Where this is the hour that comes twice when daylight"
                    " saving ends, the feed has local time for UTC: read it with that zone; else ask the sender",
                    line=reading.entry.line,
                )
            if before is not None and before.ends_at > reading.starts_at:
                raise MalformedMessage(
                    f"in {before.entry} the reading of {before.starts_at:%Y-%m-%dT%H:%MZ} runs over {before.duration_s}"
                    f" s into the next one at {reading.starts_at:%Y-%m-%dT%H:%MZ}: ask the sender for a corrected feed",
                    line=before.entry.line,
                )
            kept.append(reading)
        return kept


def _same(one: Reading, other: Reading) -> bool:
    return (one.duration_s, one.value, one.quality) == (other.duration_s, other.value, other.quality)


def _period(element: Element | None, entry: Entry) -> tuple[int | None, int | None]:
    """Start (seconds since 1970 UTC) and duration (s) of an interval or time period, as far as they are there."""
    start_s = duration_s = None
    for child in () if element is None else element:
        if child.tag == _START:
            start_s = whole_number(child, entry)
        elif child.tag == _DURATION:
            duration_s = whole_number(child, entry)
            if not 0 <= duration_s <= LONGEST_S:
                raise MalformedMessage(
                    f"{entry} has a duration of {duration_s} s, expected from 0 to {LONGEST_S}", line=line_of(child)
                )
    return start_s, duration_s
