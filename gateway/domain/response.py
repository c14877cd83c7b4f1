"""What the site would have drawn, and how much less it drew, over any interval: for reports to the grid.

While an event runs, the live baseline stands for what would have been, which is preliminary. Once the event is
verified, the settlement baseline does. Outside of events the site draws what it would have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.domain.measurement import Slice
from gateway.domain.site_verification import WHOLE_FRACTION
from gateway.domain.verification import VerifiedInterval, VerifiedReport


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineSpan:
    """A baseline in watts over ``[starts_at, ends_at)``; ``preliminary`` while it may still be corrected.

    ``reduction_w`` is what was delivered where others have verified it; ``None`` where it is baseline less power.
    ``power_w`` is ``None`` where a baseline should be and nobody knows it: that is no reduction of zero.
    """

    starts_at: datetime
    ends_at: datetime
    power_w: float | None
    preliminary: bool
    reduction_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """Mean watts over an interval; ``reduction_w`` is baseline less power, ``None`` where nothing was measured."""

    baseline_w: float | None
    reduction_w: float | None
    preliminary: bool


def verified_spans(report: VerifiedReport) -> tuple[BaselineSpan, ...]:
    """The settlement baseline of an event, by interval; of what was not covered by readings nothing is known.

    Of a report that is the sum of its sites these are the sums, of those that have verified; they are told to be
    uncertain where a site is missing.
    """
    if report.sites:
        return tuple(_summed(interval) for interval in report.intervals if interval.duration_s > 0.0)
    return tuple(
        BaselineSpan(
            starts_at=interval.starts_at,
            ends_at=interval.starts_at + timedelta(seconds=interval.duration_s),
            power_w=interval.baseline_wh * 3600.0 / (interval.duration_s * interval.coverage_fraction),
            preliminary=False,
        )
        for interval in report.intervals
        if interval.duration_s > 0.0 and interval.coverage_fraction > 0.0
    )


def response(piece: Slice, power_w: float | None, spans: Sequence[BaselineSpan]) -> Response:
    """Baseline and reduction over one interval; ``spans`` do not overlap. Its power counts as even over all of it."""
    ends_at = piece.starts_at + timedelta(seconds=piece.duration_s)
    held_s = baseline_ws = verified_s = verified_ws = 0.0
    preliminary = False
    for span in spans:
        overlap_s = (min(ends_at, span.ends_at) - max(piece.starts_at, span.starts_at)).total_seconds()
        if overlap_s > 0.0:
            if span.power_w is None:
                return Response(baseline_w=None, reduction_w=None, preliminary=True)
            if span.reduction_w is not None:
                verified_s += overlap_s
                verified_ws += overlap_s * (span.power_w - span.reduction_w)
            held_s += overlap_s
            baseline_ws += overlap_s * span.power_w
            preliminary = preliminary or span.preliminary
    outside_s = max(0.0, piece.duration_s - held_s)
    if power_w is None:
        whole = held_s > 0.0 and outside_s < 1e-6
        return Response(
            baseline_w=baseline_ws / held_s if whole else None, reduction_w=None, preliminary=whole and preliminary
        )
    baseline_w = (baseline_ws + outside_s * power_w) / piece.duration_s
    # What others have verified stands with what they have measured, not with our power.
    measured_w = (verified_ws + (piece.duration_s - verified_s) * power_w) / piece.duration_s
    return Response(baseline_w=baseline_w, reduction_w=baseline_w - measured_w, preliminary=preliminary)


def _summed(interval: VerifiedInterval) -> BaselineSpan:
    known = interval.coverage_fraction > 0.0
    return BaselineSpan(
        starts_at=interval.starts_at,
        ends_at=interval.starts_at + timedelta(seconds=interval.duration_s),
        power_w=interval.baseline_wh * 3600.0 / interval.duration_s if known else None,
        preliminary=interval.coverage_fraction < WHOLE_FRACTION,
        reduction_w=interval.delivered_wh * 3600.0 / interval.duration_s if known else None,
    )
