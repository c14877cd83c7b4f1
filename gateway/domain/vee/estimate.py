"""Estimation: edits proposed for gaps and suspect intervals, and for the rest why there is none.

Short gaps are interpolated, longer ones take the mean of like days, and both add up to the register where it was read.
Nothing is laid over the intervals here: that is what ``resolve`` does with the edits that somebody accepts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from gateway.domain.measurement import IntervalEnergy, epoch_us, from_epoch_us
from gateway.domain.vee.draft import Draft, draft
from gateway.domain.vee.edit import Edit, Method
from gateway.domain.vee.finding import Finding, Kind, Severity, in_order
from gateway.domain.vee.registers import RegisterReading
from gateway.domain.vee.rule import VeeRules
from gateway.domain.vee.scaling import scale
from gateway.domain.vee.series import Series, arrange
from hardware.device import Quality

_US_AN_HOUR = 3_600_000_000
_CORRECTED = (Kind.UNIT, Kind.LOCAL_TIME)
"""What is put right by reading the data again: an estimate would hide the fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Intervals over ``[starts_at, ends_at)`` for which there is no estimate; ``reason`` says what is missing."""

    starts_at: datetime
    ends_at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """Proposed edits and refusals, both in order of time."""

    edits: tuple[Edit, ...]
    refused: tuple[Refused, ...]


def estimate(
    intervals: Sequence[IntervalEnergy],
    *,
    findings: Sequence[Finding],
    meter_id: str,
    interval_s: float,
    zone: tzinfo,
    start: datetime,
    end: datetime,
    rules: VeeRules,
    registers: Sequence[RegisterReading] = (),
    events: Sequence[tuple[datetime, datetime]] = (),
    by: str,
    at: datetime,
) -> Estimates:
    """Propose an edit for each interval of ``[start, end)`` that is missing, suspect, or named by a suspect finding.

    ``findings`` are those of ``validate`` for the same arguments; leave one out to have its intervals taken as right.
    Only good intervals are a basis, those outside the period too, and of like days only those outside ``events``, in
    which the load was told to be another. Every edit is estimated, by ``by`` at ``at``; but intervals off the grid are
    removed where all that they touch is estimated. Where a finding says that the unit or the time zone is wrong,
    nothing is estimated. Raises ``ValueError`` as ``validate``.
    """
    series = arrange(
        intervals,
        interval_s=interval_s,
        zone=zone,
        start=start,
        end=end,
        least_coverage_fraction=rules.least_coverage_fraction,
    )
    suspect = [finding for finding in in_order(findings) if finding.severity is Severity.SUSPECT]
    corrected = [finding for finding in suspect if finding.kind in _CORRECTED]
    blocked = _touched(series, corrected)
    why = _why(series, [one for one in suspect if one.kind not in {*_CORRECTED, Kind.REGISTER}])
    wanted = frozenset(why) - blocked
    doubtful = wanted | blocked | _not_good(series)
    drafts = draft(series, rules, wanted=wanted, doubtful=doubtful, unlike=_within(series, events))
    scale(drafts, series, rules, registers, wanted=wanted, unknown=wanted | blocked)
    refused = [
        Refused(starts_at=from_epoch_us(begin_us), ends_at=from_epoch_us(end_us), reason=reason)
        for (begin_us, end_us), reason in drafts.refused.items()
    ]
    refused += _not_estimated(series, suspect, wanted)
    made = _Made(meter_id=meter_id, by=by, at=at, rules=f"{rules.rules_id} {rules.version}")
    edits = [made.estimated(series, slot, one, ", ".join(why[slot])) for slot, one in drafts.found.items()]
    edits += made.removed(series, frozenset(drafts.found))
    return Estimates(
        edits=tuple(sorted(edits, key=lambda edit: (edit.starts_at, edit.duration_s))),
        refused=tuple(sorted(refused, key=lambda one: (one.starts_at, one.ends_at, one.reason))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What all edits of one estimation have in common."""

    meter_id: str
    by: str
    at: datetime
    rules: str

    def estimated(self, series: Series, slot: int, one: Draft, why: str) -> Edit:
        reason = f"{why}: {one.words} ({self.rules})"
        energy_wh = one.power_w * series.interval_us / _US_AN_HOUR
        return self._edit(slot, series.interval_us, one.method, reason, energy_wh=energy_wh)

    def removed(self, series: Series, slots: frozenset[int]) -> Iterator[Edit]:
        """Intervals off the grid in place of which everything was estimated, each place once."""
        places = {(epoch_us(one.starts_at), epoch_us(one.ends_at)) for one in series.beside}
        for begin_us, end_us in sorted(places):
            touched = frozenset(series.touched(begin_us, end_us))
            if touched and touched <= slots:
                reason = f"off the grid, estimated on the grid instead ({self.rules})"
                yield self._edit(begin_us, end_us - begin_us, Method.REMOVED, reason, energy_wh=None)

    def _edit(self, begin_us: int, long_us: int, method: Method, reason: str, *, energy_wh: float | None) -> Edit:
        starts_at, duration_s = from_epoch_us(begin_us), long_us / 1_000_000
        return Edit(
            edit_id=f"{self.meter_id}/{starts_at.isoformat()}/{duration_s:g}/{self.at.isoformat()}",
            meter_id=self.meter_id,
            starts_at=starts_at,
            duration_s=duration_s,
            energy_wh=energy_wh,
            quality=Quality.SUSPECT if energy_wh is None else Quality.ESTIMATED,
            reason=reason,
            by=self.by,
            at=self.at,
            method=method,
        )


def _touched(series: Series, findings: Sequence[Finding]) -> frozenset[int]:
    return frozenset(
        slot for one in findings for slot in series.touched(epoch_us(one.starts_at), epoch_us(one.ends_at))
    )


def _why(series: Series, findings: Sequence[Finding]) -> dict[int, list[str]]:
    """The slots that want an estimate, in order, each with the reasons."""
    why: dict[int, list[str]] = {slot: [] for slot in series.slots}
    for one in findings:
        for slot in series.touched(epoch_us(one.starts_at), epoch_us(one.ends_at)):
            if one.kind.value not in why[slot]:
                why[slot].append(one.kind.value)
    for slot, reasons in why.items():
        if any(one.quality is Quality.SUSPECT for one in series.on_grid.get(slot, ())):
            reasons.append("suspect reading")
        elif not reasons and slot not in series.power_w:
            reasons.append("no usable reading" if slot not in series.on_grid else Kind.DUPLICATE.value)
    return {slot: reasons for slot, reasons in why.items() if reasons}


def _not_good(series: Series) -> frozenset[int]:
    """Slots known from something other than good readings, in the period and around it."""
    return frozenset(
        slot for slot, same in series.on_grid.items() if any(one.quality is not Quality.GOOD for one in same)
    )


def _within(series: Series, events: Sequence[tuple[datetime, datetime]]) -> frozenset[int]:
    """Known slots that lie in one of the events, if only in part."""
    spans = [(epoch_us(begin) - series.interval_us + 1, epoch_us(end)) for begin, end in events]
    return frozenset(slot for begin_us, end_us in spans for slot in series.within(begin_us, end_us))


def _not_estimated(series: Series, suspect: Sequence[Finding], wanted: frozenset[int]) -> Iterator[Refused]:
    """Refusals for findings that an estimate does not put right."""
    for one in suspect:
        if one.kind in _CORRECTED:
            reason = f"{one.kind.value}: the data have to be read again in the right unit and time zone, not estimated"
        elif one.kind is Kind.REGISTER and wanted.isdisjoint(_touched(series, [one])):
            reason = "register: nobody can tell which interval is wrong; compare with the meter and enter what is right"
        else:
            continue
        yield Refused(starts_at=one.starts_at, ends_at=one.ends_at, reason=reason)
