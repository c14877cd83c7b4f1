"""From a Green Button feed to what it says, and back."""

from collections.abc import Sequence
from datetime import tzinfo

from protocols.errors import MalformedMessage, UnsupportedMessage
from protocols.greenbutton import model
from protocols.greenbutton.codes import DAY_S, is_rule
from protocols.greenbutton.feed import Entry, read_feed, whole_number
from protocols.greenbutton.links import Meter, usage_point_of
from protocols.greenbutton.names import ESPI
from protocols.greenbutton.reading_types import Kind, NotRead, Understood, understand
from protocols.greenbutton.readings import Gatherer, Reading
from protocols.greenbutton.writing import Series, feed_of


def decode(body: bytes, *, usage_point: str | None = None, local_time: tzinfo | None = None) -> model.UsageData:
    """What a feed says of one usage point: ``usage_point``, or the only one that has electricity.

    Seconds are since 1970 in UTC, as the standard has it. Some utilities write what the clock on the wall says as if
    it were UTC; for their feeds ``local_time`` is the zone of that clock. Which it is cannot be told for certain: a
    remark says what speaks for it.

    Identities are the last part of a resource's own link, else its Atom id. Meters of other things than electric
    energy and power are passed over with a remark. Raises ``MessageTooLarge``, ``MalformedMessage`` (not XML, no
    numbers, contradictions, overlapping intervals, readings whose type cannot be told) and ``UnsupportedMessage``
    (no feed, several usage points, other than electricity, nothing to read).
    """
    point = usage_point_of(read_feed(body), usage_point)
    remarks = list(point.passed_over)
    found: dict[str, Series] = {}
    for meter in point.meters:
        meter_id = meter.meter_id or "meter"
        try:
            understood = understand(meter.type)
        except NotRead as reason:
            remarks.append(f"{_name(meter_id)} is not read: {reason}")
            continue
        if meter_id in found:
            raise MalformedMessage(f"there are two of {_name(meter_id)}: ask the sender for a corrected feed")
        found[meter_id] = _series(meter_id, meter, understood, local_time, remarks)
    if not found:
        raise UnsupportedMessage("; ".join(remarks[:5]) or "no meter reading of electricity: nothing to read")
    local = _local_time(point.local_time, remarks)
    if local is not None and local.tz_offset_s and local_time is None and _days_of_utc(point.meters):
        remarks.append(
            f"every block is a day from midnight UTC, though local time is {local.tz_offset_s} s off: the feed may have"
            " local time for UTC. Compare a day with the bill, and read it with its zone if so"
        )
    return model.UsageData(
        usage_point_id=point.usage_point_id or "usage-point",
        title=point.title,
        energy=tuple(series for series in found.values() if isinstance(series, model.EnergySeries)),
        power=tuple(series for series in found.values() if isinstance(series, model.PowerSeries)),
        registers=tuple(series for series in found.values() if isinstance(series, model.RegisterSeries)),
        local_time=local,
        remarks=tuple(remarks),
    )


def encode(data: model.UsageData) -> bytes:
    """A feed of the data, UTF-8: the same bytes for the same data, values rounded to their type's power of ten.

    Raises ``ValueError``, saying what it is, for what ESPI has no room for: no meter reading, identities that are
    empty or shared, readings out of order, fractions of a second, numbers or dates beyond their range.
    """
    return "".join(feed_of(data)).encode()


def _series(
    meter_id: str, meter: Meter, understood: Understood, local_time: tzinfo | None, remarks: list[str]
) -> Series:
    gatherer = Gatherer(understood, local_time)
    readings = gatherer.gather(meter.blocks)
    name = _name(meter_id)
    remarks += [f"{name}: {taken}" for taken in understood.taken]
    remarks += [f"{name}: {count} {what}" for what, count in gatherer.remarks.items()]
    if understood.kind is Kind.ENERGY:
        return model.EnergySeries(
            meter_id=meter_id, title=meter.title, type=understood.type, readings=tuple(map(_energy, readings))
        )
    if understood.kind is Kind.POWER:
        return model.PowerSeries(
            meter_id=meter_id,
            title=meter.title,
            type=understood.type,
            statistic=understood.statistic,
            readings=tuple(map(_power, readings)),
        )
    return model.RegisterSeries(
        meter_id=meter_id, title=meter.title, type=understood.type, readings=tuple(map(_register, readings))
    )


def _name(meter_id: str) -> str:
    # Of a long one the end tells more.
    return f"meter reading {meter_id[-200:]!r}"


def _energy(reading: Reading) -> model.IntervalReading:
    return model.IntervalReading(
        starts_at=reading.starts_at, duration_s=reading.duration_s, energy_wh=reading.value, quality=reading.quality
    )


def _power(reading: Reading) -> model.PowerReading:
    return model.PowerReading(
        starts_at=reading.starts_at, duration_s=reading.duration_s, power_w=reading.value, quality=reading.quality
    )


def _register(reading: Reading) -> model.RegisterReading:
    return model.RegisterReading(read_at=reading.starts_at, register_wh=reading.value, quality=reading.quality)


def _local_time(entry: Entry | None, remarks: list[str]) -> model.LocalTime | None:
    if entry is None:
        return None
    element = entry.resources[0]
    offsets = {
        name: 0 if (child := element.find(ESPI + name)) is None else whole_number(child, entry)
        for name in ("tzOffset", "dstOffset")
    }
    rules = {
        name: (element.findtext(ESPI + name) or "").strip().upper() or "FFFFFFFF"
        for name in ("dstStartRule", "dstEndRule")
    }
    if not all(map(is_rule, rules.values())) or any(abs(offset) >= DAY_S for offset in offsets.values()):
        remarks.append(
            f"{entry} is not read: expected offsets of less than a day and rules of eight hexadecimal digits"
        )
        return None
    return model.LocalTime(
        tz_offset_s=offsets["tzOffset"],
        dst_offset_s=offsets["dstOffset"],
        dst_start_rule=rules["dstStartRule"],
        dst_end_rule=rules["dstEndRule"],
    )


def _days_of_utc(meters: Sequence[Meter]) -> bool:
    """Whether there are blocks, and each is a day from midnight to midnight UTC."""
    intervals = [
        (block.findtext(f"{ESPI}interval/{ESPI}start"), block.findtext(f"{ESPI}interval/{ESPI}duration"))
        for meter in meters
        for entry in meter.blocks
        for block in entry.resources
    ]
    try:
        return bool(intervals) and all(
            int(start or "1") % DAY_S == 0 and int(duration or "0") == DAY_S for start, duration in intervals
        )
    except ValueError:
        return False
