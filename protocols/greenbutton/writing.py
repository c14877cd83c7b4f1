"""What is said of a usage point, as a Green Button feed: the same bytes for the same data.

Elements are in the order of the ESPI schema. A meter's readings are in blocks of a day, of local standard time where
local time is known, else of UTC. Atom ids are made of the links (UUID version 5), so that a resource keeps its id from
one feed to the next; what was "updated" is as of the end of the last reading, for there is no clock here.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby, pairwise
from math import isfinite
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from protocols.greenbutton import codes, model
from protocols.greenbutton.codes import DAY_S, EPOCH, LONGEST_S
from protocols.greenbutton.names import ATOM, ESPI, PATH
from protocols.iso8601 import write_date_time

Series = model.EnergySeries | model.PowerSeries | model.RegisterSeries

_MOST = (1 << 47) - 1
"""Int48, of a value."""
_SECOND = timedelta(seconds=1)
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP = re.compile("[&<>\r]")
_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading in numbers of the wire."""

    start_s: int
    duration_s: int
    value: int
    quality: model.Quality

    @property
    def end_s(self) -> int:
        return self.start_s + self.duration_s


def feed_of(data: model.UsageData) -> Iterator[str]:
    """The feed in pieces. Raises ``ValueError`` for what cannot be written, saying what it is."""
    all_series: list[Series] = [*data.energy, *data.power, *data.registers]
    if not all_series:
        raise ValueError("no meter readings: a feed has at least one")
    names = [series.meter_id for series in all_series]
    if not data.usage_point_id or not all(names) or len(set(names)) < len(names):
        raise ValueError("the usage point and each of its meter readings need an identity of their own")
    readings = [_readings(series) for series in all_series]
    updated_s = max((each[-1].end_s for each in readings if each), default=0)
    point_name = quote(data.usage_point_id, safe="")
    point = f"{PATH}/UsagePoint/{point_name}"
    related = [f"{point}/MeterReading"]
    if data.local_time is not None:
        related.append(f"{PATH}/LocalTimeParameters/{point_name}")
    yield "<?xml version='1.0' encoding='utf-8'?>\n"
    yield f'<feed xmlns="{ATOM[1:-1]}">\n<id>{_atom_id(point + "#feed")}</id>\n'
    yield f'<link rel="self" href="{point}"/>\n<title>{_text(data.title)}</title>\n'
    yield f"<updated>{_instant(updated_s)}</updated>\n"
    inside = f"<ServiceCategory><kind>{codes.ELECTRIC_SERVICE}</kind></ServiceCategory>"
    yield from _entry("UsagePoint", point, [inside], updated_s=updated_s, title=data.title, related=related)
    if data.local_time is not None:
        yield from _entry("LocalTimeParameters", related[-1], [_local_time(data.local_time)], updated_s=updated_s)
    offset_s = data.local_time.tz_offset_s if data.local_time is not None else 0
    for series, each in zip(all_series, readings, strict=True):
        yield from _meter(series, each, point, offset_s, updated_s)
    yield "</feed>\n"


def _meter(series: Series, readings: Sequence[_Reading], point: str, offset_s: int, updated_s: int) -> Iterator[str]:
    name = quote(series.meter_id, safe="")
    path = f"{point}/MeterReading/{name}"
    # Types and local times are not below a usage point, so that its name has to be in theirs.
    type_path = f"{PATH}/ReadingType/{point.rpartition('/')[2]}%2F{name}"
    yield from _entry(
        "MeterReading", path, [], updated_s=updated_s, title=series.title, related=[f"{path}/IntervalBlock", type_path]
    )
    yield from _entry("ReadingType", type_path, [_type(series)], updated_s=updated_s)
    for _, group in groupby(readings, key=lambda reading: (reading.start_s + offset_s) // DAY_S):
        day = list(group)
        first_s, last_s = day[0].start_s, day[-1].end_s
        block = [
            f"<interval><duration>{min(last_s - first_s, LONGEST_S)}</duration><start>{first_s}</start></interval>\n"
        ]
        block += map(_written, day)
        # Named by its start: of the same readings it is the same block in every feed.
        yield from _entry("IntervalBlock", f"{path}/IntervalBlock/{first_s}", block, updated_s=last_s)


def _entry(
    kind: str, path: str, inside: Sequence[str], *, updated_s: int, title: str = "", related: Sequence[str] = ()
) -> Iterator[str]:
    yield f"<entry>\n<id>{_atom_id(path)}</id>\n"
    yield f'<link rel="self" href="{path}"/>\n<link rel="up" href="{path.rpartition("/")[0]}"/>\n'
    for link in related:
        yield f'<link rel="related" href="{link}"/>\n'
    yield f'<title>{_text(title)}</title>\n<content type="text/xml">\n<{kind} xmlns="{ESPI[1:-1]}">'
    yield from inside
    instant = _instant(updated_s)
    yield f"</{kind}>\n</content>\n<published>{instant}</published>\n<updated>{instant}</updated>\n</entry>\n"


def _written(reading: _Reading) -> str:
    quality = ""
    if reading.quality is not model.Quality.GOOD:
        code = codes.QUALITY_CODES[reading.quality]
        quality = f"<ReadingQuality><quality>{code}</quality></ReadingQuality>"
    period = f"<duration>{reading.duration_s}</duration><start>{reading.start_s}</start>"
    value = f"<value>{reading.value}</value>"
    return f"<IntervalReading>{quality}<timePeriod>{period}</timePeriod>{value}</IntervalReading>\n"


def _type(series: Series) -> str:
    of = series.type
    accumulation, qualifier, kind, unit = _kind(series)
    said = {
        "accumulationBehaviour": accumulation,
        "commodity": codes.PRIMARY_METERED if of.primary_metered else codes.SECONDARY_METERED,
        "consumptionTier": of.consumption_tier or None,
        "dataQualifier": qualifier,
        "defaultQuality": codes.QUALITY_CODES[model.Quality.GOOD],
        "flowDirection": codes.FLOW_CODES[of.flow],
        "intervalLength": of.interval_s or None,
        "kind": kind,
        "phase": codes.NOT_APPLICABLE,
        "powerOfTenMultiplier": of.power_of_ten,
        "timeAttribute": codes.NOT_APPLICABLE,
        "tou": of.tou or None,
        "uom": unit,
    }
    for name, (least, most) in codes.RANGES.items():
        if not least <= (said[name] or 0) <= most:
            raise ValueError(f"{name} of {series.meter_id!r} is {said[name]}, expected from {least} to {most}")
    return "".join(f"<{name}>{value}</{name}>" for name, value in said.items() if value is not None)


def _kind(series: Series) -> tuple[int, int, int, int]:
    """accumulationBehaviour, dataQualifier, kind and uom."""
    if isinstance(series, model.EnergySeries):
        return codes.DELTA, codes.NORMAL, codes.ENERGY_KIND, codes.WATT_HOURS
    if isinstance(series, model.PowerSeries):
        return codes.NOT_APPLICABLE, codes.STATISTIC_CODES[series.statistic], codes.POWER_KIND, codes.WATTS
    return codes.REGISTER, codes.NORMAL, codes.ENERGY_KIND, codes.WATT_HOURS


def _local_time(local: model.LocalTime) -> str:
    for offset in (local.tz_offset_s, local.dst_offset_s):
        if abs(offset) >= DAY_S:
            raise ValueError(f"local time is {offset} s off, expected less than a day")
    for rule in (local.dst_start_rule, local.dst_end_rule):
        if not codes.is_rule(rule):
            raise ValueError(f"the rule of daylight saving {rule!r} is not eight hexadecimal digits in capitals")
    return (
        f"<dstEndRule>{local.dst_end_rule}</dstEndRule><dstOffset>{local.dst_offset_s}</dstOffset>"
        f"<dstStartRule>{local.dst_start_rule}</dstStartRule><tzOffset>{local.tz_offset_s}</tzOffset>"
    )


def _readings(series: Series) -> list[_Reading]:
    """The readings in numbers of the wire, rounded to the type's power of ten."""
    if isinstance(series, model.EnergySeries):
        said = [(each.starts_at, each.duration_s, each.energy_wh, each.quality) for each in series.readings]
    elif isinstance(series, model.PowerSeries):
        said = [(each.starts_at, each.duration_s, each.power_w, each.quality) for each in series.readings]
    else:
        said = [(each.read_at, 0, each.register_wh, each.quality) for each in series.readings]
    shortest_s = 1 if isinstance(series, model.EnergySeries) else 0
    power, readings = series.type.power_of_ten, []
    for at, duration_s, value, quality in said:
        if at.tzinfo is None or at.microsecond or not shortest_s <= duration_s <= LONGEST_S:
            raise ValueError(
                f"a reading of {series.meter_id!r} at {at} over {duration_s} s: expected an aware instant of a whole"
                f" second, and from {shortest_s} to {LONGEST_S} s"
            )
        if not isfinite(value) or abs(number := _scaled(value, power)) > _MOST:
            raise ValueError(f"{value} of {series.meter_id!r} is no number of 48 bits at 10 to the {power}")
        readings.append(_Reading((at - EPOCH) // _SECOND, duration_s, number, quality))
    for before, after in pairwise(readings):
        if before.end_s > after.start_s or before.start_s == after.start_s:
            raise ValueError(
                f"readings of {series.meter_id!r} are not in order of time, or overlap, at {_instant(after.start_s)}"
            )
    return readings


def _scaled(value: float, power: int) -> int:
    """In units of 10 to the power, to the nearest."""
    unit: int = 10 ** abs(power)
    return round(value / unit) if power >= 0 else round(value * unit)


def _instant(second: int) -> str:
    try:
        return write_date_time(EPOCH + timedelta(seconds=second))
    except OverflowError as cause:
        raise ValueError(f"second {second} since 1970 is no date") from cause


def _atom_id(path: str) -> str:
    return f"urn:uuid:{uuid5(NAMESPACE_URL, path)}"


def _text(text: str) -> str:
    # What XML cannot carry is replaced: a title must not be able to make a feed unreadable.
    return _MARKUP.sub(lambda found: _ESCAPED[found[0]], _NOT_XML.sub("\ufffd", text))
