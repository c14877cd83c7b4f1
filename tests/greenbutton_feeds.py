"""Green Button feeds as utilities write them, made by hand."""

from collections.abc import Iterable

FEED = '<feed xmlns="http://www.w3.org/2005/Atom">{}</feed>'
BASE = "https://utility.example/DataCustodian/espi/1_1/resource"
POINT = "RetailCustomer/3/UsagePoint/1"
MIDNIGHT = 1_735_718_400
"""2025-01-01T08:00:00Z, midnight in California."""


def entry(
    kind: str, inside: str, *, self_link: str = "", up: str = "", related: Iterable[str] = (), title: str = ""
) -> str:
    links = [("self", self_link), ("up", up), *(("related", link) for link in related)]
    return (
        "<entry><id>urn:uuid:0F3403E5-AFC3-4A86-B8A3-CA07334D67A9</id>"
        + "".join(f'<link rel="{rel}" href="{BASE}/{link}"/>' for rel, link in links if link)
        + f"<title>{title}</title><content><{kind} xmlns='http://naesb.org/espi'>{inside}</{kind}></content></entry>"
    )


def usage_point(point: str = POINT, *, service: int = 0, title: str = "Hall 1", local_time: str = "01") -> str:
    return entry(
        "UsagePoint",
        f"<ServiceCategory><kind>{service}</kind></ServiceCategory>",
        self_link=point,
        up=point.rpartition("/")[0],
        related=(f"{point}/MeterReading", f"LocalTimeParameters/{local_time}"),
        title=title,
    )


def meter(number: str = "01", *, point: str = POINT, reading_type: str = "07", title: str = "Energy") -> str:
    return entry(
        "MeterReading",
        "",
        self_link=f"{point}/MeterReading/{number}",
        up=f"{point}/MeterReading",
        related=(f"{point}/MeterReading/{number}/IntervalBlock", f"ReadingType/{reading_type}"),
        title=title,
    )


def reading_type(number: str = "07", **changes: int | None) -> str:
    said: dict[str, int | None] = {
        "accumulationBehaviour": 4,
        "commodity": 1,
        "flowDirection": 1,
        "intervalLength": 900,
        "kind": 12,
        "powerOfTenMultiplier": 0,
        "uom": 72,
        **changes,
    }
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in said.items() if value is not None)
    return entry("ReadingType", inside, self_link=f"ReadingType/{number}", up="ReadingType")


def reading(start: int | None, value: int | str | None, *, duration: int | None = 900, more: str = "") -> str:
    period = "" if duration is None else f"<duration>{duration}</duration>"
    period += "" if start is None else f"<start>{start}</start>"
    period = f"<timePeriod>{period}</timePeriod>" if period else ""
    inside = "" if value is None else f"<value>{value}</value>"
    return f"<IntervalReading>{more}{period}{inside}</IntervalReading>"


def quality(code: int) -> str:
    return f"<ReadingQuality><quality>{code}</quality></ReadingQuality>"


def block(
    readings: Iterable[str], number: str = "173", *, meter: str = "01", point: str = POINT, interval: str = ""
) -> str:
    return entry(
        "IntervalBlock",
        interval + "".join(readings),
        self_link=f"{point}/MeterReading/{meter}/IntervalBlock/{number}",
        up=f"{point}/MeterReading/{meter}/IntervalBlock",
    )


def interval(start: int, duration: int = 86_400) -> str:
    return f"<interval><duration>{duration}</duration><start>{start}</start></interval>"


def local_time(offset_s: int = -28_800, rule: str = "360E2000") -> str:
    return entry(
        "LocalTimeParameters",
        f"<dstEndRule>B40E2000</dstEndRule><dstOffset>3600</dstOffset><dstStartRule>{rule}</dstStartRule>"
        f"<tzOffset>{offset_s}</tzOffset>",
        self_link="LocalTimeParameters/01",
        up="LocalTimeParameters",
    )


def feed(*entries: str) -> bytes:
    return FEED.format("".join(entries)).encode()


def one_meter(*readings: str, **changes: int | None) -> bytes:
    """A feed of one meter with one block of these readings; the reading type changed as said."""
    return feed(usage_point(), meter(), reading_type(**changes), block(readings))
