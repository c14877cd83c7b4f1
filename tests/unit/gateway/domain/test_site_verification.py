"""One report from the sites' own: what they have settled adds up; what they have not is named and counts nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from gateway.domain.contract import Program
from gateway.domain.measurement import IntervalEnergy, Slice
from gateway.domain.response import response, verified_spans
from gateway.domain.settlement import check, settle
from gateway.domain.site_verification import (
    SiteBelow,
    SiteReports,
    SiteVerificationInputs,
    is_final,
    site_reports,
    verify_by_sites,
)
from gateway.domain.verification import VerifiedReport
from protocols.grid_report import IntervalReport, ReportInterval

START = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
END = START + timedelta(minutes=10)


def report(
    name: str,
    minute: float,
    minutes: float,
    *,
    baseline_w: float | None = 1000.0,
    reduction_w: float | None = 400.0,
    preliminary: bool = False,
    said: float = 20.0,
) -> IntervalReport:
    interval = ReportInterval(
        starts_at=START + timedelta(minutes=minute),
        duration_s=minutes * 60.0,
        power_w=None,
        coverage_fraction=1.0,
        baseline_w=baseline_w,
        reduction_w=reduction_w,
        preliminary=preliminary,
    )
    return IntervalReport(
        report_id=name,
        order_id="verified",
        connection_id="below",
        resource_id="it",
        created_at=START + timedelta(minutes=said),
        intervals=(interval,),
    )


def site(party: str, *reports: IntervalReport, weight_w: float = 1000.0) -> SiteReports:
    below = SiteBelow(party=party, connection_id="below", party_id=f"id-{party}", weight_w=weight_w)
    return site_reports(reports, site=below, start=START, end=END)


def inputs(*sites: SiteReports, metered: tuple[IntervalEnergy, ...] = ()) -> SiteVerificationInputs:
    return SiteVerificationInputs(
        connection_id="utility",
        event_id="peak-1",
        revision=0,
        event_start=START,
        event_end=END,
        interval_s=300.0,
        sites=sites,
        metered=metered,
    )


def verified(*sites: SiteReports, metered: tuple[IntervalEnergy, ...] = ()) -> VerifiedReport:
    return verify_by_sites(inputs(*sites, metered=metered), verified_at=END)


def test_what_sites_have_settled_adds_up_whatever_their_intervals() -> None:
    fine = site("a", *(report(f"a{minute}", minute, 1) for minute in range(10)))
    coarse = site("b", report("b", -5, 20, baseline_w=3000.0, reduction_w=-60.0))
    made = verified(fine, coarse)
    assert [interval.baseline_wh for interval in made.intervals] == pytest.approx([4000 / 12, 4000 / 12])
    assert [interval.delivered_wh for interval in made.intervals] == pytest.approx([340 / 12, 340 / 12])
    assert [interval.coverage_fraction for interval in made.intervals] == pytest.approx([1.0, 1.0])
    assert [part.delivered_wh for part in made.sites] == pytest.approx([400 / 6, -10.0])
    assert made.insufficient is None


def test_baseline_and_reduction_may_come_in_reports_of_their_own() -> None:
    apart = site("a", report("1", 0, 10, reduction_w=None), report("2", 0, 10, baseline_w=None))
    assert verified(apart).intervals == verified(site("a", report("3", 0, 10))).intervals


def test_a_correction_takes_the_place_of_what_it_corrects_and_what_is_preliminary_never_counts() -> None:
    first = report("1", 0, 10, reduction_w=900.0, preliminary=True)
    assert not is_final(site("a", first), START, END)
    settled = report("1~s", 0, 10, reduction_w=400.0, said=30.0)
    again = report("1~t", 0, 10, reduction_w=350.0, said=40.0)
    assert is_final(site("a", first, settled), START, END)
    assert verified(site("a", again, settled, first)).sites[0].delivered_wh == pytest.approx(350 / 6)


def test_a_site_that_died_is_named_and_lowers_the_coverage_by_its_share() -> None:
    alive = site("a", report("a", 0, 10))
    dead = site("b", report("b", 0, 5), weight_w=3000.0)
    made = verified(alive, dead)
    assert [interval.coverage_fraction for interval in made.intervals] == pytest.approx([1.0, 0.25])
    assert made.intervals[1].delivered_wh == pytest.approx(400 / 12)
    assert made.sites[1].reason == "has reported nothing after 12:05:00Z"
    assert any("b: has reported nothing after 12:05:00Z" in note for note in made.notes)


@pytest.mark.parametrize(
    ("reports", "reason"),
    [
        ((), "has reported no baseline or reduction of this time"),
        ((report("b", 0, 10, preliminary=True),), "part of what it reported is preliminary still"),
        ((report("b", 0, 10, reduction_w=None),), "or not measured"),
    ],
)
def test_a_site_that_has_verified_nothing_says_why_and_changes_no_other(
    reports: tuple[IntervalReport, ...], reason: str
) -> None:
    alone = verified(site("a", report("a", 0, 10)))
    made = verified(site("a", report("a", 0, 10)), site("b", *reports))
    assert made.sites[0] == alone.sites[0]
    assert [replace(one, coverage_fraction=1.0) for one in made.intervals] == list(alone.intervals)
    assert [one.coverage_fraction for one in made.intervals] == [0.5, 0.5]
    assert reason in made.sites[1].reason


def test_without_any_settled_figure_there_is_no_zero() -> None:
    made = verified(site("a"))
    assert made.intervals == ()
    assert made.insufficient == ("no site has verified anything: a: has reported no baseline or reduction of this time")


def test_the_difference_to_the_power_reports_is_stated_over_what_both_cover() -> None:
    metered = tuple(
        IntervalEnergy(
            starts_at=START + timedelta(minutes=5 * index), duration_s=300.0, energy_wh=60.0, coverage_fraction=coverage
        )
        for index, coverage in enumerate((1.0, 0.5))
    )
    notes = verified(site("a", report("a", 0, 10)), metered=metered).notes
    assert "Over 1 intervals that both cover" in notes[-1]
    assert notes[-1].endswith("a difference of +0.010 kWh.")
    assert "are not compared" in verified(site("a", report("a", 0, 10))).notes[-1]


def test_a_statement_follows_from_its_sites_reports_and_from_no_others() -> None:
    program = Program(program_id="peak", price_per_kwh=Decimal(1), by_sites=True)
    stated = settle(
        verified(site("a", report("a", 0, 10))), program=program, site_id="p", statement_id="s", issued_at=END
    )
    assert stated.notes[0].startswith("Verified by the sites below")
    assert check(stated, inputs(site("a", report("a", 0, 10))), program) is None
    other = check(stated, inputs(site("a", report("a", 0, 10, reduction_w=401.0))), program)
    assert other is not None


def test_what_is_reported_above_is_the_sites_sum_and_nothing_where_no_site_has_settled() -> None:
    spans = verified_spans(verified(site("a", report("a", 0, 5)), site("b")))
    whole, none = pieces()
    told = response(whole, 9000.0, spans)
    assert (told.baseline_w, told.reduction_w) == pytest.approx((1000.0, 400.0))
    assert told.preliminary
    untold = response(none, 9000.0, spans)
    assert (untold.baseline_w, untold.reduction_w, untold.preliminary) == (None, None, True)


def pieces() -> tuple[Slice, Slice]:
    first = Slice(starts_at=START, duration_s=300.0)
    return first, replace(first, starts_at=START + timedelta(minutes=5))
