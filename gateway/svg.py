"""What our pictures are drawn with: one tag and style, colours, words, axes and legends, as pieces of SVG.

The same input gives the same picture, so nothing here asks the locale. The colours are Okabe and Ito's, which people
with any kind of colour vision tell apart (https://jfly.uni-koeln.de/color/); line styles differ too, for print in black
and white.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from zoneinfo import ZoneInfo

SITE_COLOUR = "#0072b2"
TARGET_COLOUR = "#d55e00"
BASELINE_COLOUR = "#444444"
DELIVERED_COLOUR = "#009e73"
MISSED_COLOUR = "#cc79a7"
EVENT_COLOUR = "#f0f1f4"

TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)

MINUS = "\N{MINUS SIGN}"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_TAG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
    'role="img" aria-labelledby="title desc">'
)

_STYLE = """
text { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; fill: #333 }
.title { font-size: 20px; font-weight: 600; fill: #111 }
.fact { font-size: 14px }
.label { fill: #555 }
.grid { stroke: #e3e3e3; stroke-width: 1 }
.axis { stroke: #888; stroke-width: 1 }
.line { fill: none; stroke-linejoin: round }
"""

_LETTER = 7.2
"""About the width of a letter, for what stands beside words."""


def document(*, width: int, height: int, title: str, description: str, parts: Iterable[str]) -> str:
    """A picture on white with a name and a description for those who cannot see it."""
    return "\n".join(
        [
            _TAG.format(width=width, height=height),
            f'<title id="title">{xml_text(title)}</title>',
            f'<desc id="desc">{xml_text(description)}</desc>',
            f"<style>{_STYLE}</style>",
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def clean(text: str) -> str:
    """The text without the characters that XML 1.0 cannot carry, in one line."""
    return " ".join(_NOT_IN_XML.sub("", text).split())


def xml_text(text: str) -> str:
    """The text as it stands in an element: one line, escaped, without what XML cannot carry."""
    return escape(clean(text))


def nice_step(step: float) -> float:
    """The next round number: 1, 2 or 5 times a power of ten."""
    magnitude = 10.0 ** math.floor(math.log10(step))
    return next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= step * 0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A drawing area, in pixels, with the scale of its values upwards and the distance of their ticks."""

    left: float
    right: float
    top: float
    bottom: float
    low: float
    high: float
    step: float

    def y(self, value: float) -> float:
        """Where a value lies; one outside of the scale lies at its edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.bottom - share * (self.bottom - self.top)

    def decimals(self, least: int = 0) -> int:
        """How many decimals its ticks need."""
        return max(least, -math.floor(math.log10(self.step) + 1e-9))

    def axis(self, label: str, *, label_x: float, decimals: int = 0) -> Iterator[str]:
        """Grid lines with their values, darker at zero, and along them what the values are."""
        places = self.decimals(decimals)
        for tick in range(round((self.high - self.low) / self.step) + 1):
            value = round(self.low + tick * self.step, places) or 0.0
            y = self.y(value)
            words = f"{value:,.{places}f}".replace("-", MINUS)
            yield line("axis" if value == 0.0 else "grid", self.left, y, self.right, y)
            yield f'<text x="{self.left - 8:g}" y="{y + 4.5:.1f}" text-anchor="end">{words}</text>'
        middle = (self.top + self.bottom) / 2
        yield (
            f'<text class="label" transform="translate({label_x:g} {middle:.0f}) rotate(-90)" text-anchor="middle">'
            f"{xml_text(label)}</text>"
        )

    def band(self, left: float, right: float, colour: str = EVENT_COLOUR) -> str:
        """A stretch of it, all the way up."""
        return (
            f'<rect x="{left:.1f}" y="{self.top:g}" width="{right - left:.1f}" height="{self.bottom - self.top:g}"'
            f' fill="{colour}"/>'
        )


def line(style: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """A straight line of an axis or a grid."""
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A round local time: how many seconds after the picture's zero, and its words."""

    at_s: float
    local: datetime
    words: str


def local_ticks(from_s: float, to_s: float, zero: datetime, timezone: ZoneInfo, *, most: int) -> list[Tick]:
    """So many ticks at the most, at round times of the zone."""

    def local(time_s: float) -> datetime:
        return (zero + timedelta(seconds=time_s)).astimezone(timezone)

    span_s = to_s - from_s
    step_s = next((step for step in TICK_STEPS_S if span_s / step <= most), None)
    if step_s is None:
        step_s = math.ceil(span_s / 86400 / most) * 86400
    first = local(from_s)
    since_midnight_s = first.hour * 3600 + first.minute * 60 + first.second + first.microsecond / 1e6
    at_s = from_s + (-since_midnight_s) % step_s
    ticks: list[Tick] = []
    while at_s <= to_s + 1e-6:
        at = local(at_s)
        ticks.append(Tick(at_s=at_s, local=at, words=f"{at:%H:%M:%S}" if step_s < 60 else f"{at:%H:%M}"))
        at_s += step_s
    return ticks


def day(at: datetime) -> str:
    """A date in words, but for the year."""
    return f"{at.day} {MONTHS[at.month - 1]}"


def tick_mark(x: float, y: float, words: str) -> Iterator[str]:
    """A tick under an axis of time."""
    yield line("axis", x, y, x, y + 6)
    yield under(x, y + 21, words)


def under(x: float, y: float, words: str, *, style: str = "") -> str:
    """Words in the middle of a place."""
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{x:.1f}" y="{y:g}" text-anchor="middle">{xml_text(words)}</text>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """How one thing is painted, and what the legend calls it."""

    words: str
    paint: str
    filled: bool = False


def legend(keys: Iterable[Key], *, x: float, y: float) -> Iterator[str]:
    """One row: what is drawn how. ``y`` is the middle of it."""
    for key in keys:
        if key.filled:
            yield f'<rect x="{x:.0f}" y="{y - 7:g}" width="26" height="14" {key.paint}/>'
        else:
            yield f'<path class="line" d="M{x:.0f},{y:g}h26" {key.paint}/>'
        yield f'<text x="{x + 33:.0f}" y="{y + 4.5:g}">{xml_text(key.words)}</text>'
        x += 33 + _LETTER * len(key.words) + 26


def facts(lines: Iterable[str], *, x: float, y: float, leading: float) -> Iterator[str]:
    """Sentences under a drawing, a line each."""
    for row, words in enumerate(lines):
        yield f'<text class="fact" x="{x:g}" y="{y + leading * row:g}">{xml_text(words)}</text>'
