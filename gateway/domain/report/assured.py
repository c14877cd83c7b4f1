"""The sections on how far the figures can be trusted: accuracy, other rules, gaming, rebound, devices against meter."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from gateway.domain.assurance.assure import Assurance
from gateway.domain.assurance.gaming import Verdict
from gateway.domain.assurance.placebo import Bound
from gateway.domain.assurance.reconcile import Reconciliation
from gateway.domain.assurance.sensitivity import UnderRule
from gateway.domain.report.document import Column, Kind, Table, number_text
from gateway.domain.report.material import Part, Topic

_QUANTITY, _VALUE = Column(title="Quantity"), Column(title="Value")
PLACEBOS_ON_PAGES = 30


def _energy(title: str) -> Column:
    return Column(title=title, kind=Kind.NUMBER, unit="kWh", decimals=3)


def at_least(bound: Bound) -> str:
    """``2.104 kWh``, or why no bound can be stated."""
    if bound.value is None:
        return f"cannot be said: {bound.days} comparable days without an event, {bound.days_needed} are needed"
    return f"{number_text(bound.value / 1000, 3)} kWh"


def range_words(found: Assurance) -> str:
    """The range of the result in one line."""
    if found.p50.value is None:
        return f"not stated: {found.p90.days} comparable days without an event, {found.p90.days_needed} are needed"
    if found.p90.value is None:
        return f"at least {at_least(found.p50)} in one of two events; for nine of ten there are too few days to compare"
    return f"at least {at_least(found.p90)} in nine of ten events, {at_least(found.p50)} in one of two"


def verdict_words(found: Assurance) -> str:
    """What the tests for gaming came to, in a sentence or two."""
    looks = [test.name for test in found.gaming if test.verdict is Verdict.LOOK]
    silent = sum(test.verdict is Verdict.CANNOT_SAY for test in found.gaming)
    taken = len(found.gaming) - silent
    first = (
        f"{len(looks)} of {taken} tests found something to look at: {', '.join(looks)}."
        if looks
        else f"None of {taken} tests found anything to look at."
    )
    return f"{first} {silent} could not be taken." if silent else first


def accuracy(found: Assurance) -> Part:
    """The certificate and the days that it rests on."""
    certificate = found.certificate
    rows = (
        ("Days without an event, at the same hours", str(certificate.days)),
        ("Bias of the load (above 0: too much)", _percent(certificate.bias_fraction)),
        ("RRMSE of the load", _percent(certificate.rrmse_fraction)),
        ("RRMSE under the 20 % that PJM asks for", _yes(certificate.within_pjm)),
        ("Reduction", f"{number_text(found.reduction_wh / 1000, 3)} kWh"),
        ("At least, in one of two events (P50)", _ranked(found.p50)),
        ("At least, in nine of ten events (P90)", _ranked(found.p90)),
    )
    tables = [Table(name="accuracy", caption="Accuracy certificate", columns=(_QUANTITY, _VALUE), rows=rows)]
    if found.placebo.days:
        tables.append(_placebo_table(found))
    passed = Counter(_short(day.reason) for day in found.placebo.passed)
    if passed:
        columns = (Column(title="Why it is none"), Column(title="Days", kind=Kind.NUMBER))
        tables.append(
            Table(
                name="no_placebo",
                caption="Days looked at that are no test",
                columns=columns,
                rows=tuple(
                    (why, float(count)) for why, count in sorted(passed.items(), key=lambda item: (-item[1], item[0]))
                ),
            )
        )
    lead = "No day without an event can be compared, so that nothing is known of the rule's accuracy here."
    if certificate.rrmse_fraction is not None and certificate.bias_fraction is not None:
        too = "much" if certificate.bias_fraction > 0 else "little"
        lead = (
            f"On {certificate.days} days without an event the same rule was off by "
            f"{_percent(certificate.rrmse_fraction)} of the load and credited "
            f"{_percent(abs(certificate.bias_fraction))} too {too}. The reduction is {range_words(found)}."
        )
    return Part(lead=lead, tables=tuple(tables), notes=(_HOW_BOUNDED,))


_HOW_BOUNDED = (
    "The bounds take an error off the reduction that was exceeded on half, or on a tenth, of those days. PJM's figure "
    "is for its own sample of days: this is a reading by it and no certification."
)


def _placebo_table(found: Assurance) -> Table:
    columns = (
        Column(title="Day"),
        _energy("Credited, with no event"),
        _energy("Metered"),
        Column(title="Error", kind=Kind.NUMBER, unit="%", decimals=1),
        Column(title="Days in the baseline", kind=Kind.NUMBER),
    )
    return Table(
        name="placebo",
        caption="What the rule credits where nothing happened",
        columns=columns,
        rows=tuple(
            (
                day.date,
                day.error_wh / 1000,
                day.measured_wh / 1000,
                100 * day.error_wh / day.measured_wh if day.measured_wh > 0 else None,
                float(day.baseline_days),
            )
            for day in reversed(found.placebo.days)
        ),
        most_on_pages=PLACEBOS_ON_PAGES,
    )


def sensitivity(found: Assurance) -> Part:
    """What other rules make of the event."""
    others = found.sensitivity
    answered = [one for one in others.others if one.reduction_wh is not None]
    silent = [one for one in others.others if one.reduction_wh is None]
    credited = sorted([*((one.reduction_wh or 0.0, one.rule) for one in answered), (found.reduction_wh, found.rule)])
    columns = (
        Column(title="Rule"),
        _energy("Reduction"),
        _energy("Beside the settled one"),
        Column(title=""),
    )
    rows = tuple(
        (rule, credit_wh / 1000, (credit_wh - found.reduction_wh) / 1000, "settled" if rule == found.rule else "")
        for credit_wh, rule in credited
    )
    tables = [Table(name="other_rules", caption="From the least credit to the most", columns=columns, rows=rows)]
    if silent:
        tables.append(_silent_table(silent))
    lead = f"None of {len(others.others)} other rules can answer for this event."
    if others.lowest_wh is not None and others.highest_wh is not None:
        lead = (
            f"{len(answered)} other rules credit {number_text(others.lowest_wh / 1000, 3)} to "
            f"{number_text(others.highest_wh / 1000, 3)} kWh; {others.below} of them less than the "
            f"{number_text(found.reduction_wh / 1000, 3)} kWh that are settled. {len(silent)} cannot answer."
        )
    return Part(lead=lead, tables=tuple(tables))


def _silent_table(silent: Sequence[UnderRule]) -> Table:
    rules: dict[str, list[str]] = {}
    for one in silent:
        rules.setdefault(_short(one.missing), []).append(one.rule)
    return Table(
        name="silent_rules",
        caption="Rules that cannot answer",
        columns=(Column(title="Why"), Column(title="Rules")),
        rows=tuple((why, ", ".join(named)) for why, named in rules.items()),
    )


def gaming(found: Assurance) -> Part:
    """The tests, and why each has its limit."""
    columns = (
        Column(title="Test"),
        Column(title="Verdict"),
        Column(title="Figure", kind=Kind.NUMBER, decimals=2),
        Column(title="Limit", kind=Kind.NUMBER, decimals=2),
        Column(title="Found"),
    )
    rows = tuple((test.name, test.verdict.value, test.figure, test.limit, test.found) for test in found.gaming)
    limits = tuple((test.name, test.reason) for test in found.gaming)
    return Part(
        lead=verdict_words(found),
        tables=(
            Table(name="gaming", caption="Tests", columns=columns, rows=rows),
            Table(
                name="gaming_limits",
                caption="Where the limits are from",
                columns=(Column(title="Test"), Column(title="Why this limit")),
                rows=limits,
            ),
        ),
        notes=("A finding is a place to look at and no accusation: loads rise before events for honest reasons, too.",),
    )


def rebound(found: Assurance) -> Part:
    """What came back, and what is left of the reduction."""
    back = found.rebound
    rows = (
        ("Looked at", f"{_hours(back.hours)} hours after the event"),
        ("Held against", back.reference),
        ("Energy that came back", _kwh(back.rebound_wh)),
        ("Net effect: reduction less that", _kwh(back.net_wh)),
        ("Load afterwards, of the baseline", _percent(back.of_baseline_fraction)),
        ("Load afterwards, of the hour before", _percent(back.of_before_fraction)),
        (
            "Work that was put off",
            "not on record" if back.deferred_gpu_h is None else f"{number_text(back.deferred_gpu_h, 1)} GPU-hours",
        ),
    )
    lead = f"In the {_hours(back.hours)} hours after: {back.finding}."
    if back.net_wh is not None:
        lead += f" The net effect is {_kwh(back.net_wh)}."
    return Part(
        lead=lead,
        tables=(Table(name="rebound", caption="After the event", columns=(_QUANTITY, _VALUE), rows=rows),),
        notes=("Signed: where less was drawn afterwards, too, nothing came back and the figure is negative.",),
    )


def devices_table(found: Assurance) -> Table:
    """GPU telemetry against the site meter."""
    told = found.reconciliation
    return Table(
        name="devices",
        caption="Devices against the site meter, from four hours before the event to its end",
        columns=(_QUANTITY, _VALUE),
        rows=_device_rows(told) if not told.note else (("Compared", f"not: {told.note}"),),
    )


def _device_rows(told: Reconciliation) -> tuple[tuple[str, str], ...]:
    correlation = "not defined" if told.correlation is None else number_text(told.correlation, 3)
    return (
        ("Intervals that both have", str(told.intervals)),
        ("Devices, of the meter", _percent(told.ratio)),
        ("Correlation", correlation),
        ("Of the fall, not shown by devices", _percent(told.unexplained_fraction)),
    )


WRITERS: Mapping[Topic, Callable[[Assurance], Part]] = {
    Topic.ACCURACY: accuracy,
    Topic.SENSITIVITY: sensitivity,
    Topic.GAMING: gaming,
    Topic.REBOUND: rebound,
}


def _ranked(bound: Bound) -> str:
    words = at_least(bound)
    return words if bound.value is None else f"{words} (error {bound.rank} of {bound.days})"


def _short(reason: str) -> str:
    """A reason without the figures that follow, so that days and rules with the same one stand together."""
    return reason.partition(": ")[0]


def _hours(hours: float) -> str:
    return f"{hours:g}"


def _percent(fraction: float | None) -> str:
    return "not known" if fraction is None else f"{number_text(100 * fraction, 1)} %"


def _kwh(energy_wh: float | None) -> str:
    return "not known" if energy_wh is None else f"{number_text(energy_wh / 1000, 3)} kWh"


def _yes(kept: bool | None) -> str:
    return {True: "yes", False: "no", None: "not known"}[kept]
