"""Drafts of estimates: short runs from their neighbours, others from like days, and why there is none."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean

from gateway.domain.measurement import from_epoch_us, seconds_us
from gateway.domain.vee.edit import Method
from gateway.domain.vee.rule import VeeRules
from gateway.domain.vee.series import History, Series, Span, runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Mean power that could stand in a slot, by which method, and in words what it rests on."""

    power_w: float
    method: Method
    words: str


@dataclass(slots=True, kw_only=True)
class Drafts:
    """The draft of each slot by its start, and the runs of slots without one with the reason."""

    found: dict[int, Draft] = field(default_factory=dict)
    refused: dict[Span, str] = field(default_factory=dict)

    def refuse(self, slots: Iterable[int], interval_us: int, reason: str) -> None:
        """Take back what was found for the slots."""
        for begin_us, end_us in runs(slots, interval_us):
            self.refused[begin_us, end_us] = reason
            for at in range(begin_us, end_us, interval_us):
                self.found.pop(at, None)


def draft(
    series: Series, rules: VeeRules, *, wanted: frozenset[int], doubtful: frozenset[int], unlike: frozenset[int]
) -> Drafts:
    """A draft of each wanted slot where there can be one.

    What is ``doubtful``, the wanted slots included, is no basis at all; what is ``unlike`` is none on like days.
    """
    drafts = Drafts()
    history = History(series, rules.like_days, without=doubtful | unlike)
    longest_us = seconds_us(rules.longest_interpolation_s)
    for begin_us, end_us in runs(wanted, series.interval_us):
        ends_w = (
            _known(series, doubtful, begin_us - series.interval_us),
            _known(series, doubtful, end_us),
        )
        if end_us - begin_us <= longest_us and None not in ends_w:
            _interpolate(drafts, series, (begin_us, end_us), *(power_w for power_w in ends_w if power_w is not None))
        else:
            _from_like_days(drafts, series, history, rules, (begin_us, end_us))
    return drafts


def _known(series: Series, doubtful: frozenset[int], at_us: int) -> float | None:
    return None if at_us in doubtful else series.power_w.get(at_us)


def _interpolate(drafts: Drafts, series: Series, run: Span, before_w: float, after_w: float) -> None:
    slots = range(*run, series.interval_us)
    words = f"on the line from {before_w / 1_000:.6g} kW before to {after_w / 1_000:.6g} kW after"
    for number, at in enumerate(slots, 1):
        power_w = before_w + (after_w - before_w) * number / (len(slots) + 1)
        drafts.found[at] = Draft(power_w=power_w, method=Method.INTERPOLATION, words=words)


def _from_like_days(drafts: Drafts, series: Series, history: History, rules: VeeRules, run: Span) -> None:
    like = rules.like_days
    lacking: dict[int, list[int]] = {}
    for at in range(*run, series.interval_us):
        values_w = history.nearest(at)
        if len(values_w) < like.least_days:
            lacking.setdefault(len(values_w), []).append(at)
        else:
            words = f"mean of the same time of {len(values_w)} like days"
            drafts.found[at] = Draft(power_w=fmean(values_w), method=Method.LIKE_DAYS, words=words)
    long_s = (run[1] - run[0]) / 1e6
    why = (
        f"over {long_s / 60:g} min nothing is interpolated (at most {rules.longest_interpolation_s / 60:g} min)"
        if long_s > rules.longest_interpolation_s
        else "a neighbour to interpolate from is missing or not good"
    )
    for count, slots in lacking.items():
        reason = (
            f"{why}, and of {like.least_days} like days at the least {count} with a good reading were found within "
            f"{like.within_days} days of {from_epoch_us(slots[0]).astimezone(series.zone).date().isoformat()}: give "
            "more history, or enter the energy"
        )
        drafts.refuse(slots, series.interval_us, reason)
