"""The chart of a report: baseline, target and meter as steps, the price under them on the same time.

Every line is named where it ends, so that nobody has to look for a legend; line styles differ, for print in grey.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from gateway.domain.report.document import Chart, ChartSpan, Report, number_text
from gateway.svg import (
    BASELINE_COLOUR,
    DELIVERED_COLOUR,
    SITE_COLOUR,
    TARGET_COLOUR,
    Panel,
    day,
    document,
    line,
    local_ticks,
    nice_step,
    tick_mark,
    under,
    xml_text,
)

WIDTH, HEIGHT = 740, 456
LEFT, RIGHT = 68, 612
TOP, BOTTOM = 34, 290
PRICE_TOP, PRICE_BOTTOM = 324, 392
NAME_LEADING = 17.0
MOST_TICKS = 7

_WORDS, _WORDS_HEIGHT = 120.0, 24.0
"""So much room the words in the area take."""

_HALO = 'stroke="#fff" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'
_STRONG = f'style="font-size: 15px; font-weight: 600; fill: #00664a" {_HALO}'

_PAINT = {
    "baseline": f'stroke="{BASELINE_COLOUR}" stroke-width="2" stroke-dasharray="8 5"',
    "target": f'stroke="{TARGET_COLOUR}" stroke-width="1.6" stroke-dasharray="2 4"',
    "meter": f'stroke="{SITE_COLOUR}" stroke-width="2.6"',
    "price": 'stroke="#333" stroke-width="2"',
}


def chart_svg(report: Report) -> str | None:
    """An SVG document, ``None`` where there is nothing to draw."""
    chart = report.chart
    if chart is None:
        return None
    return document(
        width=WIDTH,
        height=HEIGHT,
        title=report.title,
        description=chart.description,
        parts=_parts(chart, report),
    )


def _parts(chart: Chart, report: Report) -> Iterator[str]:
    first, last = chart.spans[0].starts_at, max(span.ends_at for span in chart.spans)
    length_s = (last - first).total_seconds()

    def x(span_s: float) -> float:
        return LEFT + span_s / length_s * (RIGHT - LEFT)

    def second(span: ChartSpan) -> tuple[float, float]:
        return x((span.starts_at - first).total_seconds()), x((span.ends_at - first).total_seconds())

    named: dict[str, Callable[[ChartSpan], float | None]] = {
        "baseline": lambda span: _kw(span.baseline_w),
        "target": lambda span: _kw(span.target_w),
        "meter": lambda span: _kw(span.metered_w),
    }
    values = {name: [value(span) for span in chart.spans] for name, value in named.items()}
    prices = [None if span.price is None else float(span.price) for span in chart.spans]
    power = _panel([value for series in values.values() for value in series], TOP, BOTTOM, steps=5)
    money = _panel(prices, PRICE_TOP, PRICE_BOTTOM, steps=2)
    places = [second(span) for span in chart.spans]
    begins, ends = (x((at - first).total_seconds()) for at in (chart.event_start, chart.event_end))
    yield power.band(begins, ends)
    yield money.band(begins, ends)
    yield under((begins + ends) / 2, TOP - 8, "event", style="label")
    yield from power.axis("Power in kW", label_x=20)
    yield from money.axis(chart.price_unit, label_x=20)
    yield from _filled(places, values["baseline"], values["meter"], power)
    for name, series in values.items():
        yield _steps(places, series, power, _PAINT[name])
    yield _steps(places, prices, money, _PAINT["price"])
    yield from _written(chart.reduction, places, values["baseline"], values["meter"], power)
    yield from _names(values, places, power)
    yield from _price_name(prices, places, money)
    yield from _times(report, length_s, x)


def _kw(value_w: float | None) -> float | None:
    return None if value_w is None or not math.isfinite(value_w) else value_w / 1000


def _panel(values: Sequence[float | None], top: float, bottom: float, *, steps: int) -> Panel:
    """From 0, or from below it, up to over the highest."""
    known = [value for value in values if value is not None]
    low, high = min([0.0, *known]), max([0.0, *known])
    step = nice_step(max(high - low, 1e-6) / steps)
    return Panel(
        left=LEFT,
        right=RIGHT,
        top=top,
        bottom=bottom,
        low=math.floor(low / step) * step,
        high=max(math.ceil((high + step / 10) / step) * step, step),
        step=step,
    )


def _steps(places: Sequence[tuple[float, float]], values: Sequence[float | None], panel: Panel, paint: str) -> str:
    parts: list[str] = []
    before: float | None = None
    for (left, right), value in zip(places, values, strict=True):
        if value is not None:
            parts.append(f"M{left:.1f},{panel.y(value):.1f}" if before is None else f"V{panel.y(value):.1f}")
            parts.append(f"H{right:.1f}")
        before = value
    return f'<path class="line" d="{"".join(parts)}" {paint}/>' if parts else ""


def _filled(
    places: Sequence[tuple[float, float]],
    baseline: Sequence[float | None],
    meter: Sequence[float | None],
    panel: Panel,
) -> Iterator[str]:
    """The reduction: between baseline and meter, where less was taken."""
    for (left, right), high, low in zip(places, baseline, meter, strict=True):
        if high is not None and low is not None and low < high:
            top, bottom = panel.y(high), panel.y(low)
            yield (
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
                f'fill="{DELIVERED_COLOUR}" fill-opacity="0.22"/>'
            )


def _written(
    words: str,
    places: Sequence[tuple[float, float]],
    baseline: Sequence[float | None],
    meter: Sequence[float | None],
    panel: Panel,
) -> Iterator[str]:
    """The reduction in words where it is seen: in the middle of its area where that is high enough, else over it."""
    known = [
        (place, panel.y(high), panel.y(low))
        for place, high, low in zip(places, baseline, meter, strict=True)
        if high is not None and low is not None
    ]
    if not words or not known:
        return
    middle = (known[0][0][0] + known[-1][0][1]) / 2
    inside = [(top, bottom) for (left, right), top, bottom in known if abs((left + right) / 2 - middle) < _WORDS / 2]
    top, bottom = max((top for top, _ in inside), default=0.0), min((bottom for _, bottom in inside), default=0.0)
    y = (top + bottom) / 2 + 5 if bottom - top >= _WORDS_HEIGHT else min(top for _, top, _ in known) - 26
    yield f'<text x="{middle:.1f}" y="{y:.1f}" text-anchor="middle" {_STRONG}>{xml_text(words)}</text>'


def _names(
    values: Mapping[str, Sequence[float | None]], places: Sequence[tuple[float, float]], panel: Panel
) -> Iterator[str]:
    """Each line's name and a value: at its end where that is the picture's, pushed apart where two would overlap.

    A line that ends with the event is named at its beginning, the baseline over it and others under it: the meter goes
    on and would run through a name at the end.
    """
    at_edge = []
    for name, series in values.items():
        known = [(place, value) for place, value in zip(places, series, strict=True) if value is not None]
        if not known:
            continue
        if known[-1][0] == places[-1]:
            at_edge.append((panel.y(known[-1][1]), name, known[-1][1]))
        else:
            (left, _), value = known[0]
            y = panel.y(value) + (-8 if name == "baseline" else 16)
            yield _name(left + 4, y, f"{name} {number_text(value, 1)} kW")
    lowest = -math.inf
    for wanted, name, value in sorted(at_edge):
        lowest = max(wanted + 4.5, lowest + NAME_LEADING)
        yield _name(RIGHT + 8, lowest, f"{name} {number_text(value, 1)} kW")


def _price_name(prices: Sequence[float | None], places: Sequence[tuple[float, float]], panel: Panel) -> Iterator[str]:
    known = [(right, price) for (_, right), price in zip(places, prices, strict=True) if price is not None]
    if known:
        yield _name(known[-1][0] + 8, panel.y(known[-1][1]) + 4.5, f"price {known[-1][1]:g}")


def _name(x: float, y: float, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {_HALO}>{xml_text(words)}</text>'


def _times(report: Report, length_s: float, x: Callable[[float], float]) -> Iterator[str]:
    if report.chart is None:
        return
    zero = report.chart.spans[0].starts_at
    yield line("axis", LEFT, PRICE_BOTTOM, RIGHT, PRICE_BOTTOM)
    dated = None
    for tick in local_ticks(0.0, length_s, zero, report.timezone, most=MOST_TICKS):
        yield from tick_mark(x(tick.at_s), PRICE_BOTTOM, tick.words)
        if tick.local.date() != dated:
            dated = tick.local.date()
            yield under(x(tick.at_s), PRICE_BOTTOM + 38, f"{day(tick.local)} {tick.local.year}", style="label")
    zone = f"Local time ({report.timezone.key}, {zero.astimezone(report.timezone):%z})"
    yield under((LEFT + RIGHT) / 2, PRICE_BOTTOM + 62, zone, style="label")
