"""A picture of a scenario: power above, how far it is off the target in the middle, throughput by tier below.

Stretches between which the clock jumped stand side by side. A strip under the power shows what control stood on, where
that was not the site's meter.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gateway.domain.control import ControlMode
from gateway.simulation.captions import captions
from gateway.simulation.figures import EventFigures
from gateway.simulation.play import Played
from gateway.simulation.recorder import STEP_S, Recording
from gateway.svg import (
    BASELINE_COLOUR,
    DELIVERED_COLOUR,
    SITE_COLOUR,
    TARGET_COLOUR,
    Key,
    Panel,
    day,
    document,
    facts,
    legend,
    line,
    local_ticks,
    nice_step,
    tick_mark,
    under,
    xml_text,
)
from hardware.job_terms import MIN_THROUGHPUT

Floats = NDArray[np.float64]

WIDTH = 1120
LEFT, RIGHT = 84, 1090
GAP = 10.0
BUCKETS = 900
TIER_COLOURS = {"flex0": "#56b4e9", "flex1": "#009e73", "flex2": "#e69f00", "flex3": "#cc79a7"}
TIER_STEP_S = 60
MOST_TICKS = 10
LEADING = 22
LABEL_X = 24
ZOOM_S = 300
MODE_TOP, MODE_HEIGHT = 428.0, 9.0
MODES = {
    ControlMode.COAST: Key(words="coast: no meter for a moment", paint='fill="#f0e442"', filled=True),
    ControlMode.HOLD: Key(words="hold: the last caps stay", paint='fill="#e69f00"', filled=True),
    ControlMode.BLIND: Key(words="blind: every job at its floor", paint='fill="#000000"', filled=True),
    "": Key(words="no gateway runs", paint='fill="#999999"', filled=True),
}
"""What control stood on, where it was not the meter."""


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


def scenario_picture(played: Played, found: Sequence[EventFigures]) -> str:
    """An SVG document of a played scenario, the same for the same input."""
    recording = played.recording
    spans = _spans(recording)
    series = (recording.site_w, recording.target_w, recording.baseline_w, recording.counterfactual_w)
    values = np.concatenate(series)
    power = _power_panel(values[np.isfinite(values)], top=96, bottom=424)
    error_fraction = 100.0 * (recording.site_w - recording.target_w) / recording.target_w
    error = _panel(top=468, bottom=568, low=-2.0, high=2.0, step=1.0)
    tiers = _tiers(played)
    lowest = min([float(np.nanmin(values)) for _, values in tiers.values() if len(values)], default=0.0)
    floor = max(0.0, math.floor(10.0 * min(lowest, 0.5) - 1e-9) / 10.0)
    throughput = _panel(top=612, bottom=752, low=floor, high=1.0, step=0.1)
    zoom = _zoom(recording, found)
    foot = 838 if zoom is None else 1100
    said = captions(played, found)
    return document(
        width=WIDTH,
        height=foot + 8 + LEADING * len(said),
        title=_title(played),
        description=" ".join(said),
        parts=[
            f'<text class="title" x="{LEFT}" y="38">{xml_text(played.scenario.title or played.scenario.name)}</text>',
            f'<text class="label" x="{RIGHT}" y="72" text-anchor="end">{xml_text(_which(played))}</text>',
            *_bands(spans, found, (power, error, throughput)),
            *power.axis("Site power, kW", label_x=LABEL_X),
            *error.axis("Off target, %", label_x=LABEL_X),
            *throughput.axis("Throughput", label_x=LABEL_X),
            *_power_lines(recording, spans, power),
            *_modes(recording, spans),
            *_lines(recording.time_s, error_fraction, spans, error, f'stroke="{SITE_COLOUR}" stroke-width="1.2"'),
            *_tier_lines(tiers, spans, throughput),
            *_time_axis(played, spans, throughput.bottom),
            *_legends(tiers),
            *(() if zoom is None else _zoomed(played, zoom)),
            *facts(said, x=LEFT, y=foot, leading=LEADING),
        ],
    )


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
    panel = _power_panel(both[np.isfinite(both)], top=850, bottom=1000)
    yield from panel.axis("Five minutes, kW", label_x=LABEL_X)
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


def _panel(*, top: float, bottom: float, low: float, high: float, step: float) -> Panel:
    return Panel(left=LEFT, right=RIGHT, top=top, bottom=bottom, low=low, high=high, step=step)


def _power_panel(values_w: Floats, *, top: float, bottom: float) -> Panel:
    values = values_w / 1000.0
    low, high = float(values.min()), float(values.max())
    step = nice_step(max(high - low, 0.05 * high, 0.1) / ((bottom - top) / 50.0))
    return _panel(
        top=top,
        bottom=bottom,
        low=math.floor(low / step - 0.3) * step,
        high=math.ceil(high / step + 0.3) * step,
        step=step,
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


def _bands(spans: Sequence[_Span], found: Sequence[EventFigures], panels: Sequence[Panel]) -> Iterator[str]:
    """Each event's time, in every panel."""
    for one in found:
        for span in spans:
            left, right = span.x(one.event.starts_s), span.x(one.event.ends_s)
            if one.event.ends_s <= span.from_s or one.event.starts_s >= span.to_s:
                continue
            yield from (panel.band(left, right) for panel in panels)


def _modes(recording: Recording, spans: Sequence[_Span]) -> Iterator[str]:
    """What control stood on, where it was not the meter: a strip under the power, and what its colours mean."""
    seen: set[str] = set()
    for span in spans:
        modes = recording.modes[span.first : span.last]
        edges = [0, *(place for place in range(1, len(modes)) if modes[place] != modes[place - 1]), len(modes)]
        for first, last in pairwise(edges):
            key = MODES.get(modes[first])
            if key is not None:
                seen.add(modes[first])
                left = span.x(float(recording.time_s[span.first + first]))
                right = span.x(float(recording.time_s[span.first + last - 1]) + STEP_S)
                yield (
                    f'<rect x="{left:.1f}" y="{MODE_TOP:g}" width="{max(1.5, right - left):.1f}"'
                    f' height="{MODE_HEIGHT:g}" {key.paint}/>'
                )
    yield from legend([key for mode, key in MODES.items() if mode in seen], x=LEFT, y=MODE_TOP + 23)


def _power_lines(recording: Recording, spans: Sequence[_Span], panel: Panel) -> Iterator[str]:
    for values_w, paint in (
        (recording.counterfactual_w, f'stroke="{DELIVERED_COLOUR}" stroke-width="1.2"'),
        (recording.baseline_w, f'stroke="{BASELINE_COLOUR}" stroke-width="1.6" stroke-dasharray="7 5"'),
        (recording.site_w, f'stroke="{SITE_COLOUR}" stroke-width="1.6"'),
        (recording.target_w, f'stroke="{TARGET_COLOUR}" stroke-width="1.6"'),
    ):
        yield from _lines(recording.time_s, values_w / 1000.0, spans, panel, paint)


def _lines(time_s: Floats, values: Floats, spans: Sequence[_Span], panel: Panel, paint: str) -> Iterator[str]:
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


def _tier_lines(tiers: dict[str, tuple[Floats, Floats]], spans: Sequence[_Span], panel: Panel) -> Iterator[str]:
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
        yield line("axis", span.left, y, span.right, y)
        if len(spans) > 1:
            at = scenario.at((span.from_s + span.to_s) / 2).astimezone(scenario.zone)
            words = day(at) if scenario.duration_s > 2 * 86400 else f"{at:%H:%M}"
            yield under((span.left + span.right) / 2, y + 21, words)
            continue
        for tick in local_ticks(span.from_s, span.to_s, scenario.zero, scenario.zone, most=MOST_TICKS):
            yield from tick_mark(span.x(tick.at_s), y, tick.words)
    yield under((LEFT + RIGHT) / 2, y + 42, f"Local time ({scenario.zone.key})", style="label")


def _legends(tiers: dict[str, tuple[Floats, Floats]]) -> Iterator[str]:
    yield from legend(
        [
            Key(words="site power", paint=f'stroke="{SITE_COLOUR}" stroke-width="1.8"'),
            Key(words="target", paint=f'stroke="{TARGET_COLOUR}" stroke-width="1.8"'),
            Key(words="live baseline", paint=f'stroke="{BASELINE_COLOUR}" stroke-width="1.6" stroke-dasharray="7 5"'),
            Key(
                words="counterfactual: the same seed, no event",
                paint=f'stroke="{DELIVERED_COLOUR}" stroke-width="1.4"',
            ),
        ],
        x=LEFT,
        y=68,
    )
    yield from legend(
        [
            Key(
                words=f"{tier}, least {MIN_THROUGHPUT[tier]:.2f}",
                paint=f'stroke="{TIER_COLOURS[tier]}" stroke-width="1.8"',
            )
            for tier in tiers
        ],
        x=LEFT,
        y=596,
    )
