"""The chart of a report: baseline, target and meter as steps, the price under them on the same time.

Every line is named where it ends, so that nobody has to look for a legend; line styles differ, for print in grey.
"""

import math
from collections.abc import Callable, Iterator, Sequence

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
    yield from _names(values, power)
    yield from _names({"price": prices}, money)
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


def _names(values: dict[str, list[float | None]], panel: Panel) -> Iterator[str]:
    """Each line's name and last value at its end, pushed apart where two would overlap."""
    last = {name: next((one for one in reversed(series) if one is not None), None) for name, series in values.items()}
    ends = sorted((panel.y(value), name, value) for name, value in last.items() if value is not None)
    y = -math.inf
    for wanted, name, value in ends:
        y = max(wanted + 4.5, y + NAME_LEADING)
        words = f"{name} {number_text(value, 1)} kW" if name != "price" else f"price {value:g}"
        yield f'<text x="{RIGHT + 8}" y="{y:.1f}">{xml_text(words)}</text>'


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
