from collections.abc import Callable

import pytest

from protocols.errors import MalformedMessage, MessageTooLarge, UnsupportedMessage
from protocols.greenbutton import feed as reading_feeds
from protocols.greenbutton.codec import decode
from tests.greenbutton_feeds import (
    MIDNIGHT,
    block,
    entry,
    feed,
    local_time,
    meter,
    one_meter,
    quality,
    reading,
    reading_type,
    usage_point,
)

PLAIN = feed(
    usage_point(),
    local_time(),
    meter(),
    reading_type(),
    block([reading(MIDNIGHT, 1, more=quality(8)), reading(MIDNIGHT + 900, 2)]),
)


def prefixed(body: bytes, atom: bytes, espi: bytes) -> bytes:
    """The same feed with declared prefixes on every element."""
    head, *rest = body.split(b"<")
    inside_espi = False
    out = [head]
    for piece in rest:
        close = piece.startswith(b"/")
        name = piece.lstrip(b"/")
        opens = b"xmlns='http://naesb.org/espi'" in name
        inside_espi = inside_espi or opens
        prefix = espi if inside_espi else atom
        out.append((b"</" if close else b"<") + prefix + b":" + name.replace(b" xmlns='http://naesb.org/espi'", b""))
        if (close and name.split(b">")[0] in RESOURCES) or (opens and name.split(b">")[0].endswith(b"/")):
            inside_espi = False
    declared = b' xmlns:%s="http://www.w3.org/2005/Atom" xmlns:%s="http://naesb.org/espi">' % (atom, espi)
    return b"".join(out).replace(b' xmlns="http://www.w3.org/2005/Atom">', declared)


RESOURCES = (b"UsagePoint", b"MeterReading", b"ReadingType", b"IntervalBlock", b"LocalTimeParameters")


def spread(body: bytes) -> bytes:
    return body.replace(b"><", b">\n\t <").replace(b"<value>", b"<value>\n  ").replace(b"</start>", b" </start>")


def with_instructions(body: bytes) -> bytes:
    style = b"<?xml version='1.0' encoding='UTF-8'?>\n<?xml-stylesheet type='text/xsl' href='GreenButton.xslt'?>\n"
    return style + b"<!-- a sample -->\n" + body.replace(b"</start>", b"</start><!-- 1/1/2025 -->")


def with_summaries(body: bytes) -> bytes:
    others = [
        entry("ElectricPowerUsageSummary", "<currency>840</currency>", self_link="ElectricPowerUsageSummary/1"),
        entry("UsageSummary", "<qualityOfReading>14</qualityOfReading>"),
        entry("ElectricPowerQualitySummary", "<mainsVoltage>5</mainsVoltage>"),
        "<entry><title>nothing</title></entry>",
        "<entry><content>words</content></entry>",
        "<entry><content><Customer xmlns='http://naesb.org/espi/customer'><name>Ada</name></Customer></content></entry>",
    ]
    return body.replace(b"</feed>", "".join(others).encode() + b"</feed>")


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda body: prefixed(body, b"atom", b"espi"),
        lambda body: prefixed(body, b"ns0", b"ns1"),
        spread,
        with_instructions,
        with_summaries,
        lambda body: body.decode().replace("<feed", "<?xml version='1.0' encoding='utf-16'?><feed").encode("utf-16"),
    ],
)
def test_the_way_it_is_written_does_not_matter(rewrite: Callable[[bytes], bytes]) -> None:
    written = rewrite(PLAIN)
    assert written != PLAIN
    assert decode(written) == decode(PLAIN)
    assert decode(written).remarks == ()


def test_prefixes_are_really_written() -> None:
    written = prefixed(PLAIN, b"a", b"e")
    assert b"<e:IntervalReading>" in written
    assert b"<a:entry>" in written
    assert b"<entry" not in written


@pytest.mark.parametrize(
    ("body", "fault", "words"),
    [
        (b"", MalformedMessage, "empty"),
        (b"date,kWh\n", MalformedMessage, "not well-formed"),
        (PLAIN[:-40], MalformedMessage, "not well-formed"),
        (b"<feed/>", UnsupportedMessage, "root element is feed, expected atom:feed"),
        (b'<oadrPayload xmlns="http://openadr.org/oadr-2.0b/2012/07"/>', UnsupportedMessage, "expected atom:feed"),
        (b'<feed xmlns="http://www.w3.org/2005/Atom"/>', UnsupportedMessage, "without any Green Button resource"),
        (feed("<entry><content>x</content></entry>"), UnsupportedMessage, "without any Green Button resource"),
    ],
)
def test_what_is_no_feed_is_refused(body: bytes, fault: type[Exception], words: str) -> None:
    with pytest.raises(fault, match=words):
        decode(body)


def test_entities_are_not_expanded() -> None:
    body = b'<!DOCTYPE feed [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + PLAIN.replace(b"Hall 1", b"&x;")
    with pytest.raises(MalformedMessage, match="document type declaration"):
        decode(body)


def test_a_year_of_five_minutes_in_both_directions_is_read() -> None:
    count = 365 * 288
    days = [
        block(
            [reading(MIDNIGHT + 300 * n, n % 1000, duration=300) for n in range(day, day + 288)], f"{m}{day}", meter=m
        )
        for m in ("01", "02")
        for day in range(0, count, 288)
    ]
    body = feed(
        usage_point(),
        meter("01", reading_type="1"),
        meter("02", reading_type="2"),
        reading_type("1", intervalLength=300),
        reading_type("2", intervalLength=300, flowDirection=19),
        *days,
    )
    forward, reverse = decode(body).energy
    assert len(forward.readings) == len(reverse.readings) == count
    assert sum(each.energy_wh for each in forward.readings) == sum(n % 1000 for n in range(count))


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    body = one_meter(*(reading(MIDNIGHT + 900 * n, n) for n in range(20)))
    assert len(decode(body).energy[0].readings) == 20
    monkeypatch.setattr(reading_feeds, "MAX_ELEMENTS", 100)
    with pytest.raises(MessageTooLarge, match="elements, more than the 100"):
        decode(body)
    monkeypatch.setattr(reading_feeds, "MAX_MARKUP", 100)
    with pytest.raises(MessageTooLarge, match="opening brackets, more than the 100"):
        decode(body)
    monkeypatch.setattr(reading_feeds, "MAX_BYTES", 100)
    with pytest.raises(MessageTooLarge, match="bytes, more than the 100"):
        decode(body)


@pytest.mark.parametrize("kind", ["UsagePoint", "MeterReading", "ReadingType", "LocalTimeParameters"])
def test_the_number_of_resources_is_bounded(kind: str) -> None:
    entries = [entry(kind, "", self_link=f"{kind}/{number}") for number in range(1001)]
    with pytest.raises(MessageTooLarge, match=f"more than 1000 {kind} entries"):
        decode(feed(*entries))


def test_the_number_of_meters_that_blocks_imply_is_bounded() -> None:
    blocks = [block([], meter=str(number)) for number in range(1001)]
    assert len(decode(feed(reading_type(), *blocks[:1000])).energy) == 1000
    with pytest.raises(MessageTooLarge, match="more than 1000 meter readings"):
        decode(feed(reading_type(), *blocks))


def test_an_error_stays_short_whatever_the_feed_holds() -> None:
    body = feed(
        *(entry("MeterReading", "", self_link=f"MeterReading/{'x' * 5000}{number}") for number in range(300)),
        entry("ReadingType", "<uom>169</uom>"),
    )
    with pytest.raises(UnsupportedMessage, match="therms") as caught:
        decode(body)
    assert len(str(caught.value)) < 2100
