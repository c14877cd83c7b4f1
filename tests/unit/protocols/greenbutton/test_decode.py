from datetime import UTC, datetime, timedelta

import pytest

from protocols.errors import MalformedMessage, UnsupportedMessage
from protocols.greenbutton.codec import decode
from protocols.greenbutton.model import (
    EnergySeries,
    Flow,
    IntervalReading,
    LocalTime,
    PowerReading,
    Quality,
    ReadingType,
    RegisterReading,
    Statistic,
    UsageData,
)
from tests.greenbutton_feeds import (
    MIDNIGHT,
    block,
    feed,
    interval,
    local_time,
    meter,
    one_meter,
    quality,
    reading,
    reading_type,
    usage_point,
)

AT = datetime(2025, 1, 1, 8, tzinfo=UTC)


def after(quarters: int) -> datetime:
    return AT + timedelta(minutes=15 * quarters)


def energies(data: UsageData) -> list[float]:
    return [each.energy_wh for each in data.energy[0].readings]


def test_a_feed_is_read_whole() -> None:
    body = feed(
        usage_point(title=" Hall 1\n"),
        local_time(),
        meter(),
        reading_type(powerOfTenMultiplier=3),
        block([reading(MIDNIGHT, 250), reading(MIDNIGHT + 900, 251, more=quality(8))], interval=interval(MIDNIGHT)),
    )
    assert decode(body) == UsageData(
        usage_point_id="1",
        title="Hall 1",
        energy=(
            EnergySeries(
                meter_id="01",
                title="Energy",
                type=ReadingType(flow=Flow.FORWARD, interval_s=900, power_of_ten=3),
                readings=(
                    IntervalReading(starts_at=AT, duration_s=900, energy_wh=250_000.0),
                    IntervalReading(starts_at=after(1), duration_s=900, energy_wh=251_000.0, quality=Quality.ESTIMATED),
                ),
            ),
        ),
        local_time=LocalTime(
            tz_offset_s=-28_800, dst_offset_s=3600, dst_start_rule="360E2000", dst_end_rule="B40E2000"
        ),
    )
    assert decode(body).remarks == ()


@pytest.mark.parametrize(
    ("power_of_ten", "value", "energy_wh"),
    [(None, 123, 123.0), (0, 123, 123.0), (-3, 123, 0.123), (-1, 3, 0.3), (6, 2, 2e6), (-12, -7, -7e-12)],
)
def test_values_are_scaled_once(power_of_ten: int | None, value: int, energy_wh: float) -> None:
    body = one_meter(reading(MIDNIGHT, value), powerOfTenMultiplier=power_of_ten)
    assert energies(decode(body)) == [energy_wh]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, Quality.GOOD),
        (7, Quality.ESTIMATED),
        (8, Quality.ESTIMATED),
        (9, Quality.ESTIMATED),
        (10, Quality.SUSPECT),
        (12, Quality.ESTIMATED),
        (14, Quality.GOOD),
        (16, Quality.SUSPECT),
        (17, Quality.GOOD),
        (18, Quality.GOOD),
        (19, Quality.GOOD),
        (99, Quality.SUSPECT),
    ],
)
def test_quality_codes(code: int, expected: Quality) -> None:
    data = decode(one_meter(reading(MIDNIGHT, 1, more=quality(code))))
    assert data.energy[0].readings[0].quality is expected
    assert any("1 readings of a quality that is not known" in remark for remark in data.remarks) is (code == 99)


def test_the_worst_of_several_qualities_holds_and_the_default_where_there_is_none() -> None:
    body = one_meter(
        reading(MIDNIGHT, 1, more=quality(17) + quality(10) + quality(9)),
        reading(MIDNIGHT + 900, 1),
        reading(MIDNIGHT + 1800, 1, more=quality(0)),
        defaultQuality=8,
    )
    assert [each.quality for each in decode(body).energy[0].readings] == [
        Quality.SUSPECT,
        Quality.ESTIMATED,
        Quality.GOOD,
    ]


def test_a_default_quality_that_is_not_known_is_suspect_and_remarked() -> None:
    data = decode(one_meter(reading(MIDNIGHT, 1), defaultQuality=77))
    assert data.energy[0].readings[0].quality is Quality.SUSPECT
    assert data.remarks == ("meter reading '01': defaultQuality 77, which is not known, taken as suspect",)


@pytest.mark.parametrize(("code", "flow"), [(1, Flow.FORWARD), (19, Flow.REVERSE), (4, Flow.NET)])
def test_directions(code: int, flow: Flow) -> None:
    data = decode(one_meter(reading(MIDNIGHT, 1), flowDirection=code))
    assert data.energy[0].type.flow is flow
    assert data.remarks == ()


def test_what_is_not_said_of_a_reading_type_is_taken_and_remarked() -> None:
    data = decode(one_meter(reading(MIDNIGHT, 1), flowDirection=0, accumulationBehaviour=None))
    assert data.energy[0].type.flow is Flow.FORWARD
    assert data.remarks == (
        "meter reading '01': no accumulationBehaviour, taken as energy by interval",
        "meter reading '01': no flowDirection, taken as forward (consumption)",
    )


def test_several_meters_of_a_usage_point() -> None:
    body = feed(
        usage_point(),
        meter("01", reading_type="delivered"),
        meter("02", reading_type="received"),
        meter("03", reading_type="demand"),
        meter("04", reading_type="register"),
        meter("05", reading_type="reactive"),
        reading_type("demand", uom=38, accumulationBehaviour=6, dataQualifier=8, kind=8, powerOfTenMultiplier=3),
        reading_type("delivered", commodity=2, tou=2, consumptionTier=1),
        reading_type("received", flowDirection=19),
        reading_type("register", accumulationBehaviour=1, intervalLength=None),
        reading_type("reactive", uom=73),
        block([reading(MIDNIGHT, 40)], meter="04", number="1"),
        block([reading(MIDNIGHT, 30, duration=0)], meter="03", number="1"),
        block([reading(MIDNIGHT, 20)], meter="02", number="1"),
        block([reading(MIDNIGHT, 10)], meter="01", number="1"),
        block([reading(MIDNIGHT, 50)], meter="05", number="1"),
    )
    data = decode(body)
    delivered, received = data.energy
    assert (delivered.meter_id, received.meter_id) == ("01", "02")
    assert delivered.type == ReadingType(
        flow=Flow.FORWARD, interval_s=900, primary_metered=True, tou=2, consumption_tier=1
    )
    assert received.type.flow is Flow.REVERSE
    assert [each.energy_wh for each in received.readings] == [20.0]
    (demand,) = data.power
    assert demand.statistic is Statistic.MAXIMUM
    assert demand.readings == (PowerReading(starts_at=AT, duration_s=0, power_w=30_000.0),)
    (register,) = data.registers
    assert register.readings == (RegisterReading(read_at=after(1), register_wh=40.0),)
    assert data.remarks == (
        "meter reading '05' is not read: reactive energy (uom 73), neither watt-hours (72) nor watts (38)",
    )


def test_blocks_come_in_any_order_several_an_entry_and_empty() -> None:
    both = block([reading(MIDNIGHT + 2700, 4)], "2").replace(
        "</IntervalBlock>",
        f"</IntervalBlock><IntervalBlock xmlns='http://naesb.org/espi'>{reading(MIDNIGHT + 1800, 3)}</IntervalBlock>",
    )
    body = feed(
        block([reading(MIDNIGHT + 900, 2), reading(MIDNIGHT, 1)], "1"),
        both,
        block([], "3"),
        reading_type(),
        meter(),
        usage_point(),
    )
    data = decode(body)
    assert energies(data) == [1.0, 2.0, 3.0, 4.0]
    assert data.remarks == ("meter reading '01': 1 blocks without readings",)


def test_a_reading_given_twice_is_taken_once() -> None:
    data = decode(one_meter(*[reading(MIDNIGHT, 5)] * 3, reading(MIDNIGHT + 900, 6)))
    assert energies(data) == [5.0, 6.0]
    assert data.remarks == ("meter reading '01': 2 readings given more than once",)


@pytest.mark.parametrize("second", [reading(MIDNIGHT, 6), reading(MIDNIGHT, 5, more=quality(8))])
def test_two_different_readings_of_an_interval_are_refused(second: str) -> None:
    body = feed(usage_point(), meter(), reading_type(), block([reading(MIDNIGHT, 5)], "one"), block([second], "two"))
    with pytest.raises(MalformedMessage, match=r"IntervalBlock/one.*IntervalBlock/two.*2025-01-01T08:00Z") as caught:
        decode(body)
    assert caught.value.line == 1


def test_intervals_that_overlap_are_refused() -> None:
    with pytest.raises(MalformedMessage, match=r"IntervalBlock/173.*2025-01-01T08:00Z runs over 901 s"):
        decode(one_meter(reading(MIDNIGHT, 5, duration=901), reading(MIDNIGHT + 900, 6)))


def test_readings_over_no_time() -> None:
    data = decode(one_meter(reading(MIDNIGHT, 0, duration=0), reading(MIDNIGHT + 900, 7, duration=0)))
    assert data.energy[0].readings == (IntervalReading(starts_at=after(1), duration_s=900, energy_wh=7.0),)
    assert data.remarks == (
        "meter reading '01': 1 readings of 0 Wh over 0 s",
        "meter reading '01': 1 readings over 0 s, taken as 900 s",
    )
    with pytest.raises(MalformedMessage, match="energy over 0 s, and its reading type has no intervalLength"):
        decode(one_meter(reading(MIDNIGHT, 7, duration=0), intervalLength=None))


def test_readings_without_a_period_follow_each_other() -> None:
    readings = [reading(None, 1, duration=None), reading(None, 2, duration=None), reading(None, 3, duration=1800)]
    body = feed(usage_point(), meter(), reading_type(), block(readings, interval=interval(MIDNIGHT)))
    assert [(each.starts_at, each.duration_s) for each in decode(body).energy[0].readings] == [
        (AT, 900),
        (after(1), 900),
        (after(2), 1800),
    ]
    with pytest.raises(MalformedMessage, match="no start or no duration"):
        decode(one_meter(*readings))
    with pytest.raises(MalformedMessage, match="no start or no duration"):
        decode(one_meter(reading(MIDNIGHT, 1, duration=None), intervalLength=None))


def test_costs_are_passed_over_and_a_reading_without_a_value_is_left_out() -> None:
    cost = "<cost>819</cost>"
    data = decode(one_meter(reading(MIDNIGHT, 5, more=cost), reading(MIDNIGHT + 900, None, more=cost)))
    assert energies(data) == [5.0]
    assert data.remarks == ("meter reading '01': 1 readings without a value",)


@pytest.mark.parametrize("value", ["", "12.5", "1e3", "0x10", "1_000", "NaN", "9" * 25, "٣", "<deep/>"])
def test_a_value_that_is_no_whole_number_is_refused(value: str) -> None:
    with pytest.raises(MalformedMessage, match=r"espi:value is .* in IntervalBlock entry '.*IntervalBlock/173'"):
        decode(one_meter(reading(MIDNIGHT, value)))


@pytest.mark.parametrize("start", [10**18, -(10**18), 253_402_300_799])
def test_a_start_that_is_no_date_is_refused(start: int) -> None:
    with pytest.raises(MalformedMessage, match="which is no date"):
        decode(one_meter(reading(start, 1)))


@pytest.mark.parametrize("duration", [-1, 1 << 32])
def test_a_duration_that_is_none_is_refused(duration: int) -> None:
    with pytest.raises(MalformedMessage, match=f"duration of {duration} s"):
        decode(one_meter(reading(MIDNIGHT, 1, duration=duration)))


def test_a_reading_with_a_multiplier_of_its_own_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="espi:powerOfTenMultiplier of its own"):
        decode(one_meter(reading(MIDNIGHT, 1, more="<powerOfTenMultiplier>3</powerOfTenMultiplier>")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"commodity": 7, "uom": 169}, r"natural gas \(commodity 7\)"),
        ({"commodity": 9, "uom": 128}, r"potable water \(commodity 9\)"),
        ({"commodity": 24}, r"no electricity \(commodity 24\)"),
        ({"uom": 119}, r"cubic feet \(uom 119\)"),
        ({"uom": 250}, r"another unit \(uom 250\)"),
        ({"uom": None}, r"no unit \(uom\)"),
        ({"flowDirection": 20}, "flowDirection 20"),
        ({"accumulationBehaviour": 13}, "accumulationBehaviour 13"),
        ({"dataQualifier": 8}, "dataQualifier 8"),
        ({"uom": 38, "accumulationBehaviour": 3}, "accumulationBehaviour 3"),
        ({"uom": 38, "dataQualifier": 16}, "dataQualifier 16"),
        ({"powerOfTenMultiplier": 13}, "powerOfTenMultiplier 13, which is not from -12 to 12"),
        ({"intervalLength": -900}, "intervalLength -900"),
        ({"tou": 1 << 15}, "tou 32768"),
    ],
)
def test_what_is_not_electric_energy_or_power_is_refused_in_words(changes: dict[str, int], words: str) -> None:
    with pytest.raises(UnsupportedMessage, match=rf"^meter reading '01' is not read: .*{words}"):
        decode(one_meter(reading(MIDNIGHT, 1), **changes))


def test_local_time_parameters_that_make_no_sense_are_left_out() -> None:
    start = [usage_point(), meter(), reading_type(), block([reading(MIDNIGHT, 1)])]
    for broken in (local_time(rule="summer"), local_time(offset_s=86_400)):
        data = decode(feed(*start, broken))
        assert data.local_time is None
        assert "LocalTimeParameters/01' is not read" in data.remarks[0]
