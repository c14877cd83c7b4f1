"""A picture of a scenario: power above, how far it is off the target in the middle, throughput by tier below.

Stretches between which the clock jumped stand side by side. Colours and lines are those of ``gateway.picture``.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gateway.picture import (
    BASELINE_COLOUR,
    DELIVERED_COLOUR,
    EVENT_COLOUR,
    MINUS,
    MONTHS,
    SITE_COLOUR,
    STYLE,
    SVG_TAG,
    TARGET_COLOUR,
    TICK_STEPS_S,
    nice_step,
    xml_text,
)
from gateway.simulation.figures import EventFigures
from gateway.simulation.play import Played
from gateway.simulation.recorder import STEP_S, Recording
from hardware.job_terms import MIN_THROUGHPUT

Floats = NDArray[np.float64]

WIDTH = 1120
LEFT, RIGHT = 84, 1090
GAP = 10.0
BUCKETS = 900
TIER_COLOURS = {"flex0": "#56b4e9", "flex1": "#009e73", "flex2": "#e69f00", "flex3": "#cc79a7"}
TIER_STEP_S = 60
MOST_TICKS = 10
FACT_CHARACTERS = 136
ZOOM_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """A stretch of time without a gap, and where it lies: steps ``[first, last)`` of the recording."""

    first: int
    last: int
    from_s: float
    to_s: float
    left: float
    right: float

    def x(self, time_s: float) -> float:
        share = (time_s - self.from_s) / (self.to_s - self.from_s)
        return self.left + min(1.0, max(0.0, share)) * (self.right - self.left)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """A drawing area with its scale."""

    top: float
    bottom: float
    low: float
    high: float
    step: float
    label: str

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.bottom - share * (self.bottom - self.top)


def scenario_picture(played: Played, found: Sequence[EventFigures]) -> str:
    """An SVG document of a played scenario, the same for the same input."""
    recording = played.recording
    spans = _spans(recording)
    series = (recording.site_w, recording.target_w, recording.baseline_w, recording.counterfactual_w)
    values = np.concatenate(series)
    power = _power_panel(values[np.isfinite(values)], top=96, bottom=424, label="Site power, kW")
    error_fraction = 100.0 * (recording.site_w - recording.target_w) / recording.target_w
    error = _Panel(top=468, bottom=568, low=-2.0, high=2.0, step=1.0, label="Off target, %")
    tiers = _tiers(played)
    lowest = min([float(np.nanmin(values)) for _, values in tiers.values() if len(values)], default=0.0)
    floor = max(0.0, math.floor(10.0 * min(lowest, 0.5) - 1e-9) / 10.0)
    throughput = _Panel(top=612, bottom=752, low=floor, high=1.0, step=0.1, label="Throughput")
    zoom = _zoom(recording, found)
    foot = 838 if zoom is None else 1100
    facts = _facts(played, found)
    height = foot + 8 + 22 * len(facts)
    parts = [
        SVG_TAG.format(width=WIDTH, height=height),
        f'<title id="title">{xml_text(_title(played))}</title>',
        f'<desc id="desc">{xml_text(" ".join(facts))}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text class="title" x="{LEFT}" y="38">{xml_text(played.scenario.title or played.scenario.name)}</text>',
        f'<text class="label" x="{RIGHT}" y="72" text-anchor="end">{xml_text(_which(played))}</text>',
        *_bands(spans, found, (power, error, throughput)),
        *_axes(power, decimals=0),
        *_axes(error, decimals=0),
        *_axes(throughput, decimals=1),
        *_power_lines(recording, spans, power),
        *_lines(recording.time_s, error_fraction, spans, error, f'stroke="{SITE_COLOUR}" stroke-width="1.2"'),
        *_tier_lines(tiers, spans, throughput),
        *_time_axis(played, spans, throughput.bottom),
        *_legend(tiers),
        *(() if zoom is None else _zoomed(played, zoom)),
        *(
            f'<text class="fact" x="{LEFT}" y="{foot + 22 * row}">{xml_text(line)}</text>'
            for row, line in enumerate(facts)
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _zoom(recording: Recording, found: Sequence[EventFigures]) -> _Span | None:
    """Five minutes in the middle of a regulation signal, which is too fast to be seen in the whole."""
    for one in found:
        if one.regulation is not None:
            from_s = float(int((one.event.hold[0] + one.event.hold[1] - ZOOM_S) / 2))
            first = int(np.searchsorted(recording.time_s, from_s))
            return _Span(
                first=first,
                last=first + ZOOM_S,
                from_s=from_s,
                to_s=from_s + ZOOM_S,
                left=float(LEFT),
                right=float(RIGHT),
            )
    return None


def _zoomed(played: Played, span: _Span) -> Iterator[str]:
    recording = played.recording
    part = slice(span.first, span.last)
    both = np.concatenate([recording.site_w[part], recording.target_w[part]])
    panel = _power_panel(both[np.isfinite(both)], top=850, bottom=1000, label="Five minutes, kW")
    yield from _axes(panel, decimals=0)
    # The target as steps: a value holds until the next one.
    for values_w, paint in (
        (recording.target_w, f'stroke="{TARGET_COLOUR}" stroke-width="2.4"'),
        (recording.site_w, f'stroke="{SITE_COLOUR}" stroke-width="1.4"'),
    ):
        points = [
            f"{span.x(at):.1f},{panel.y(value):.1f}"
            for begins_s, value in zip(recording.time_s[part].tolist(), (values_w[part] / 1000.0).tolist(), strict=True)
            for at in (begins_s, begins_s + STEP_S)
        ]
        yield f'<path class="line" d="M{"L".join(points)}" {paint}/>'
    yield from _time_axis(played, [span], panel.bottom)


def _title(played: Played) -> str:
    return f"{played.scenario.title or played.scenario.name} ({_which(played)})"


def _which(played: Played) -> str:
    return f"{played.scenario.name}, seed {played.seed}"


def _facts(played: Played, found: Sequence[EventFigures]) -> list[str]:
    facts: list[str] = []
    for one in list(found)[:4]:
        best = "" if one.throughput.optimum is None else f", optimum {one.throughput.optimum:.1%}"
        facts.append(
            f"{one.event.event_id}: asked {one.live_baseline.asked_fraction:.2%}, delivered"
            f" {one.live_baseline.delivered_fraction:.2%} of the live baseline and"
            f" {one.counterfactual.delivered_fraction:.2%} of the counterfactual;"
            f" {one.tracking.minutes_over} of {one.tracking.minutes} minutes over target;"
            f" throughput {one.throughput.weighted:.1%}{best}."
        )
        if one.regulation is not None:
            score = "" if one.regulation.score is None else f", score {one.regulation.score.score:.3f}"
            facts.append(f"Off the signal by {one.regulation.rmse_fraction:.2%} of its amplitude (RMSE){score}.")
    if len(found) > len(facts):
        facts.append(f"And {len(found) - len(facts)} more events: see summary.json.")
    facts += [f"{name}: refused, {reason}." for name, reason in played.refused]
    facts += [f"{name}: nothing came of it." for name in played.unanswered]
    return [line for fact in facts for line in textwrap.wrap(fact, FACT_CHARACTERS)]


def _spans(recording: Recording) -> list[_Span]:
    """Where the clock ran without a jump, each as wide as it is long."""
    time_s = recording.time_s
    breaks = np.flatnonzero(np.diff(time_s) > STEP_S * 1.5) + 1
    edges = [0, *breaks.tolist(), len(time_s)]
    lengths = [last - first for first, last in pairwise(edges)]
    room = RIGHT - LEFT - GAP * (len(lengths) - 1)
    spans: list[_Span] = []
    left = float(LEFT)
    for first, length in zip(edges, lengths, strict=False):
        width = room * length / max(1, len(time_s))
        spans.append(
            _Span(
                first=first,
                last=first + length,
                from_s=float(time_s[first]),
                to_s=float(time_s[first + length - 1]) + STEP_S,
                left=left,
                right=left + width,
            )
        )
        left += width + GAP
    return spans


def _power_panel(values_w: Floats, *, top: float, bottom: float, label: str) -> _Panel:
    values = values_w / 1000.0
    low, high = float(values.min()), float(values.max())
    step = nice_step(max(high - low, 0.05 * high, 0.1) / ((bottom - top) / 50.0))
    return _Panel(
        top=top,
        bottom=bottom,
        low=math.floor(low / step - 0.3) * step,
        high=math.ceil(high / step + 0.3) * step,
        step=step,
        label=label,
    )


def _tiers(played: Played) -> dict[str, tuple[Floats, Floats]]:
    """By tier: instants a minute apart and the throughput of the minute, of what the twin did."""
    recording, jobs = played.recording, played.scenario.fleet.job
    found: dict[str, tuple[Floats, Floats]] = {}
    for tier in MIN_THROUGHPUT:
        weights = np.array([job.devices if job.tier == tier else 0 for job in jobs], dtype=np.float64)
        if not weights.any():
            continue
        done, possible = recording.work_s @ weights, recording.twin_work_s @ weights
        count = len(done) // TIER_STEP_S
        shape = (count, TIER_STEP_S)
        whole = count * TIER_STEP_S
        part = done[:whole].reshape(shape).sum(axis=1) / np.maximum(possible[:whole].reshape(shape).sum(axis=1), 1e-9)
        found[tier] = recording.time_s[:whole:TIER_STEP_S], part
    return found


def _bands(spans: Sequence[_Span], found: Sequence[EventFigures], panels: Sequence[_Panel]) -> Iterator[str]:
    """Each event's time, in every panel."""
    for one in found:
        for span in spans:
            left, right = span.x(one.event.starts_s), span.x(one.event.ends_s)
            if one.event.ends_s <= span.from_s or one.event.starts_s >= span.to_s:
                continue
            for panel in panels:
                yield (
                    f'<rect x="{left:.1f}" y="{panel.top:.1f}" width="{right - left:.1f}"'
                    f' height="{panel.bottom - panel.top:.1f}" fill="{EVENT_COLOUR}"/>'
                )


def _axes(panel: _Panel, *, decimals: int) -> Iterator[str]:
    if panel.step < 1.0:
        decimals = max(decimals, -math.floor(math.log10(panel.step) + 1e-9))
    for tick in range(round((panel.high - panel.low) / panel.step) + 1):
        value = panel.low + tick * panel.step
        y = panel.y(value)
        style = "axis" if abs(value) < 1e-9 or tick == 0 else "grid"
        label = f"{value:,.{decimals}f}".replace("-", MINUS)
        yield f'<line class="{style}" x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4.5:.1f}" text-anchor="end">{label}</text>'
    middle = (panel.top + panel.bottom) / 2
    yield (
        f'<text class="label" transform="translate(24 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        f"{panel.label}</text>"
    )


def _power_lines(recording: Recording, spans: Sequence[_Span], panel: _Panel) -> Iterator[str]:
    for values_w, paint in (
        (recording.counterfactual_w, f'stroke="{DELIVERED_COLOUR}" stroke-width="1.2"'),
        (recording.baseline_w, f'stroke="{BASELINE_COLOUR}" stroke-width="1.6" stroke-dasharray="7 5"'),
        (recording.site_w, f'stroke="{SITE_COLOUR}" stroke-width="1.6"'),
        (recording.target_w, f'stroke="{TARGET_COLOUR}" stroke-width="1.6"'),
    ):
        yield from _lines(recording.time_s, values_w / 1000.0, spans, panel, paint)


def _lines(time_s: Floats, values: Floats, spans: Sequence[_Span], panel: _Panel, paint: str) -> Iterator[str]:
    """One line a stretch, with gaps where there is no value; of many steps the lowest and the highest are drawn."""
    for span in spans:
        size = max(1, math.ceil((span.last - span.first) / (BUCKETS * (span.right - span.left) / (RIGHT - LEFT))))
        pieces: list[str] = []
        drawing = False
        for start in range(span.first, span.last, size):
            part = values[start : min(start + size, span.last)]
            known = np.flatnonzero(np.isfinite(part))
            if not len(known):
                drawing = False
                continue
            places = sorted({int(known[np.argmin(part[known])]), int(known[np.argmax(part[known])])})
            for place in places:
                at = f"{span.x(float(time_s[start + place])):.1f},{panel.y(float(part[place])):.1f}"
                pieces.append(f"{'L' if drawing else 'M'}{at}")
                drawing = True
        if pieces:
            yield f'<path class="line" d="{"".join(pieces)}" {paint}/>'


def _tier_lines(tiers: dict[str, tuple[Floats, Floats]], spans: Sequence[_Span], panel: _Panel) -> Iterator[str]:
    """Each tier's throughput, and dotted the least that it was promised."""
    for tier, (time_s, part) in tiers.items():
        y = panel.y(MIN_THROUGHPUT[tier])
        yield (
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}" stroke="{TIER_COLOURS[tier]}"'
            ' stroke-width="1.2" stroke-dasharray="2 4"/>'
        )
        for span in spans:
            inside = (time_s >= span.from_s) & (time_s < span.to_s)
            points = [
                f"{span.x(at + TIER_STEP_S / 2):.1f},{panel.y(value):.1f}"
                for at, value in zip(time_s[inside].tolist(), part[inside].tolist(), strict=True)
            ]
            if points:
                yield f'<path class="line" d="M{"L".join(points)}" stroke="{TIER_COLOURS[tier]}" stroke-width="1.8"/>'


def _time_axis(played: Played, spans: Sequence[_Span], y: float) -> Iterator[str]:
    """Ticks at round local times; of several stretches only the day, or the time, in the middle of each."""
    scenario = played.scenario
    for span in spans:
        yield f'<line class="axis" x1="{span.left:.1f}" y1="{y}" x2="{span.right:.1f}" y2="{y}"/>'
        if len(spans) > 1:
            at = scenario.at((span.from_s + span.to_s) / 2).astimezone(scenario.zone)
            label = f"{at.day} {MONTHS[at.month - 1]}" if scenario.duration_s > 2 * 86400 else f"{at:%H:%M}"
            middle = (span.left + span.right) / 2
            yield f'<text x="{middle:.1f}" y="{y + 20}" text-anchor="middle">{label}</text>'
            continue
        length_s = span.to_s - span.from_s
        step_s = next((step for step in TICK_STEPS_S if length_s / step <= MOST_TICKS), 86400)
        first = scenario.at(span.from_s).astimezone(scenario.zone)
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
        tick_s = span.from_s + (-(first - midnight).total_seconds()) % step_s
        while tick_s <= span.to_s:
            at = first + timedelta(seconds=tick_s - span.from_s)
            x = span.x(tick_s)
            label = f"{at:%H:%M:%S}" if step_s < 60 else f"{at:%H:%M}"
            yield f'<line class="axis" x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{y + 6}"/>'
            yield f'<text x="{x:.1f}" y="{y + 20}" text-anchor="middle">{label}</text>'
            tick_s += step_s
    zone = scenario.zone.key
    yield (
        f'<text class="label" x="{(LEFT + RIGHT) / 2:.0f}" y="{y + 42}" text-anchor="middle">'
        f"Local time ({xml_text(zone)})</text>"
    )


def _legend(tiers: dict[str, tuple[Floats, Floats]]) -> Iterator[str]:
    rows = (
        (
            72.0,
            [
                ("site power", f'stroke="{SITE_COLOUR}" stroke-width="1.8"'),
                ("target", f'stroke="{TARGET_COLOUR}" stroke-width="1.8"'),
                ("live baseline", f'stroke="{BASELINE_COLOUR}" stroke-width="1.6" stroke-dasharray="7 5"'),
                ("counterfactual: the same seed, no event", f'stroke="{DELIVERED_COLOUR}" stroke-width="1.4"'),
            ],
        ),
        (
            600.0,
            [
                (f"{tier}, least {MIN_THROUGHPUT[tier]:.2f}", f'stroke="{TIER_COLOURS[tier]}" stroke-width="1.8"')
                for tier in tiers
            ],
        ),
    )
    for y, entries in rows:
        x = float(LEFT)
        for words, paint in entries:
            yield f'<path class="line" d="M{x:.0f},{y - 4:.0f}h26" {paint}/>'
            yield f'<text x="{x + 33:.0f}" y="{y:.0f}">{words}</text>'
            x += 33 + 7.2 * len(words) + 26
