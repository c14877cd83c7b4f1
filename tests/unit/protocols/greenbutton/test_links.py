import pytest

from protocols.errors import MalformedMessage, UnsupportedMessage
from protocols.greenbutton.codec import decode
from tests.greenbutton_feeds import (
    MIDNIGHT,
    block,
    entry,
    feed,
    local_time,
    meter,
    reading,
    reading_type,
    usage_point,
)

GAS = "RetailCustomer/3/UsagePoint/gas"
OTHER = "RetailCustomer/3/UsagePoint/two"


def test_a_usage_point_of_gas_beside_electricity_is_passed_over() -> None:
    body = feed(
        usage_point(GAS, service=1),
        usage_point(),
        meter("09", point=GAS, reading_type="gas"),
        meter(),
        reading_type("gas", commodity=7, uom=169),
        reading_type(),
        block([reading(MIDNIGHT, 9)], meter="09", point=GAS),
        block([reading(MIDNIGHT, 1)]),
    )
    data = decode(body)
    assert (data.usage_point_id, [series.meter_id for series in data.energy]) == ("1", ["01"])
    assert data.remarks == (f"UsagePoint entry '{_path(GAS)}' is gas: only electricity is read",)
    with pytest.raises(UnsupportedMessage, match="is gas: only electricity is read"):
        decode(body, usage_point="gas")


def test_a_usage_point_of_water_alone_is_refused() -> None:
    with pytest.raises(UnsupportedMessage, match="is water: only electricity is read"):
        decode(feed(usage_point(service=2), meter(), reading_type(), block([reading(MIDNIGHT, 1)])))


def test_of_several_usage_points_one_is_asked_for() -> None:
    body = feed(
        usage_point(),
        usage_point(OTHER, title=""),
        meter(),
        meter(point=OTHER),
        reading_type(),
        block([reading(MIDNIGHT, 1)]),
        block([reading(MIDNIGHT, 2)], point=OTHER),
    )
    with pytest.raises(UnsupportedMessage, match=r"several usage points, say which one to read: '1' \(Hall 1\), 'two'"):
        decode(body)
    with pytest.raises(UnsupportedMessage, match="no usage point is called 'three'; the feed has '1'"):
        decode(body, usage_point="three")
    for name, value in (("1", 1.0), ("two", 2.0)):
        data = decode(body, usage_point=name)
        assert data.usage_point_id == name
        assert [[each.energy_wh for each in series.readings] for series in data.energy] == [[value]]


def test_a_meter_reading_that_no_usage_point_claims_is_refused() -> None:
    stray = entry("MeterReading", "", self_link="MeterReading/5", related=["ReadingType/07"])
    body = feed(usage_point(), usage_point(OTHER), stray, reading_type(), meter())
    with pytest.raises(MalformedMessage, match=r"MeterReading/5' belongs to none of the 2 usage points"):
        decode(body, usage_point="1")


def test_a_feed_without_usage_point_takes_its_name_from_the_links() -> None:
    data = decode(feed(meter(), reading_type(), block([reading(MIDNIGHT, 1)])))
    assert (data.usage_point_id, data.title, len(data.energy[0].readings)) == ("1", "", 1)


def test_a_feed_without_meter_readings_has_those_of_its_blocks() -> None:
    body = feed(
        usage_point(),
        reading_type("A"),
        reading_type("B", flowDirection=19),
        block([reading(MIDNIGHT, 1)], meter="A", number="1"),
        block([reading(MIDNIGHT, 2)], meter="B", number="1"),
        block([reading(MIDNIGHT + 900, 3)], meter="A", number="2"),
    )
    assert [
        (series.meter_id, series.type.flow, [each.energy_wh for each in series.readings])
        for series in decode(body).energy
    ] == [("A", "forward", [1.0, 3.0]), ("B", "reverse", [2.0])]


def test_a_feed_without_any_links_is_read_where_there_is_one_of_each() -> None:
    names = ("UsagePoint", "MeterReading", "ReadingType", "IntervalBlock")
    inside = ("", "", "<uom>72</uom><intervalLength>900</intervalLength>", reading(MIDNIGHT, 4))
    data = decode(feed(*(entry(name, each) for name, each in zip(names, inside, strict=True))))
    assert [each.energy_wh for each in data.energy[0].readings] == [4.0]
    assert data.usage_point_id == "urn:uuid:0F3403E5-AFC3-4A86-B8A3-CA07334D67A9"


def test_blocks_are_tied_by_a_link_to_the_meter_reading() -> None:
    tied = entry("IntervalBlock", reading(MIDNIGHT, 4), self_link="IntervalBlock/1", related=["MeterReading/02"])
    meters = [
        entry("MeterReading", "", self_link=f"MeterReading/{number}", related=["ReadingType/07"])
        for number in ("01", "02")
    ]
    one, two = decode(feed(usage_point(), *meters, reading_type(), tied)).energy
    assert (len(one.readings), len(two.readings)) == (0, 1)


def test_blocks_are_tied_by_links_of_the_meter_reading_to_them_or_their_collection() -> None:
    meters = [
        entry("MeterReading", "", self_link=f"MeterReading/{number}", related=["ReadingType/07", link])
        for number, link in (("01", "IntervalBlock/1"), ("02", "Other/IntervalBlock/?published-min=2025#all"))
    ]
    blocks = [
        entry("IntervalBlock", reading(MIDNIGHT, value), self_link=f"{where}/{value}", up=where)
        for value, where in ((1, "IntervalBlock"), (2, "Other/IntervalBlock"), (3, "Other/IntervalBlock"))
    ]
    one, two = decode(feed(usage_point(), *meters, reading_type(), *blocks[:2])).energy
    assert [[each.energy_wh for each in series.readings] for series in (one, two)] == [[1.0], [2.0]]
    with pytest.raises(MalformedMessage, match=r"IntervalBlock/2.*IntervalBlock/3.*different readings"):
        decode(feed(usage_point(), *meters, reading_type(), *blocks))


def test_blocks_are_tied_by_the_reading_type_where_it_is_of_one_meter_reading() -> None:
    tied = entry("IntervalBlock", reading(MIDNIGHT, 4), self_link="IntervalBlock/1", related=["ReadingType/08"])
    start = [usage_point(), meter("01"), reading_type("07"), reading_type("08"), tied]
    one, two = decode(feed(*start, meter("02", reading_type="08"))).energy
    assert (len(one.readings), len(two.readings)) == (0, 1)
    with pytest.raises(MalformedMessage, match="belongs to none of the 3 meter readings"):
        decode(feed(*start, meter("02", reading_type="08"), meter("03", reading_type="08")))


def test_a_collection_that_two_meter_readings_claim_ties_nothing() -> None:
    meters = [
        entry("MeterReading", "", self_link=f"MeterReading/{number}", related=["ReadingType/07", "IntervalBlock"])
        for number in ("01", "02")
    ]
    stray = entry("IntervalBlock", reading(MIDNIGHT, 4), self_link="IntervalBlock/1", up="IntervalBlock")
    with pytest.raises(MalformedMessage, match="belongs to none of the 2 meter readings"):
        decode(feed(usage_point(), *meters, reading_type(), stray))


def test_a_block_that_no_meter_reading_claims_is_refused() -> None:
    stray = entry("IntervalBlock", reading(MIDNIGHT, 4), self_link="IntervalBlock/1", up="IntervalBlock")
    with pytest.raises(MalformedMessage, match=r"IntervalBlock/1' belongs to none of the 2 meter readings.*rel='up'"):
        decode(feed(usage_point(), meter("01"), meter("02"), reading_type(), stray))


def test_a_meter_reading_whose_type_is_not_known_is_refused() -> None:
    body = feed(usage_point(), meter(reading_type="9"), reading_type("07"), reading_type("08"))
    with pytest.raises(MalformedMessage, match=r"MeterReading/01' has no link rel='related' to one of the feed's 2"):
        decode(body)
    with pytest.raises(MalformedMessage, match="one of the feed's 0 reading types"):
        decode(feed(usage_point(), meter()))


def test_links_are_compared_without_host_query_and_slashes() -> None:
    body = feed(usage_point(), meter("01"), meter("02"), reading_type(), block([reading(MIDNIGHT, 4)], meter="02"))
    body = body.replace(b'rel="up" href="https://utility.example/', b'rel="up" href="/').replace(
        b'/IntervalBlock"/>', b'/IntervalBlock/?published-min=2025"/>'
    )
    one, two = decode(body).energy
    assert (len(one.readings), len(two.readings)) == (0, 1)


def test_of_several_local_times_the_one_linked_holds() -> None:
    elsewhere = local_time(-18_000).replace("LocalTimeParameters/01", "LocalTimeParameters/02")
    start = [meter(), reading_type(), block([reading(MIDNIGHT, 1)]), elsewhere, local_time()]
    linked = decode(feed(usage_point(), *start)).local_time
    assert linked is not None
    assert linked.tz_offset_s == -28_800
    assert decode(feed(usage_point(local_time="03"), *start)).local_time is None


def test_two_meter_readings_of_one_name_are_refused() -> None:
    with pytest.raises(MalformedMessage, match="there are two of meter reading '01'"):
        decode(feed(usage_point(), meter(), meter(), reading_type()))


def test_a_feed_without_electricity_at_all_is_refused() -> None:
    with pytest.raises(UnsupportedMessage, match="nothing to read"):
        decode(feed(usage_point()))


def _path(link: str) -> str:
    return f"DataCustodian/espi/1_1/resource/{link}"
