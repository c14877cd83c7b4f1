"""The parts of our pictures."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.svg import Key, Panel, document, legend, local_ticks, nice_step, xml_text

PHOENIX = ZoneInfo("America/Phoenix")
PANEL = Panel(left=80.0, right=900.0, top=100.0, bottom=300.0, low=-1.0, high=1.0, step=0.5)


@pytest.mark.parametrize(
    ("step", "nice"), [(0.03, 0.05), (0.9, 1.0), (1.0, 1.0), (1.1, 2.0), (4.0, 5.0), (60.0, 100.0)]
)
def test_a_nice_step_is_the_next_round_number(step: float, nice: float) -> None:
    assert nice_step(step) == pytest.approx(nice)


def test_a_value_out_of_scale_lies_at_the_edge() -> None:
    assert [PANEL.y(value) for value in (-1.0, 0.0, 1.0, 7.0)] == [300.0, 200.0, 100.0, 100.0]


def test_an_axis_names_each_tick_and_is_darker_at_zero() -> None:
    drawn = "".join(PANEL.axis("Off target, %", label_x=24))
    for words in ("\N{MINUS SIGN}1.0", "\N{MINUS SIGN}0.5", "0.0", "0.5", "1.0"):
        assert f">{words}<" in drawn
    assert drawn.count('class="axis"') == 1
    assert "Off target, %" in drawn


def test_ticks_stand_at_round_times_of_the_zone() -> None:
    zero = datetime(2026, 7, 15, 22, 7, tzinfo=UTC)
    ticks = local_ticks(0.0, 7200.0, zero, PHOENIX, most=10)
    assert [tick.words for tick in ticks[:3]] == ["15:15", "15:30", "15:45"]
    assert ticks[0].at_s == 480.0
    assert len(ticks) <= 10
    assert [tick.words for tick in local_ticks(0.0, 60.0, zero, PHOENIX, most=10)][:2] == ["15:07:00", "15:07:10"]


def test_a_legend_sets_each_entry_after_the_one_before() -> None:
    lines = list(legend([Key(words="one", paint=""), Key(words="two", paint="", filled=True)], x=10.0, y=50.0))
    assert lines[0].startswith('<path class="line" d="M10,50h26"')
    assert lines[2].startswith('<rect x="91" y="43"')


def test_a_document_parses_and_names_itself_whatever_it_is_called() -> None:
    root = ET.fromstring(document(width=10, height=20, title="<a> & \x00b", description="c", parts=["<g/>"]))
    assert (root.get("viewBox"), root.get("role")) == ("0 0 10 20", "img")
    assert root[0].text == "<a> & b"
    assert xml_text("a\n<b>") == "a &lt;b&gt;"
