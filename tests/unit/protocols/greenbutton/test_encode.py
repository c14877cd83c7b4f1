from datetime import UTC, datetime, timedelta, timezone
from math import inf, nan

import pytest
from lxml import etree

from protocols.greenbutton.codec import decode, encode
from protocols.greenbutton.model import (
    EnergySeries,
    IntervalReading,
    LocalTime,
    PowerReading,
    PowerSeries,
    Quality,
    ReadingType,
    RegisterReading,
    RegisterSeries,
    UsageData,
)

ATOM = "{http://www.w3.org/2005/Atom}"
ESPI = "{http://naesb.org/espi}"
AT = datetime(2025, 7, 1, tzinfo=UTC)
PHOENIX = LocalTime(tz_offset_s=-25_200)


def energy(index: int = 0, value: float = 1.0, *, duration_s: int = 900, at: datetime = AT) -> IntervalReading:
    return IntervalReading(starts_at=at + timedelta(minutes=15 * index), duration_s=duration_s, energy_wh=value)


def series(*readings: IntervalReading, meter_id: str = "main", of: ReadingType | None = None) -> EnergySeries:
    return EnergySeries(meter_id=meter_id, type=of or ReadingType(interval_s=900), readings=readings)


def data(*of: EnergySeries, local_time: LocalTime | None = None, usage_point_id: str = "hall") -> UsageData:
    return UsageData(usage_point_id=usage_point_id, energy=of, local_time=local_time)


def blocks(body: bytes) -> list[tuple[int, int, int]]:
    """Start, duration and number of readings of each."""
    return [
        (
            int(block.findtext(f"{ESPI}interval/{ESPI}start") or ""),
            int(block.findtext(f"{ESPI}interval/{ESPI}duration") or ""),
            len(block.findall(f"{ESPI}IntervalReading")),
        )
        for block in etree.fromstring(body).iter(ESPI + "IntervalBlock")
    ]


def test_elements_are_in_the_order_of_the_schema() -> None:
    of = ReadingType(interval_s=900, power_of_ten=-3, primary_metered=True, tou=2, consumption_tier=1)
    estimated = IntervalReading(starts_at=AT, duration_s=900, energy_wh=1.5, quality=Quality.ESTIMATED)
    root = etree.fromstring(encode(data(series(estimated, of=of), local_time=PHOENIX)))
    (reading_type,) = root.iter(ESPI + "ReadingType")
    assert [(child.tag[len(ESPI) :], child.text) for child in reading_type] == [
        ("accumulationBehaviour", "4"),
        ("commodity", "2"),
        ("consumptionTier", "1"),
        ("dataQualifier", "12"),
        ("defaultQuality", "0"),
        ("flowDirection", "1"),
        ("intervalLength", "900"),
        ("kind", "12"),
        ("phase", "0"),
        ("powerOfTenMultiplier", "-3"),
        ("timeAttribute", "0"),
        ("tou", "2"),
        ("uom", "72"),
    ]
    (reading,) = root.iter(ESPI + "IntervalReading")
    assert [(child.tag[len(ESPI) :], "".join(child.itertext())) for child in reading] == [
        ("ReadingQuality", "8"),
        ("timePeriod", f"900{int(AT.timestamp())}"),
        ("value", "1500"),
    ]
    (local,) = root.iter(ESPI + "LocalTimeParameters")
    assert [child.tag[len(ESPI) :] for child in local] == ["dstEndRule", "dstOffset", "dstStartRule", "tzOffset"]


def test_power_and_registers_have_types_of_their_own() -> None:
    both = UsageData(
        usage_point_id="hall",
        power=(PowerSeries(meter_id="p", readings=(PowerReading(starts_at=AT, duration_s=900, power_w=5.0),)),),
        registers=(RegisterSeries(meter_id="r", readings=(RegisterReading(read_at=AT, register_wh=5.0),)),),
    )
    said = [
        tuple(element.findtext(ESPI + name) for name in ("accumulationBehaviour", "kind", "uom"))
        for element in etree.fromstring(encode(both)).iter(ESPI + "ReadingType")
    ]
    assert said == [("0", "37", "38"), ("1", "12", "72")]


@pytest.mark.parametrize(
    ("power_of_ten", "energy_wh", "written"),
    [(0, 1.4, 1.0), (0, -1.6, -2.0), (-3, 0.0004, 0.0), (-3, 1 / 3, 0.333), (3, 1499.0, 1000.0), (3, 1501.0, 2000.0)],
)
def test_values_are_rounded_to_the_power_of_ten(power_of_ten: int, energy_wh: float, written: float) -> None:
    body = encode(data(series(energy(0, energy_wh), of=ReadingType(power_of_ten=power_of_ten))))
    assert decode(body).energy[0].readings[0].energy_wh == written


def test_days_are_blocks() -> None:
    two_days = series(*(energy(index) for index in range(192)))
    start = int(AT.timestamp())
    assert blocks(encode(data(two_days))) == [(start, 86_400, 96), (start + 86_400, 86_400, 96)]
    # In Phoenix the day begins at 07:00 UTC.
    assert blocks(encode(data(two_days, local_time=PHOENIX))) == [
        (start, 25_200, 28),
        (start + 25_200, 86_400, 96),
        (start + 25_200 + 86_400, 61_200, 68),
    ]


def test_the_same_data_makes_the_same_bytes_with_ids_of_its_own() -> None:
    first = encode(data(series(energy(0), energy(96)), local_time=PHOENIX))
    again = encode(data(series(energy(0), energy(96)), local_time=PHOENIX))
    assert first == again
    ids = [element.text for element in etree.fromstring(first).iter(ATOM + "id")]
    assert len(set(ids)) == len(ids) == 7
    # A block keeps its id when days are added, and so do the resources above it.
    more = {
        element.text
        for element in etree.fromstring(
            encode(data(series(energy(0), energy(96), energy(192)), local_time=PHOENIX))
        ).iter(ATOM + "id")
    }
    assert set(ids) < more


def test_a_block_is_never_said_to_be_longer_than_there_is_room_for() -> None:
    long = data(series(energy(0), energy(1, duration_s=(1 << 32) - 1)))
    assert blocks(encode(long)) == [(int(AT.timestamp()), (1 << 32) - 1, 2)]
    assert decode(encode(long)) == long


def test_two_powers_of_an_instant_are_refused() -> None:
    twice = PowerSeries(meter_id="p", readings=(PowerReading(starts_at=AT, duration_s=0, power_w=5.0),) * 2)
    with pytest.raises(ValueError, match="not in order of time"):
        encode(UsageData(usage_point_id="hall", power=(twice,)))


def test_feeds_of_two_usage_points_have_no_id_in_common() -> None:
    one, two = (
        {element.text for element in etree.fromstring(encode(each)).iter(ATOM + "id")}
        for each in (
            data(series(energy()), local_time=PHOENIX),
            data(series(energy()), local_time=PHOENIX, usage_point_id="other"),
        )
    )
    assert one.isdisjoint(two)


def test_instants_in_other_zones_are_written_as_utc() -> None:
    there = AT.astimezone(timezone(timedelta(hours=-7)))
    assert encode(data(series(energy(at=there)))) == encode(data(series(energy())))


def test_a_title_with_markup_is_text() -> None:
    odd = UsageData(usage_point_id="a/b&c", title="<Hall> & 'co'\x07", energy=(series(energy()),))
    again = decode(encode(odd))
    assert (again.usage_point_id, again.title) == ("a/b&c", "<Hall> & 'co'\ufffd")


GOOD = series(energy())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (data(), "no meter readings"),
        (data(GOOD, usage_point_id=""), "identity of their own"),
        (data(GOOD, GOOD), "identity of their own"),
        (data(series(meter_id="")), "identity of their own"),
        (data(series(energy(1), energy(0))), "not in order of time, or overlap, at 2025-07-01T00:00:00Z"),
        (data(series(energy(0), energy(0))), "not in order of time"),
        (data(series(energy(0, duration_s=901), energy(1))), "overlap, at 2025-07-01T00:15:00Z"),
        (data(series(energy(duration_s=0))), "from 1 to 4294967295 s"),
        (data(series(energy(duration_s=1 << 32))), "from 1 to 4294967295 s"),
        (data(series(energy(at=datetime(2025, 7, 1)))), "expected an aware instant"),  # noqa: DTZ001
        (data(series(energy(at=AT.replace(microsecond=1)))), "whole second"),
        (data(series(energy(at=datetime(9999, 12, 31, 23, 59, tzinfo=UTC)))), "no date"),
        (data(series(energy(0, nan))), "nan of 'main' is no number of 48 bits"),
        (data(series(energy(0, inf))), "inf of 'main'"),
        (data(series(energy(0, 2.0**47))), "no number of 48 bits at 10 to the 0"),
        (
            data(series(of=ReadingType(power_of_ten=13))),
            "powerOfTenMultiplier of 'main' is 13, expected from -12 to 12",
        ),
        (data(series(of=ReadingType(interval_s=-1))), "intervalLength of 'main' is -1"),
        (data(series(of=ReadingType(tou=1 << 15))), "tou of 'main' is 32768"),
        (data(GOOD, local_time=LocalTime(tz_offset_s=86_400)), "86400 s off"),
        (data(GOOD, local_time=LocalTime(tz_offset_s=0, dst_end_rule="b40e2000")), "'b40e2000' is not eight"),
    ],
)
def test_what_has_no_room_in_a_feed_is_refused(wrong: UsageData, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encode(wrong)
