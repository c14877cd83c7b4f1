import json
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.domain.assurance.assure import Assurance, assure
from gateway.domain.assurance.certificate import certify
from gateway.domain.assurance.gaming import Verdict
from gateway.domain.assurance.inputs import RuleInForce, WorkKept
from gateway.domain.assurance.placebo import PlaceboDay, bound, placebo
from gateway.domain.assurance.portfolio import SiteEvent, portfolio
from gateway.domain.baseline.result import Insufficient
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.evidence import canonical_json
from hardware.device import Quality
from tests.assurance_site import END, START, asked, site


def assessed(inputs) -> Assurance:
    found = assure(inputs)
    assert isinstance(found, Assurance), found
    return found


def verdicts(found: Assurance) -> dict[str, Verdict]:
    return {test.name: test.verdict for test in found.gaming}


def day(error_w: float, measured_w: float = 100.0, date: str = "2026-01-01") -> PlaceboDay:
    return PlaceboDay(
        date=date,
        errors_w=(error_w,),
        measured_w=(measured_w,),
        error_wh=error_w,
        measured_wh=measured_w,
        baseline_days=10,
    )


def test_a_bound_takes_off_the_error_of_the_conformal_rank():
    found = bound(100.0, [float(n) for n in range(1, 20)], 0.9)
    assert (found.rank, found.value) == (18, 82.0)
    assert bound(100.0, [float(n) for n in range(1, 20)], 0.5).value == 90.0


def test_a_bound_needs_nine_days_for_ninety_per_cent_and_says_so_below():
    few = bound(100.0, [0.0] * 8, 0.9)
    assert (few.value, few.days, few.days_needed) == (None, 8, 9)
    assert bound(100.0, [*([0.0] * 8), 7.0], 0.9).value == 93.0


def test_the_placebo_days_are_of_the_event_s_type_without_events():
    other = (START - timedelta(days=5), END - timedelta(days=5))
    found = placebo(asked(site(1), excluded=(other,)))
    passed = {item.date: item.reason for item in found.passed}
    assert passed["2026-06-19"] == "event day"  # also Juneteenth, which NERC does not keep
    assert passed["2026-06-20"] == "another day type"
    assert passed["2026-05-25"] == "another day type"  # Memorial Day
    assert found.days[-1].date == "2026-06-23"
    assert all(item.baseline_days == 10 for item in found.days[-20:])


def test_the_reduction_does_not_touch_the_placebo_days():
    plain, reduced = (placebo(asked(site(1, reduction_w=watts))) for watts in (0.0, 20_000.0))
    assert plain == reduced


def test_a_day_with_a_missing_reading_is_no_placebo():
    gone = START - timedelta(days=1)
    found = placebo(asked([energy for energy in site(1) if energy.starts_at != gone]))
    assert {item.date: item.reason for item in found.passed}["2026-06-23"].startswith("readings are missing")


def test_the_certificate_is_the_mean_error_and_its_square():
    found = certify([day(30.0), day(-10.0)])
    assert found.bias_fraction == pytest.approx(0.1)
    assert found.rrmse_fraction == pytest.approx(500**0.5 / 100)
    assert found.within_pjm is False
    assert certify([]).rrmse_fraction is None
    assert certify([day(1.0, 0.0)]).bias_fraction is None


def test_an_assessment_has_one_spelling():
    inputs = asked(site(3, reduction_w=9_000.0), other_rules=tuple(shipped_rules().values()))
    found = assessed(inputs)
    assert canonical_json(found) == canonical_json(assessed(inputs))
    assert json.loads(canonical_json(found))["rule"] == "caiso-10-in-10"
    assert found.p90.value is not None
    assert found.p50.value is not None
    assert found.p90.value < found.p50.value
    assert len(found.intervals) == 2


def test_the_rule_s_own_silence_is_the_answer():
    assert isinstance(assure(asked(site(1)[-100:])), Insufficient)


def test_too_few_placebo_days_give_no_bound():
    found = assessed(asked(site(1), look_back_days=8))
    assert (found.p90.value, found.p90.days) == (None, 6)
    assert {row.p90_w for row in found.intervals} == {None}
    assert verdicts(found)["pre-event ramp"] is Verdict.CANNOT_SAY


def test_other_rules_answer_or_say_what_they_miss():
    found = assessed(asked(site(1, reduction_w=9_000.0), other_rules=tuple(shipped_rules().values()))).sensitivity
    assert "caiso-10-in-10" not in {item.rule for item in found.others}
    silent = {item.rule: item.missing for item in found.others if item.reduction_wh is None}
    assert silent["maximum-base-load"]
    credited = [item.reduction_wh for item in found.others if item.reduction_wh is not None]
    assert credited == sorted(credited)
    assert (found.lowest_wh, found.highest_wh) == (credited[0], credited[-1])


def test_a_load_raised_before_the_event_is_found():
    found = assessed(asked(site(2, raised_w=25_000.0)))
    assert verdicts(found)["pre-event ramp"] is Verdict.LOOK
    assert verdicts(found)["adjustment at its bound"] is Verdict.LOOK


def test_a_change_at_the_notice_is_found():
    told = START - timedelta(hours=2)
    raised = site(2, raised_w=25_000.0, raised_from_h=-2.0)
    assert verdicts(assessed(asked(raised, noticed_at=told)))["change at notice"] is Verdict.LOOK
    assert verdicts(assessed(asked(site(2), noticed_at=told)))["change at notice"] is Verdict.PASS
    assert verdicts(assessed(asked(raised)))["change at notice"] is Verdict.CANNOT_SAY


def test_a_baseline_that_events_keep_from_moving_is_stale():
    daily = tuple((START - timedelta(days=n), END - timedelta(days=n)) for n in range(1, 22))
    found = assessed(asked(site(1), excluded=daily))
    assert verdicts(found)["stale baseline"] is Verdict.LOOK
    assert verdicts(found)["share of event days"] is Verdict.LOOK
    assert verdicts(found)["event frequency"] is Verdict.LOOK


@pytest.mark.parametrize(("by_site", "verdict"), [(True, Verdict.LOOK), (False, Verdict.PASS)])
def test_a_rule_that_the_site_chose_anew_is_looked_at(by_site: bool, verdict: Verdict):
    rules = tuple(
        RuleInForce(since=START - timedelta(days=back), rule=rule, chosen_by_site=by_site)
        for back, rule in ((300, "gb-bl01"), (20, "caiso-10-in-10"))
    )
    assert verdicts(assessed(asked(site(1), past_rules=rules)))["self-chosen rule"] is verdict


def test_jobs_that_start_before_the_event_are_looked_at():
    burst = tuple(START - timedelta(minutes=n) for n in range(1, 9))
    steady = tuple(START - timedelta(hours=n / 2) for n in range(1, 49))
    assert verdicts(assessed(asked(site(1), job_starts=burst)))["jobs started before the event"] is Verdict.LOOK
    assert verdicts(assessed(asked(site(1), job_starts=steady)))["jobs started before the event"] is Verdict.PASS


def test_work_that_was_put_off_is_told_beside_power_that_did_not_come_back():
    work = (WorkKept(job_id="a", gpus=64, lost_s=1800.0), WorkKept(job_id="b", gpus=8, lost_s=3600.0))
    found = assessed(asked(site(5, noise=0.001), work=work)).rebound
    assert found.deferred_gpu_h == pytest.approx(40.0)
    assert found.finding == "power did not overshoot, 40.0 GPU-hours of work were deferred"


def test_a_rebound_is_taken_off_the_effect():
    history = [
        replace(energy, energy_wh=energy.energy_wh + 12_000.0) if energy.starts_at >= END else energy
        for energy in site(5, reduction_w=9_000.0, noise=0.001)
    ]
    found = assessed(asked(history))
    assert found.rebound.rebound_wh == pytest.approx(48_000.0, rel=0.05)
    assert found.rebound.net_wh == pytest.approx(-30_000.0, rel=0.1)
    assert found.rebound.finding.startswith("power came back")


def test_devices_that_fall_less_than_the_meter_leave_a_share_unexplained():
    history = site(5, reduction_w=20_000.0, noise=0.001)
    devices = tuple(
        replace(energy, energy_wh=energy.energy_wh - 15_000.0 + (5_000.0 if START <= energy.starts_at < END else 0.0))
        for energy in history
    )
    found = assessed(asked(history, devices=devices)).reconciliation
    assert found.intervals == 6
    assert found.unexplained_fraction == pytest.approx(0.25, abs=0.01)
    assert found.correlation == pytest.approx(1.0, abs=0.01)
    assert assessed(asked(history)).reconciliation.note == "no device telemetry was given"


def test_quality_counts_what_the_meter_said_of_itself():
    history = [
        replace(energy, quality=Quality.ESTIMATED, coverage_fraction=0.96) if energy.starts_at == START else energy
        for energy in site(1)
    ]
    found = assessed(asked(history)).quality
    assert (found.good, found.estimated, found.suspect) == (1, 1, 0)
    assert found.coverage_fraction == pytest.approx(0.98)


def test_a_portfolio_keeps_what_its_sites_have_in_common():
    sites = [asked(site(seed, reduction_w=9_000.0)) for seed in (1, 2)]
    one, other = (SiteEvent(site_id="a", reduction_wh=18_000.0, placebo=placebo(item)) for item in sites)
    twice = portfolio([[one, replace(one, site_id="b")]])
    mixed = portfolio([[one, replace(other, site_id="b")]])
    assert twice == portfolio([[one, replace(one, site_id="b")]])
    assert twice.p90_wh is not None
    assert mixed.p90_wh is not None
    assert twice.p90_wh < mixed.p90_wh < mixed.reduction_wh  # errors that go together do not cancel


def test_a_portfolio_without_enough_shared_days_has_no_bound():
    event = SiteEvent(site_id="a", reduction_wh=1.0, placebo=placebo(asked(site(1), look_back_days=8)))
    found = portfolio([[event]])
    assert (found.p90_wh, found.days, found.days_needed) == (None, 6, 9)
    assert portfolio([]).p50_wh is None


@pytest.mark.parametrize("rule_id", sorted(shipped_rules()))
def test_a_placebo_day_is_asked_of_no_less_than_its_rule_looks_at(
    rule_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = shipped_rules()[rule_id]
    inputs = asked(site(7), rule=rule, noticed_at=START - timedelta(hours=30), declared_w=40_000.0, look_back_days=14)
    found = placebo(inputs)
    monkeypatch.setattr("gateway.domain.assurance.inputs._looked_at", lambda history, *_: history)
    whole = placebo(inputs)
    assert found.days == whole.days
    assert [day.date for day in found.passed] == [day.date for day in whole.passed]
