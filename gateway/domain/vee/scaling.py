"""Estimates made to add up, with what was measured, to the difference of the meter's register."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from gateway.domain.vee.draft import Draft, Drafts
from gateway.domain.vee.edit import Method
from gateway.domain.vee.registers import RegisterReading, RegisterSpan, by_instant, span_of
from gateway.domain.vee.rule import VeeRules
from gateway.domain.vee.series import Series

_US_AN_HOUR = 3_600_000_000
_TO_REGISTER = {
    Method.INTERPOLATION: Method.INTERPOLATION_TO_REGISTER,
    Method.LIKE_DAYS: Method.LIKE_DAYS_TO_REGISTER,
}


def scale(
    drafts: Drafts,
    series: Series,
    rules: VeeRules,
    registers: Sequence[RegisterReading],
    *,
    wanted: frozenset[int],
    unknown: frozenset[int],
) -> None:
    """Scale the drafts between two readings of the register by one factor, so that all adds up to its difference.

    ``unknown`` are the slots whose energy does not count as measured, the wanted ones included. A reading within a
    wanted slot cuts nothing. Drafts stay as they are where something between the readings has none, and where they are
    so small and so near that the register cannot tell; they are refused where the register contradicts them.
    """
    for span in _spans(series, registers, wanted=wanted, unknown=unknown):
        drafted = [at for at in span.missing if at in drafts.found]
        rest_wh = span.register_wh - span.interval_wh
        if len(drafted) < len(span.missing):
            _say_what_is_missing(drafts, span, rest_wh)
        elif drafted:
            _scale_span(drafts, series, rules, span, rest_wh)


def _spans(
    series: Series, registers: Sequence[RegisterReading], *, wanted: frozenset[int], unknown: frozenset[int]
) -> Iterator[RegisterSpan]:
    read = {
        at: wh
        for at, wh in by_instant(registers).items()
        if (at - series.offset_us) % series.interval_us == 0
        or at - (at - series.offset_us) % series.interval_us not in wanted
    }
    for begin_us, end_us in pairwise(read):
        # No span without a wanted slot is added up: there may be as many readings as intervals.
        if not wanted.isdisjoint(series.touched(begin_us, end_us)):
            yield span_of(series, begin_us, end_us, read[end_us] - read[begin_us], without=unknown)


def _scale_span(drafts: Drafts, series: Series, rules: VeeRules, span: RegisterSpan, rest_wh: float) -> None:
    tolerance_wh = span.tolerance_wh(rules)
    drafted_wh = math.fsum(drafts.found[at].power_w for at in span.missing) * series.interval_us / _US_AN_HOUR
    adds_up = abs(rest_wh - drafted_wh) <= tolerance_wh
    if adds_up and abs(drafted_wh) <= tolerance_wh:
        return
    if -tolerance_wh <= rest_wh < 0.0 < drafted_wh:
        rest_wh = 0.0
    factor = rest_wh / drafted_wh if drafted_wh else math.inf
    if not 0.0 <= factor <= rules.largest_scale:
        reason = (
            f"between its readings the register leaves {rest_wh / 1_000:.6g} kWh for what is missing, and neighbours "
            f"and like days say {drafted_wh / 1_000:.6g} kWh: look which of them is wrong"
        )
        drafts.refuse(span.missing, series.interval_us, reason)
        return
    for at in span.missing:
        drafts.found[at] = _scaled(drafts.found[at], factor)


def _scaled(draft: Draft, factor: float) -> Draft:
    return replace(
        draft,
        power_w=draft.power_w * factor,
        method=_TO_REGISTER[draft.method],
        words=f"{draft.words}, times {factor:.4g} to add up to the register",
    )


def _say_what_is_missing(drafts: Drafts, span: RegisterSpan, rest_wh: float) -> None:
    """Add to what was refused between the readings how much energy that is, with the rest that is missing there."""
    left = f"between its readings the register leaves {rest_wh / 1_000:.6g} kWh for all that is missing"
    for (begin_us, end_us), reason in drafts.refused.items():
        if span.begin_us <= begin_us and end_us <= span.end_us:
            drafts.refused[begin_us, end_us] = f"{reason}; {left}"
