"""A picture of one event, for people who were not there: an SVG that we draw ourselves, the same for the same input.

Kilowatts upwards, the site's local time to the right.
"""

import math
import textwrap
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain, pairwise
from zoneinfo import ZoneInfo

from gateway.svg import (
    BASELINE_COLOUR,
    DELIVERED_COLOUR,
    EVENT_COLOUR,
    MISSED_COLOUR,
    SITE_COLOUR,
    TARGET_COLOUR,
    Key,
    Panel,
    clean,
    day,
    document,
    legend,
    line,
    local_ticks,
    nice_step,
    tick_mark,
    under,
    xml_text,
)
from gateway.svg import facts as facts_of

WIDTH = 960
PLOT_LEFT, PLOT_RIGHT = 76, 924
PLOT_TOP, PLOT_BOTTOM = 92, 432
FACTS_TOP = 528
FACT_LEADING = 22
FACT_CHARACTERS = 100

MOST_BUCKETS = 600
"""Of time, each drawn by its lowest and highest power: about two points a pixel, and no spike gets lost."""

MOST_STEPS = 300
"""Changes of target or baseline that are drawn where they happened; more of them fall on the buckets."""

MOST_TICKS = 9
_KEYS = {
    "site": Key(words="site power", paint=f'stroke="{SITE_COLOUR}" stroke-width="1.8" stroke-linecap="round"'),
    "target": Key(words="target", paint=f'stroke="{TARGET_COLOUR}" stroke-width="2.4"'),
    "baseline": Key(words="baseline", paint=f'stroke="{BASELINE_COLOUR}" stroke-width="1.8" stroke-dasharray="7 5"'),
    "delivered": Key(words="delivered", paint=f'fill="{DELIVERED_COLOUR}" fill-opacity="0.28"', filled=True),
    "missed": Key(words="over baseline", paint=f'fill="{MISSED_COLOUR}" fill-opacity="0.45"', filled=True),
    "event": Key(words="event", paint=f'fill="{EVENT_COLOUR}" stroke="#c9ccd4"', filled=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale(Panel):
    """From seconds and kilowatts to places in the drawing."""

    first_s: float
    last_s: float

    def x(self, time_s: float) -> float:
        share = (time_s - self.first_s) / (self.last_s - self.first_s)
        return self.left + share * (self.right - self.left)

    def at(self, time_s: float, power_kw: float) -> str:
        return f"{self.x(time_s):.1f},{self.y(power_kw):.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curves:
    """The three series at the chosen instants, in kilowatts; ``None`` where there is no value."""

    time_s: tuple[float, ...]
    site_kw: tuple[float | None, ...]
    target_kw: tuple[float | None, ...]
    baseline_kw: tuple[float | None, ...]

    def values_kw(self) -> list[float]:
        return [value for value in chain(self.site_kw, self.target_kw, self.baseline_kw) if value is not None]


def event_picture(
    *,
    title: str,
    time_s: Sequence[float],
    site_w: Sequence[float | None],
    target_w: Sequence[float | None],
    baseline_w: Sequence[float | None],
    starts_at: datetime,
    timezone: ZoneInfo,
    event: tuple[float, float] | None,
    facts: Sequence[str],
) -> str:
    """An SVG document of site power against target and baseline.

    ``time_s`` rises, in seconds from ``starts_at`` (aware); each value holds until the next one. ``None`` or nan is no
    value. ``event`` is where the event begins and ends, in the same seconds: between baseline and site power, that span
    is filled. ``facts`` stand under the drawing, a line each. Raises ``ValueError`` for series of unequal length.
    """
    if not len(time_s) == len(site_w) == len(target_w) == len(baseline_w):
        raise ValueError(
            f"series of unequal length: {len(time_s)} times, {len(site_w)} of site power, {len(target_w)} targets, "
            f"{len(baseline_w)} of the baseline"
        )
    curves = _thinned(time_s, site_w, target_w, baseline_w, event)
    scale = _scale(curves, event)
    notes = [row for fact in facts for row in textwrap.wrap(clean(fact), FACT_CHARACTERS)]
    keys, shapes = _drawing(curves, scale, event)
    start = "" if scale.low <= 0 <= scale.high else f" (axis starts at {scale.low:,.{scale.decimals()}f} kW)"
    return document(
        width=WIDTH,
        height=FACTS_TOP + FACT_LEADING * len(notes) + 14,
        title=title,
        description=_description(curves, event, facts),
        parts=[
            f'<text class="title" x="{PLOT_LEFT}" y="40">{xml_text(title)}</text>',
            *(() if event is None else (scale.band(scale.x(event[0]), scale.x(event[1])),)),
            *scale.axis(f"Site power in kW{start}", label_x=22),
            *_time_axis(scale, starts_at, timezone),
            *shapes,
            *legend([_KEYS[name] for name in _KEYS if name in keys], x=PLOT_LEFT, y=68),
            *facts_of(notes, x=PLOT_LEFT, y=FACTS_TOP, leading=FACT_LEADING),
        ],
    )


def _kilowatts(value_w: float | None) -> float | None:
    return None if value_w is None or not math.isfinite(value_w) else value_w / 1000.0


def _thinned(
    time_s: Sequence[float],
    site_w: Sequence[float | None],
    target_w: Sequence[float | None],
    baseline_w: Sequence[float | None],
    event: tuple[float, float] | None,
) -> _Curves:
    """The series at few enough instants to draw: extremes of site power, changes of the others, the event's edges."""
    site_kw = [_kilowatts(value) for value in site_w]
    target_kw = [_kilowatts(value) for value in target_w]
    baseline_kw = [_kilowatts(value) for value in baseline_w]
    chosen = extremes(site_kw) | _changes(target_kw) | _changes(baseline_kw)
    if event is not None and time_s:
        chosen |= {min(bisect_left(time_s, edge), len(time_s) - 1) for edge in event}
    order = sorted(chosen)
    return _Curves(
        time_s=tuple(time_s[index] for index in order),
        site_kw=tuple(site_kw[index] for index in order),
        target_kw=tuple(target_kw[index] for index in order),
        baseline_kw=tuple(baseline_kw[index] for index in order),
    )


def extremes(values: Sequence[float | None]) -> set[int]:
    """First, last, and in each bucket the lowest, the highest and the first gap."""
    if not values:
        return set()
    size = max(1, math.ceil(len(values) / MOST_BUCKETS))
    chosen = {0, len(values) - 1}
    for start in range(0, len(values), size):
        bucket = range(start, min(start + size, len(values)))
        known = [(value, index) for index in bucket if (value := values[index]) is not None]
        if known:
            chosen |= {min(known)[1], max(known)[1]}
        if len(known) < len(bucket):
            chosen.add(next(index for index in bucket if values[index] is None))
    return chosen


def _changes(values: Sequence[float | None]) -> set[int]:
    """Where the value is another than before, and the place before it, if that happens rarely enough."""
    changes = [index for index in range(1, len(values)) if values[index] != values[index - 1]]
    return {place for index in changes for place in (index - 1, index)} if len(changes) <= MOST_STEPS else set()


def _scale(curves: _Curves, event: tuple[float, float] | None) -> _Scale:
    """A scale that holds everything.

    The axis of power starts at 0 unless that would squeeze the curves into less than half of it.
    """
    times_s = [*curves.time_s, *(event or ())] or [0.0]
    first_s, last_s = min(times_s), max(times_s)
    values_kw = curves.values_kw() or [0.0]
    low_kw, high_kw = min(values_kw), max(values_kw)
    if 0 < low_kw <= high_kw / 2:
        low_kw = 0.0
    span_kw = max(high_kw - low_kw, abs(high_kw) * 0.05, 0.1)
    step_kw = nice_step(span_kw / 6)
    floor_kw = math.floor((low_kw - (0.04 * span_kw if low_kw else 0.0)) / step_kw) * step_kw
    return _Scale(
        left=PLOT_LEFT,
        right=PLOT_RIGHT,
        top=PLOT_TOP,
        bottom=PLOT_BOTTOM,
        step=step_kw,
        first_s=first_s,
        last_s=last_s if last_s > first_s else first_s + 60.0,
        low=floor_kw,
        high=math.ceil((high_kw + 0.04 * span_kw) / step_kw) * step_kw,
    )


def _time_axis(scale: _Scale, starts_at: datetime, timezone: ZoneInfo) -> Iterator[str]:
    """Ticks at round local times, with the date under the first one and under each midnight, and the zone's name."""
    yield line("axis", PLOT_LEFT, PLOT_BOTTOM, PLOT_RIGHT, PLOT_BOTTOM)
    dated: date | None = None
    for tick in local_ticks(scale.first_s, scale.last_s, starts_at, timezone, most=MOST_TICKS):
        x = scale.x(tick.at_s)
        yield from tick_mark(x, PLOT_BOTTOM, tick.words)
        if tick.local.date() != dated:
            dated = tick.local.date()
            yield under(x, PLOT_BOTTOM + 38, f"{day(tick.local)} {tick.local.year}", style="label")
    zone = (starts_at + timedelta(seconds=scale.first_s)).astimezone(timezone).tzname()
    where = timezone.key if zone == timezone.key else f"{timezone.key}, {zone}"
    yield under((PLOT_LEFT + PLOT_RIGHT) / 2, PLOT_BOTTOM + 58, f"Local time ({where})", style="label")


def _drawing(curves: _Curves, scale: _Scale, event: tuple[float, float] | None) -> tuple[list[str], list[str]]:
    """The names of what there is to see, and its shapes from the back to the front."""
    keys, shapes = [], []
    delivered, missed = _areas(curves, scale, event)
    for key, outlines in (("delivered", delivered), ("missed", missed)):
        if outlines:
            keys.append(key)
            shapes.append(f'<path d="{" ".join(outlines)}" {_KEYS[key].paint}/>')
    for key, values in (("baseline", curves.baseline_kw), ("target", curves.target_kw), ("site", curves.site_kw)):
        path = _path(curves.time_s, values, scale, stepped=key != "site")
        if path:
            keys.append(key)
            shapes.append(f'<path class="line" d="{path}" {_KEYS[key].paint}/>')
    if event is not None:
        keys.append("event")
    if not shapes:
        middle = (PLOT_LEFT + PLOT_RIGHT) / 2
        shapes.append(f'<text x="{middle:.0f}" y="{PLOT_TOP + 40}" text-anchor="middle">No readings</text>')
    return keys, shapes


def _path(time_s: Sequence[float], values_kw: Sequence[float | None], scale: _Scale, *, stepped: bool) -> str:
    """One line with a gap where there is no value; each piece begins with a dash, so that a lone point is seen."""
    parts: list[str] = []
    before: float | None = None
    for index, value in enumerate(values_kw):
        if value is None:
            if stepped and before is not None:
                parts.append(f"H{scale.x(time_s[index]):.1f}")
        elif before is None:
            parts.append(f"M{scale.at(time_s[index], value)}h3h-3")
        elif stepped:
            parts.append(f"H{scale.x(time_s[index]):.1f}V{scale.y(value):.1f}")
        else:
            parts.append(f"L{scale.at(time_s[index], value)}")
        before = value
    return "".join(parts)


def _areas(curves: _Curves, scale: _Scale, event: tuple[float, float] | None) -> tuple[list[str], list[str]]:
    """Outlines between baseline and site power during the event: where less was drawn, and where more."""
    delivered: list[str] = []
    missed: list[str] = []
    if event is None:
        return delivered, missed
    for run in _runs(curves, event):
        for outlines, pick in ((delivered, min), (missed, max)):
            if any(pick(site, baseline) != baseline for _, site, baseline in run):
                outlines.append(_outline(run, scale, pick))
    return delivered, missed


def _runs(curves: _Curves, event: tuple[float, float]) -> list[list[tuple[float, float, float]]]:
    """Stretches of the event in which both site power and baseline are known: time, site, baseline."""
    runs: list[list[tuple[float, float, float]]] = [[]]
    for time_s, site_kw, baseline_kw in zip(curves.time_s, curves.site_kw, curves.baseline_kw, strict=True):
        if site_kw is not None and baseline_kw is not None and event[0] <= time_s <= event[1]:
            runs[-1].append((time_s, site_kw, baseline_kw))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len(run) > 1]


def _outline(run: Sequence[tuple[float, float, float]], scale: _Scale, pick: Callable[[float, float], float]) -> str:
    """Forwards along the lower (or higher) of the two curves, then back along the baseline, which is stepped."""
    there = [scale.at(time_s, pick(site_kw, baseline_kw)) for time_s, site_kw, baseline_kw in run]
    back = [scale.at(run[-1][0], run[-1][2])]
    for (early_s, _, early_kw), (late_s, _, _) in reversed(list(pairwise(run))):
        back += [scale.at(late_s, early_kw), scale.at(early_s, early_kw)]
    return f"M{' L'.join(there + back)}Z"


def _description(curves: _Curves, event: tuple[float, float] | None, facts: Sequence[str]) -> str:
    """What a sighted reader takes from the drawing, in words."""
    parts = ["Site power in kilowatts over local time."]
    for name, values in (("Site power", curves.site_kw), ("The target", curves.target_kw)):
        known = [value for value in values if value is not None]
        if known:
            lowest, highest = f"{min(known):,.1f}", f"{max(known):,.1f}"
            parts.append(f"{name} is {lowest if lowest == highest else f'{lowest} to {highest}'} kW.")
    if event is not None:
        parts.append(f"The event lasts {(event[1] - event[0]) / 60:,.0f} minutes.")
    return " ".join([*parts, *facts])
