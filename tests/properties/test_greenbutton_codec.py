"""decode(encode(x)) == x, what we write is what the schema allows, and any bytes are read or refused."""

import contextlib
import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openleadr
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from protocols.errors import MessageError
from protocols.greenbutton import model
from protocols.greenbutton.codec import decode, encode
from tests.greenbutton_feeds import MIDNIGHT, block, feed, local_time, meter, reading, reading_type, usage_point

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=12).map(str.strip)
identities = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable()) | st.sampled_from(
    ["MeterReading", "UsagePoint", "IntervalBlock", "..", "a/b?c#d", " ", "%2F", "urn:uuid:1"]
)
qualities = st.sampled_from(model.Quality)
values = st.integers(-(1 << 47) + 1, (1 << 47) - 1) | st.integers(-1000, 1000)
FIRST = datetime(1900, 1, 1, tzinfo=UTC)
RULES = st.integers(0, (1 << 32) - 1).map("{:08X}".format)


def scaled(value: int, power: int) -> float:
    return float(value * 10**power) if power >= 0 else value / 10**-power


@st.composite
def spans(draw: st.DrawFn, shortest_s: int) -> list[tuple[datetime, int]]:
    """Starts and durations in order of time, with and without gaps."""
    at = FIRST + timedelta(seconds=draw(st.integers(0, 200 * 365 * 86_400)))
    found = []
    for _ in range(draw(st.integers(0, 6))):
        duration_s = draw(st.sampled_from([300, 900, 3600, 86_400, 5_000_000]) | st.integers(shortest_s, 10_000))
        found.append((at, duration_s))
        at += timedelta(seconds=max(duration_s, 1) + draw(st.sampled_from([0, 0, 1, 900, 200_000])))
    return found


types = st.builds(
    model.ReadingType,
    flow=st.sampled_from(model.Flow),
    interval_s=st.none() | st.integers(1, (1 << 32) - 1),
    power_of_ten=st.integers(-12, 12),
    primary_metered=st.booleans(),
    tou=st.integers(-(1 << 15), (1 << 15) - 1),
    consumption_tier=st.integers(0, 5),
)


@st.composite
def series(draw: st.DrawFn, kind: type, meter_id: str) -> object:
    of = draw(types)
    common = {"meter_id": meter_id, "title": draw(texts), "type": of}
    numbers = values.map(lambda value: scaled(value, of.power_of_ten))
    if kind is model.EnergySeries:
        return model.EnergySeries(
            **common,
            readings=tuple(
                model.IntervalReading(
                    starts_at=at, duration_s=duration_s, energy_wh=draw(numbers), quality=draw(qualities)
                )
                for at, duration_s in draw(spans(1))
            ),
        )
    if kind is model.PowerSeries:
        return model.PowerSeries(
            **common,
            statistic=draw(st.sampled_from(model.Statistic)),
            readings=tuple(
                model.PowerReading(starts_at=at, duration_s=duration_s, power_w=draw(numbers), quality=draw(qualities))
                for at, duration_s in draw(spans(0))
            ),
        )
    return model.RegisterSeries(
        **common,
        readings=tuple(
            model.RegisterReading(read_at=at, register_wh=draw(numbers), quality=draw(qualities))
            for at, _ in draw(spans(0))
        ),
    )


@st.composite
def usage_data(draw: st.DrawFn) -> model.UsageData:
    names = draw(st.lists(identities, min_size=1, max_size=4, unique=True))
    kinds = [draw(st.sampled_from([model.EnergySeries, model.PowerSeries, model.RegisterSeries])) for _ in names]
    made = [draw(series(kind, name)) for kind, name in zip(kinds, names, strict=True)]
    return model.UsageData(
        usage_point_id=draw(identities),
        title=draw(texts),
        energy=tuple(each for each in made if isinstance(each, model.EnergySeries)),
        power=tuple(each for each in made if isinstance(each, model.PowerSeries)),
        registers=tuple(each for each in made if isinstance(each, model.RegisterSeries)),
        local_time=draw(
            st.none()
            | st.builds(
                model.LocalTime,
                tz_offset_s=st.integers(-86_399, 86_399),
                dst_offset_s=st.integers(0, 7200),
                dst_start_rule=RULES,
                dst_end_rule=RULES,
            )
        ),
        remarks=draw(st.sampled_from([(), ("not written",)])),
    )


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    """Atom and ESPI 0.7.20121113, as OpenADR 2.0b's schema set has them."""
    return etree.XMLSchema(etree.parse(Path(openleadr.__file__).parent / "schema" / "oadr_greenbutton.xsd"))


def test_what_is_written_is_read_the_same_and_valid(schema: etree.XMLSchema) -> None:
    @QUICK
    @given(usage_data())
    def holds(data: model.UsageData) -> None:
        body = encode(data)
        schema.assertValid(etree.fromstring(body))
        assert decode(body) == data
        assert encode(decode(body)) == body

    holds()


ATOM, ESPI = "http://www.w3.org/2005/Atom", "http://naesb.org/espi"


def written_otherwise(body: bytes, prefixes: tuple[str | None, str], order: list[int], blanks: str) -> bytes:
    """The same feed with prefixes and blanks of another writer, its blocks and other entries in another order."""
    read = etree.fromstring(body)
    entries = read.findall(f"{{{ATOM}}}entry")
    # Meter readings keep their order: it is the order of the series.
    places = [place for place, entry in enumerate(entries) if entry.find(f".//{{{ESPI}}}MeterReading") is None]
    for place, other in zip(places, sorted(places, key=lambda place: order[place % len(order)]), strict=True):
        read.replace(read.findall(f"{{{ATOM}}}entry")[place], copy.deepcopy(entries[other]))
    root = etree.Element(read.tag, nsmap=dict(zip(prefixes, (ATOM, ESPI), strict=True)))
    rebuild(read, root, blanks)
    return etree.tostring(root, encoding="utf-16" if blanks else "utf-8")


def rebuild(source: etree._Element, target: etree._Element, blanks: str) -> None:
    for child in source:
        made = etree.SubElement(target, child.tag, dict(child.attrib))
        made.text, made.tail = blanks + (child.text or "") + blanks, blanks
        rebuild(child, made, blanks)


@QUICK
@given(
    usage_data(),
    st.sampled_from([(None, "espi"), ("atom", "espi"), ("ns0", "ns1")]),
    st.lists(st.integers(0, 99), min_size=1, max_size=9),
    st.sampled_from(["", " ", "\n\t "]),
)
def test_prefixes_order_and_blanks_do_not_matter(
    data: model.UsageData, prefixes: tuple[str | None, str], order: list[int], blanks: str
) -> None:
    written = written_otherwise(encode(data), prefixes, order, blanks)
    assert decode(written) == data


MADE_BY_HAND = feed(
    usage_point(title="Hall <1>".replace("<", "&lt;")),
    local_time(),
    meter(),
    reading_type(powerOfTenMultiplier=-3),
    block([reading(MIDNIGHT + 900 * n, n) for n in range(3)]),
)


@QUICK
@given(st.integers(0, len(MADE_BY_HAND) - 1), st.integers(0, 255))
def test_a_feed_with_one_byte_changed_is_read_or_refused(place: int, byte: int) -> None:
    body = bytearray(MADE_BY_HAND)
    body[place] = byte
    # Any other exception fails the test.
    with contextlib.suppress(MessageError):
        decode(bytes(body))


@QUICK
@given(st.integers(0, len(MADE_BY_HAND) - 1))
def test_a_feed_cut_off_is_refused(length: int) -> None:
    with pytest.raises(MessageError):
        decode(MADE_BY_HAND[:length])


@QUICK
@given(st.data())
def test_a_feed_with_parts_left_out_or_twice_is_read_or_refused(data: st.DataObject) -> None:
    root = etree.fromstring(MADE_BY_HAND)
    elements = list(root.iter())[1:]
    for element in data.draw(st.lists(st.sampled_from(elements), min_size=1, max_size=4, unique=True)):
        parent = element.getparent()
        if parent is not None:
            if data.draw(st.booleans()):
                parent.remove(element)
            else:
                element.text = data.draw(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=6))
    with contextlib.suppress(MessageError):
        decode(etree.tostring(root))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        decode(body)
