"""Checks against the meter's own register, and of the unit: mean power of an interval written as its energy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from statistics import median

from gateway.domain.measurement import epoch_us
from gateway.domain.vee.finding import Figure, Finding, Kind, Severity, found
from gateway.domain.vee.rule import VeeRules
from gateway.domain.vee.series import History, Series, Span, joined

_US_AN_HOUR = 3_600_000_000

RegisterReading = tuple[datetime, float]
"""When a running register was read, and what it said in watt-hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterSpan:
    """Between two readings that follow each other: what the register and the intervals say, in watt-hours.

    ``missing`` are the slots in it without a known energy, those at its ends included.
    """

    begin_us: int
    end_us: int
    register_wh: float
    interval_wh: float
    missing: tuple[int, ...]

    def tolerance_wh(self, rules: VeeRules) -> float:
        """By how much the two may differ."""
        return max(rules.sum_tolerance_fraction * abs(self.register_wh), rules.sum_tolerance_wh)


def by_instant(registers: Sequence[RegisterReading]) -> dict[int, float]:
    """Readings in order of time; where one instant has two values, neither. Raises ``ValueError`` for a naive one."""
    values: dict[int, set[float]] = {}
    for at, register_wh in registers:
        values.setdefault(epoch_us(at), set()).add(register_wh)
    return {at: next(iter(values[at])) for at in sorted(values) if len(values[at]) == 1}


def span_of(series: Series, begin_us: int, end_us: int, register_wh: float, *, without: frozenset[int]) -> RegisterSpan:
    """Add up the intervals between two instants; one that is cut counts by its share. ``without`` are not known."""
    energies_wh = []
    missing = []
    first_us = begin_us - (begin_us - series.offset_us) % series.interval_us
    for at in range(first_us, end_us, series.interval_us):
        power_w = None if at in without else series.power_w.get(at)
        if power_w is None:
            missing.append(at)
        else:
            inside_us = min(end_us, at + series.interval_us) - max(begin_us, at)
            energies_wh.append(power_w * inside_us / _US_AN_HOUR)
    return RegisterSpan(
        begin_us=begin_us,
        end_us=end_us,
        register_wh=register_wh,
        interval_wh=sum(energies_wh),
        missing=tuple(missing),
    )


def check_registers(
    series: Series, history: History, rules: VeeRules, registers: Sequence[RegisterReading]
) -> Iterator[Finding]:
    """Every finding of the sum check and of the unit, which like days tell where no register answers for it."""
    read = {at: wh for at, wh in by_instant(registers).items() if series.begin_us <= at <= series.end_us}
    spans = [
        span_of(series, begin_us, end_us, read[end_us] - read[begin_us], without=frozenset())
        for begin_us, end_us in pairwise(read)
    ]
    yield from _read_twice(series, registers)
    for (kind, sign), group in groupby(spans, key=lambda span: _verdict(series, rules, span)):
        if kind is not None:
            yield _differs(list(group), kind, sign, _unit_factor(series))
    answered = joined((span.begin_us, span.end_us) for span in spans if not span.missing)
    yield from _by_history(series, history, rules, answered)


def _unit_factor(series: Series) -> float:
    """By what energy is too large where mean kW was written as kWh."""
    return _US_AN_HOUR / series.interval_us


def unit_shows(series: Series) -> bool:
    """Whether a wrong unit changes the numbers at all: kW and kWh of an hour are the same."""
    return _unit_factor(series) > 1.0


def _verdict(series: Series, rules: VeeRules, span: RegisterSpan) -> tuple[Kind | None, int]:
    """What is wrong with a span, if anything, and on which side the intervals are."""
    apart_wh = span.interval_wh - span.register_wh
    sign = 1 if apart_wh > 0 else -1
    backwards = span.register_wh < -rules.sum_tolerance_wh and not rules.negative_allowed
    if backwards:
        return Kind.REGISTER, 0
    if span.missing:
        # What is missing can only add to the sum, unless the site generates.
        beyond = apart_wh > span.tolerance_wh(rules) and not rules.negative_allowed
        return (Kind.REGISTER, sign) if beyond else (None, 0)
    if abs(apart_wh) <= span.tolerance_wh(rules):
        return None, 0
    if span.register_wh and unit_shows(series):
        ratio = span.interval_wh / span.register_wh
        for factor, side in ((_unit_factor(series), 1), (1.0 / _unit_factor(series), -1)):
            if abs(ratio / factor - 1.0) <= rules.unit_tolerance_fraction:
                return Kind.UNIT, side
    return Kind.REGISTER, sign


def _differs(spans: list[RegisterSpan], kind: Kind, sign: int, factor: float) -> Finding:
    register_wh = sum(span.register_wh for span in spans)
    interval_wh = sum(span.interval_wh for span in spans)
    figures = [Figure("intervals_sum", interval_wh, "Wh"), Figure("register", register_wh, "Wh")]
    says = f"The intervals add up to {_kwh(interval_wh)}, the register says {_kwh(register_wh)}"
    if kind is Kind.UNIT:
        figures.append(Figure("ratio", interval_wh / register_wh))
        what = "mean kW was probably written as kWh" if sign > 0 else "kWh were probably taken for mean kW"
        text = f"{says}: {what} (a factor of {factor:g}). Read the data again in the right unit; do not estimate it."
    elif sign == 0:
        text = f"{says}: it ran backwards. It was changed or rolled over: leave out its readings from before."
    else:
        more = "more than was measured" if sign > 0 else "less than was measured"
        text = f"{says}: the intervals hold {more}. Compare both with the meter, and correct by an edit what is wrong."
    return found(kind, Severity.SUSPECT, spans[0].begin_us, spans[-1].end_us, text, *figures)


def _read_twice(series: Series, registers: Sequence[RegisterReading]) -> Iterator[Finding]:
    """Instants at which the register has two values."""
    values: dict[int, set[float]] = {}
    for at, register_wh in registers:
        values.setdefault(epoch_us(at), set()).add(register_wh)
    for at_us, same in sorted(values.items()):
        if len(same) > 1 and series.begin_us <= at_us <= series.end_us:
            low_wh, high_wh = min(same), max(same)
            yield found(
                Kind.REGISTER,
                Severity.NOTE,
                at_us,
                at_us,
                f"The register was read twice at this instant, as {_kwh(low_wh)} and {_kwh(high_wh)}: neither is used. "
                "Take the wrong one out.",
                Figure("low", low_wh, "Wh"),
                Figure("high", high_wh, "Wh"),
            )


def _by_history(series: Series, history: History, rules: VeeRules, answered: Sequence[Span]) -> Iterator[Finding]:
    """Local days that are the factor of a wrong unit above what their like days usually say."""
    factor = _unit_factor(series)
    if not unit_shows(series):
        return
    least = rules.like_days.least_days + 1
    usual_w = {place: median(found_w) for place, found_w in history.typical().items() if len(found_w) >= least}
    for _, begin_us, end_us in series.days():
        # A register that answers for the whole day has the better word.
        if any(first_us <= begin_us and end_us <= last_us for first_us, last_us in answered):
            continue
        slots = series.within(begin_us, end_us)
        pairs = [(series.power_w[at], usual_w.get(history.place(at), 0.0)) for at in slots]
        ratios = [power_w / typical_w for power_w, typical_w in pairs if typical_w > 0.0]
        if not ratios or 2 * len(ratios) < len(series.touched(begin_us, end_us)):
            continue
        ratio = median(ratios)
        if abs(ratio / factor - 1.0) <= rules.unit_tolerance_fraction:
            yield found(
                Kind.UNIT,
                Severity.SUSPECT,
                begin_us,
                end_us,
                f"This day is {ratio:.3g} times its like days, and {factor:g} is the factor of mean kW written as kWh. "
                "Compare with the register; if the load did rise, confirm the values by an edit.",
                Figure("ratio", ratio),
                Figure("factor", factor),
            )


def _kwh(energy_wh: float) -> str:
    return f"{energy_wh / 1_000:.6g} kWh"
