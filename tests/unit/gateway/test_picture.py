"""The picture of an event: it parses, says what it shows, and holds up with odd input."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.picture import event_picture
from gateway.svg import DELIVERED_COLOUR, MISSED_COLOUR, TARGET_COLOUR

SVG = "{http://www.w3.org/2000/svg}"
STARTS_AT = datetime(2026, 7, 14, 22, 30, tzinfo=UTC)
PHOENIX = ZoneInfo("America/Phoenix")


def draw(**changes: Any) -> str:
    """Ninety minutes at 100 kW with an event in the middle half hour that holds 75 kW."""
    time_s = [60.0 * minute for minute in range(91)]
    inside = [1800 <= at_s < 3600 for at_s in time_s]
    values: dict[str, Any] = {
        "title": "Event evt-1",
        "time_s": time_s,
        "site_w": [74_000.0 if held else 100_000.0 for held in inside],
        "target_w": [75_000.0 if held else None for held in inside],
        "baseline_w": [100_000.0 if held else None for held in inside],
        "starts_at": STARTS_AT,
        "timezone": PHOENIX,
        "event": (1800.0, 3600.0),
        "facts": ["Delivered 12.50 kWh."],
        **changes,
    }
    return event_picture(**values)


def flat(number: int, **changes: Any) -> str:
    """So many points a second apart, with nothing but site power unless the changes say otherwise."""
    values: dict[str, Any] = {
        "time_s": [float(second) for second in range(number)],
        "site_w": [5_000.0] * number,
        "target_w": [None] * number,
        "baseline_w": [None] * number,
        "event": None,
        "facts": [],
        **changes,
    }
    return draw(**values)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def coordinates(svg: str) -> list[tuple[float, float]]:
    found = re.findall(r"[ML ](-?\d+\.\d),(-?\d+\.\d)", "".join(re.findall(r' d="([^"]*)"', svg)))
    return [(float(x), float(y)) for x, y in found]


def test_it_names_itself_for_those_who_cannot_see_it() -> None:
    root = ET.fromstring(draw())
    assert root.get("role") == "img"
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == "Event evt-1"
    assert description.text == (
        "Site power in kilowatts over local time. Site power is 74.0 to 100.0 kW. The target is 75.0 kW. "
        "The event lasts 30 minutes. Delivered 12.50 kWh."
    )


def test_it_is_labelled_with_units_and_local_time() -> None:
    words = texts(draw())
    for label in (
        "Event evt-1",
        "Site power in kW (axis starts at 70 kW)",
        "Local time (America/Phoenix, MST)",
        "15:30",
        "16:00",
        "14 Jul 2026",
        "site power",
        "target",
        "baseline",
        "delivered",
        "event",
        "Delivered 12.50 kWh.",
    ):
        assert label in words
    assert "over baseline" not in words


def test_it_is_the_same_for_the_same_input() -> None:
    assert draw() == draw()


def test_everything_drawn_lies_within_the_frame() -> None:
    for x, y in coordinates(draw()):
        assert 76 <= x <= 924
        assert 92 <= y <= 432


def test_the_delivered_area_has_the_size_of_what_was_delivered() -> None:
    """25 kW below a stepped baseline of 100 kW: the outline's area against that of the axes tells the energy."""
    number = 101
    svg = flat(number, site_w=[75_000.0] * number, baseline_w=[100_000.0] * number, event=(0.0, 100.0))
    outline = re.search(rf'd="M([^"]*)Z" fill="{DELIVERED_COLOUR}"', svg)
    assert outline is not None
    points = [tuple(map(float, pair.split(","))) for pair in outline[1].split(" L")]
    area = abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1], strict=True))) / 2
    low, high = scale_kw(svg)
    assert area / ((924 - 76) * (432 - 92)) * (high - low) == pytest.approx(25.0, rel=0.01)


def scale_kw(svg: str) -> tuple[float, float]:
    """The lowest and the highest label of the axis of power."""
    ticks = [
        float((element.text or "").replace("\N{MINUS SIGN}", "-"))
        for element in ET.fromstring(svg).iter(f"{SVG}text")
        if element.get("text-anchor") == "end"
    ]
    return min(ticks), max(ticks)


def test_power_over_the_baseline_is_shown_as_such() -> None:
    number = 101
    svg = flat(number, site_w=[105_000.0] * number, baseline_w=[100_000.0] * number, event=(0.0, 100.0))
    assert "over baseline" in texts(svg)
    assert MISSED_COLOUR in svg
    assert DELIVERED_COLOUR not in svg


def test_a_target_is_drawn_in_steps() -> None:
    svg = flat(4, target_w=[4_000.0, 4_000.0, 3_000.0, 3_000.0])
    path = re.search(rf'd="([^"]*)" stroke="{TARGET_COLOUR}"', svg)
    assert path is not None
    assert "L" not in path[1]
    assert re.fullmatch(r"M[\d.]+,[\d.]+h3h-3(H[\d.]+V[\d.]+)+", path[1])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_few_points_are_enough(number: int) -> None:
    svg = flat(number)
    assert "Event evt-1" in texts(svg)
    assert ("No readings" in texts(svg)) == (number == 0)


def test_without_target_baseline_or_event_there_is_only_power() -> None:
    words = texts(flat(60))
    assert "site power" in words
    assert not {"target", "baseline", "delivered", "event"} & set(words)


def test_negative_power_lies_below_a_line_at_zero() -> None:
    svg = flat(3, site_w=[-20_000.0, 0.0, 30_000.0])
    assert "0" in texts(svg)
    assert scale_kw(svg)[0] <= -20.0
    assert "Site power in kW" in texts(svg)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_no_number_is_a_gap(value: float | None) -> None:
    svg = flat(5, site_w=[1_000.0, 1_000.0, value, 1_000.0, 1_000.0])
    path = re.search(r'class="line" d="([^"]*)" stroke="#0072b2"', svg)
    assert path is not None
    assert path[1].count("M") == 2
    assert "nan" not in svg
    assert "inf" not in svg


def test_many_points_are_thinned_and_no_spike_is_lost() -> None:
    number = 86_400
    site_w = [50_000.0 + second % 7 for second in range(number)]
    site_w[43_210] = 99_000.0
    svg = flat(number, site_w=site_w)
    places = coordinates(svg)
    assert len(places) <= 1_500
    low, high = scale_kw(svg)
    highest = min(y for _, y in places)
    assert high - (highest - 92) / (432 - 92) * (high - low) == pytest.approx(99.0, abs=0.1)


def test_hostile_words_are_escaped() -> None:
    evil = "</title><script>alert(1)</script>\x00\x1b & \ud800"
    svg = draw(title=evil, facts=[evil])
    root = ET.fromstring(svg)
    assert not list(root.iter(f"{SVG}script"))
    assert "</title><script>alert(1)</script> &" in texts(svg)
    svg.encode()


def test_long_facts_are_wrapped() -> None:
    fact = "word " * 60
    lines = [text for text in texts(draw(facts=[fact])) if text.startswith("word")]
    assert len(lines) == 3
    assert " ".join(lines) == fact.strip()


@pytest.mark.parametrize(
    ("seconds", "label", "gap_s"), [(30, "15:30:05", 5), (3_600, "15:40", 600), (86_400, "18:00", 10_800)]
)
def test_ticks_stand_at_round_local_times(seconds: int, label: str, gap_s: int) -> None:
    time_s = [0.0, float(seconds)]
    words = texts(flat(2, time_s=time_s))
    assert label in words
    ticks = [text for text in words if re.fullmatch(r"\d\d:\d\d(:\d\d)?", text)]
    assert len(ticks) in {seconds // gap_s, seconds // gap_s + 1}


def test_each_new_day_is_dated() -> None:
    assert {"14 Jul 2026", "15 Jul 2026"} <= set(texts(flat(2, time_s=[0.0, 86_400.0])))


@pytest.mark.parametrize("name", ["site_w", "target_w", "baseline_w"])
def test_series_of_unequal_length_are_refused(name: str) -> None:
    short: Sequence[float] = [1.0]
    with pytest.raises(ValueError, match="unequal length"):
        flat(3, **{name: short})
