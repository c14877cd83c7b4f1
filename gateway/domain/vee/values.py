"""Checks of how much: spikes, more than the site can draw, stuck and negative values."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from gateway.domain.vee.finding import Figure, Finding, Kind, Severity, found
from gateway.domain.vee.rule import SpikeReference, VeeRules
from gateway.domain.vee.series import History, Series, runs


@dataclass(frozen=True, slots=True)
class _Spike:
    power_w: float
    reference_w: float


def check_values(series: Series, history: History, rules: VeeRules) -> Iterator[Finding]:
    """Every finding about the energies of the period's intervals on the grid."""
    yield from _negative(series, rules)
    yield from _high(series, rules)
    yield from _stuck(series, rules)
    yield from _spikes(series, history, rules)


def _negative(series: Series, rules: VeeRules) -> Iterator[Finding]:
    if rules.negative_allowed:
        return
    for begin_us, end_us in runs((at for at in series.slots if series.power_w.get(at, 0.0) < 0.0), series.interval_us):
        lowest_w = min(series.power_w[at] for at in range(begin_us, end_us, series.interval_us))
        yield found(
            Kind.NEGATIVE,
            Severity.SUSPECT,
            begin_us,
            end_us,
            f"Energy down to {_kw(lowest_w)} flows out of a site that does not generate. Look whether the current "
            "transformers are turned round; if the site does generate, say so in its settings.",
            Figure("intervals", (end_us - begin_us) // series.interval_us),
            Figure("lowest_power", lowest_w, "W"),
        )


def _high(series: Series, rules: VeeRules) -> Iterator[Finding]:
    limit_w = rules.highest_power_w
    if limit_w is None:
        return
    for begin_us, end_us in runs(
        (at for at in series.slots if series.power_w.get(at, 0.0) > limit_w), series.interval_us
    ):
        highest_w = max(series.power_w[at] for at in range(begin_us, end_us, series.interval_us))
        yield found(
            Kind.HIGH,
            Severity.SUSPECT,
            begin_us,
            end_us,
            f"The meter says {_kw(highest_w)}, and the site can draw {_kw(limit_w)} at the most. Check the factor of "
            "the current transformers and the unit; if the site has grown, raise its limit in the settings.",
            Figure("highest_power", highest_w, "W"),
            Figure("limit", limit_w, "W"),
        )


def _stuck(series: Series, rules: VeeRules) -> Iterator[Finding]:
    for begin_us, end_us in runs((at for at in series.slots if at in series.power_w), series.interval_us):
        for power_w, same in groupby(range(begin_us, end_us, series.interval_us), key=series.power_w.__getitem__):
            slots = list(same)
            if len(slots) >= rules.stuck_count:
                yield _one_value(slots[0], slots[-1] + series.interval_us, len(slots), power_w)


def _one_value(begin_us: int, end_us: int, count: int, power_w: float) -> Finding:
    text = (
        f"{count} intervals in a row say {_kw(power_w)} to the last digit. The meter or its register is probably "
        "stuck: look at it, and estimate what it did not measure."
        if power_w
        else f"{count} intervals in a row say nothing at all was drawn. If the site was not off, the meter is dead."
    )
    severity = Severity.SUSPECT if power_w else Severity.NOTE
    figures = (Figure("intervals", count), Figure("power", power_w, "W"))
    return found(Kind.STUCK, severity, begin_us, end_us, text, *figures)


def _spikes(series: Series, history: History, rules: VeeRules) -> Iterator[Finding]:
    by_day = rules.spike_reference is SpikeReference.THIRD_PEAK_OF_DAY
    spikes = _above_third_peak(series, rules) if by_day else _above_usual(series, history, rules)
    for begin_us, end_us in runs(spikes, series.interval_us):
        worst = max((spikes[at] for at in range(begin_us, end_us, series.interval_us)), key=lambda one: one.power_w)
        words = (
            "the third highest interval of the day"
            if by_day
            else "the neighbours, the same time of like days and the meter's usual power at the most"
        )
        yield found(
            Kind.SPIKE,
            Severity.SUSPECT,
            begin_us,
            end_us,
            f"The meter says {_kw(worst.power_w)} where {_kw(worst.reference_w)} is {words}, and "
            f"{rules.spike_factor:g} times that is allowed. Ask the site what ran then; if nothing did, estimate it.",
            Figure("power", worst.power_w, "W"),
            Figure("reference", worst.reference_w, "W"),
            Figure("allowed_ratio", rules.spike_factor),
        )


def _above_third_peak(series: Series, rules: VeeRules) -> dict[int, _Spike]:
    spikes: dict[int, _Spike] = {}
    for _, begin_us, end_us in series.days():
        slots = series.within(begin_us, end_us)
        if len(slots) >= 3:
            third_w = sorted(series.power_w[at] for at in slots)[-3]
            above = [at for at in slots if series.power_w[at] > rules.spike_factor * third_w > 0.0]
            spikes |= {at: _Spike(series.power_w[at], third_w) for at in above}
    return spikes


def _above_usual(series: Series, history: History, rules: VeeRules) -> dict[int, _Spike]:
    """Intervals above the factor on everything that could explain them: one of the three alone is no fault.

    A load that comes and goes rises above its neighbours, one that is new above its like days, and one near nothing
    above anything: so the median of all intervals counts too.
    """
    spikes: dict[int, _Spike] = {}
    usual_w = median(map(abs, series.power_w.values())) if series.power_w else 0.0
    for at in series.slots:
        power_w = series.power_w.get(at)
        if power_w is None or power_w <= rules.spike_factor * usual_w:
            continue
        like_w = history.nearest(at)
        beside = (series.power_w.get(at + steps * series.interval_us) for steps in (-2, -1, 1, 2))
        near_w = [value for value in beside if value is not None]
        enough = len(like_w) >= rules.like_days.least_days
        reference_w = max(usual_w, median(near_w) if near_w else 0.0, median(like_w) if enough else 0.0)
        if power_w > rules.spike_factor * reference_w > 0.0 and (near_w or enough):
            spikes[at] = _Spike(power_w, reference_w)
    return spikes


def _kw(power_w: float) -> str:
    return f"{power_w / 1_000:.6g} kW"
