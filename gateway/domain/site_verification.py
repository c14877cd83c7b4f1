"""One verified report from what the sites below have verified: the signed sum of their parts, interval by interval.

What counts is a site's own settled baseline and reduction, as it reported them. What a site has not settled is neither
credited nor charged: it lowers the coverage of the interval by the site's weight, and the site is named with the
reason. Nothing is added for losses or overheads above the sites.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.domain.evidence import fingerprint
from gateway.domain.measurement import IntervalEnergy, Slice, slices
from gateway.domain.verification import SitePart, VerifiedInterval, VerifiedReport
from protocols.grid_report import IntervalReport

RULE, RULE_VERSION = "sites", "1.0"
"""Stands where the rule of a report stands that is a sum; each site's own rule is known to that site."""

WHOLE_FRACTION = 0.999
"""Covered by so much an interval is whole: times on the wire are rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteBelow:
    """A site below us: its name, and as whom (``""`` before it has registered) it reports over which connection.

    ``weight_w`` is what it can give at most, by declaration: its share of what was expected.
    """

    party: str
    connection_id: str
    party_id: str
    weight_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReports:
    """What one site has reported of an event's time.

    Made by ``site_reports``, so that the same reports make the same value, in whatever order they came.
    """

    site: SiteBelow
    reports: tuple[IntervalReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteVerificationInputs:
    """Everything that a verification by sites is computed from.

    ``metered`` is the energy of the same slices by the meter over all sites; it is compared and never counted.
    """

    connection_id: str
    event_id: str
    revision: int
    event_start: datetime
    event_end: datetime
    interval_s: float
    sites: tuple[SiteReports, ...]
    metered: tuple[IntervalEnergy, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    starts_at: datetime
    ends_at: datetime
    baseline_w: float
    reduction_w: float
    coverage_fraction: float


@dataclass(frozen=True, slots=True)
class _Share:
    """Of one site in one interval."""

    baseline_wh: float
    delivered_wh: float
    coverage_fraction: float


def site_reports(
    reports: Iterable[IntervalReport],
    *,
    site: SiteBelow,
    start: datetime,
    end: datetime,
) -> SiteReports:
    """Those of a site's reports that say a baseline or a reduction within ``[start, end)``, each once."""
    taken = {report.report_id: report for report in reports if is_of(report, start, end)}
    return SiteReports(
        site=site,
        reports=tuple(sorted(taken.values(), key=lambda report: (report.created_at, report.report_id))),
    )


def is_final(site: SiteReports, start: datetime, end: datetime) -> bool:
    """Whether a site has settled all of ``[start, end)``."""
    settled_s = sum(_overlap_s(piece, start, end) for piece in _pieces(site.reports))
    return settled_s >= WHOLE_FRACTION * (end - start).total_seconds()


def verify_by_sites(inputs: SiteVerificationInputs, *, verified_at: datetime) -> VerifiedReport:
    """Add up what the sites have verified. Without any settled figure the report is insufficient, and no zero."""
    sites = sorted(inputs.sites, key=lambda one: (one.site.connection_id, one.site.party))
    grid = slices(inputs.event_start, inputs.event_end, inputs.interval_s)
    shares = [_shares(_pieces(site.reports), grid) for site in sites]
    parts = tuple(_part(site, of_site, grid, inputs) for site, of_site in zip(sites, shares, strict=True))
    weights = [one.site.weight_w for one in sites]
    intervals = tuple(
        _interval(piece, of_interval, weights)
        for piece, of_interval in zip(grid, zip(*shares, strict=True), strict=False)
    )
    settled = any(part.coverage_fraction > 0.0 for part in parts)
    missing = "; ".join(f"{part.party}: {part.reason}" for part in parts if part.reason)
    return VerifiedReport(
        connection_id=inputs.connection_id,
        event_id=inputs.event_id,
        revision=inputs.revision,
        rule=RULE,
        rule_version=RULE_VERSION,
        verified_at=verified_at,
        intervals=intervals if settled else (),
        days=(),
        adjustment_kind="none",
        adjustment_raw=None,
        adjustment_applied=None,
        insufficient=None if settled else f"no site has verified anything: {missing}",
        inputs_sha256=fingerprint(inputs),
        sites=parts,
        notes=_notes(intervals, inputs.metered, missing) if settled else (),
    )


def is_of(report: IntervalReport, start: datetime, end: datetime) -> bool:
    """Whether a report says a baseline or a reduction within ``[start, end)``."""
    return any(
        (interval.baseline_w is not None or interval.reduction_w is not None)
        and interval.starts_at < end
        and interval.starts_at + timedelta(seconds=interval.duration_s) > start
        for interval in report.intervals
    )


def _pieces(reports: Sequence[IntervalReport]) -> tuple[_Piece, ...]:
    """What is settled, in order and without overlap: of the same interval the newest settled figure counts."""
    found: dict[tuple[datetime, float], tuple[float | None, float | None, float]] = {}
    for report in reports:
        for interval in report.intervals:
            if interval.preliminary:
                continue
            key = (interval.starts_at, interval.duration_s)
            baseline_w, reduction_w, coverage = found.get(key, (None, None, 0.0))
            if interval.baseline_w is not None:
                baseline_w = interval.baseline_w
            if interval.reduction_w is not None:
                reduction_w, coverage = interval.reduction_w, interval.coverage_fraction
            found[key] = (baseline_w, reduction_w, coverage)
    pieces: list[_Piece] = []
    for (starts_at, duration_s), (baseline_w, reduction_w, coverage) in sorted(found.items(), key=lambda one: one[0]):
        begins_at = max(starts_at, pieces[-1].ends_at) if pieces else starts_at
        ends_at = starts_at + timedelta(seconds=duration_s)
        if baseline_w is not None and reduction_w is not None and begins_at < ends_at:
            pieces.append(_Piece(begins_at, ends_at, baseline_w, reduction_w, coverage))
    return tuple(pieces)


def _overlap_s(piece: _Piece, start: datetime, end: datetime) -> float:
    return max(0.0, (min(piece.ends_at, end) - max(piece.starts_at, start)).total_seconds())


def _shares(pieces: Sequence[_Piece], grid: Sequence[Slice]) -> list[_Share]:
    """A site's part of each interval; its power counts as even over each interval of its own."""
    shares = []
    first = 0
    for interval in grid:
        while first < len(pieces) and pieces[first].ends_at <= interval.starts_at:
            first += 1
        baseline, delivered, covered = [], [], []
        for piece in pieces[first:]:
            if piece.starts_at >= interval.ends_at:
                break
            counted_s = _overlap_s(piece, interval.starts_at, interval.ends_at) * piece.coverage_fraction
            covered.append(counted_s)
            baseline.append(piece.baseline_w * counted_s / 3600.0)
            delivered.append(piece.reduction_w * counted_s / 3600.0)
        shares.append(_Share(math.fsum(baseline), math.fsum(delivered), math.fsum(covered) / interval.duration_s))
    return shares


def _interval(piece: Slice, shares: Sequence[_Share], weights: Sequence[float]) -> VerifiedInterval:
    baseline_wh = math.fsum(share.baseline_wh for share in shares)
    delivered_wh = math.fsum(share.delivered_wh for share in shares)
    covered = math.fsum(weight * share.coverage_fraction for weight, share in zip(weights, shares, strict=True))
    return VerifiedInterval(
        starts_at=piece.starts_at,
        duration_s=piece.duration_s,
        baseline_wh=baseline_wh,
        measured_wh=baseline_wh - delivered_wh,
        delivered_wh=delivered_wh,
        coverage_fraction=min(1.0, covered / math.fsum(weights)),
    )


def _part(
    site: SiteReports, shares: Sequence[_Share], grid: Sequence[Slice], inputs: SiteVerificationInputs
) -> SitePart:
    length_s = math.fsum(piece.duration_s for piece in grid)
    covered_s = math.fsum(share.coverage_fraction * piece.duration_s for share, piece in zip(shares, grid, strict=True))
    baseline_wh = math.fsum(share.baseline_wh for share in shares)
    delivered_wh = math.fsum(share.delivered_wh for share in shares)
    coverage = min(1.0, covered_s / length_s) if length_s else 0.0
    return SitePart(
        party=site.site.party,
        connection_id=site.site.connection_id,
        party_id=site.site.party_id,
        weight_w=site.site.weight_w,
        report_ids=tuple(report.report_id for report in site.reports),
        baseline_wh=baseline_wh,
        measured_wh=baseline_wh - delivered_wh,
        delivered_wh=delivered_wh,
        coverage_fraction=coverage,
        reason="" if coverage >= WHOLE_FRACTION else _reason(site, inputs),
    )


def _reason(site: SiteReports, inputs: SiteVerificationInputs) -> str:
    """Why a site's part is not whole, as far as its reports tell."""
    if not site.reports:
        return "has reported no baseline or reduction of this time"
    ends = [
        interval.starts_at + timedelta(seconds=interval.duration_s)
        for report in site.reports
        for interval in report.intervals
    ]
    last = max(ends)
    silent = f"has reported nothing after {last:%H:%M:%SZ}" if last < inputs.event_end else ""
    if not is_final(site, inputs.event_start, min(last, inputs.event_end)):
        open_ = "part of what it reported is preliminary still, or not measured: it has not verified it"
        return f"{silent}; {open_}" if silent else open_
    return silent or "its readings do not cover all of the time"


def _notes(intervals: Sequence[VerifiedInterval], metered: Sequence[IntervalEnergy], missing: str) -> tuple[str, ...]:
    notes = ["Verified by the sites below: the sum of what each has settled by its own rule."]
    if missing:
        notes.append(f"Not all is there, and what is missing is neither credited nor charged: {missing}.")
    by_start = {(energy.starts_at, energy.duration_s): energy for energy in metered}
    both = [
        (interval, energy)
        for interval in intervals
        if (energy := by_start.get((interval.starts_at, interval.duration_s))) is not None
        and min(energy.coverage_fraction, interval.coverage_fraction) >= WHOLE_FRACTION
    ]
    if not both:
        return (*notes, "No interval is covered by sites and meter alike: the two are not compared.")
    sites_wh = math.fsum(interval.measured_wh for interval, _ in both)
    meter_wh = math.fsum(energy.energy_wh for _, energy in both)
    notes.append(
        f"Over {len(both)} intervals that both cover the sites have measured {sites_wh / 1000:.3f} kWh and their power "
        f"reports come to {meter_wh / 1000:.3f} kWh: a difference of {(meter_wh - sites_wh) / 1000:+.3f} kWh."
    )
    return tuple(notes)
