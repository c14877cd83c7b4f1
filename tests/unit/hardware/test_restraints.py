"""Holding back under leases: pauses, holds, drains; the gateway and the operator; a scheduler that is away."""

from dataclasses import replace

import pytest

from hardware.device import Fault, Lease, OnExpiry, Outcome
from hardware.errors import Condition, SchedulerLost, WriteRefused
from hardware.job import Asker, JobAction, JobState, PauseMethod, Verb
from hardware.journal import Journal
from hardware.pauses import PauseKeeper
from tests.job_queue import Queue, job


class Desk:
    """A keeper over a queue, and a clock that the test moves."""

    def __init__(self):
        self.now_s = 1000.0
        self.sequence = 0
        self.queue = Queue({one.job_id: one for one in (job("run"), job("wait", JobState.PENDING))})
        self.journal = Journal(None)
        self.keeper = PauseKeeper(self.queue, self.journal)

    def ask(self, verb, job_id="run", *, lasts_s=10.0, asker=Asker.GATEWAY, epoch=1, sequence=None, **more):
        self.sequence += 1
        lease = Lease(
            epoch=epoch,
            sequence=self.sequence if sequence is None else sequence,
            duration_s=lasts_s,
            on_expiry=more.pop("on_expiry", OnExpiry.RESTORE),
        )
        action = JobAction(job_id=job_id, verb=verb, lease=lease, asker=asker, **more)
        (result,) = self.keeper.act([action], received_s=self.now_s, now_s=self.now_s)
        return result

    def pass_time(self, seconds, step_s=0.25):
        for _ in range(round(seconds / step_s)):
            self.now_s += step_s
            self.keeper.expire(self.now_s)

    def another_keeper(self, kept):
        self.keeper = PauseKeeper(self.queue, self.journal)
        self.keeper.adopt(kept)
        return self.keeper.recover(self.now_s)

    def view(self, job_id="run"):
        return next(one for one in self.keeper.views(self.now_s) if one.job_id == job_id)


@pytest.fixture
def desk():
    return Desk()


def test_hold_and_drain_end_with_their_lease_as_a_pause_does(desk):
    for verb, target in ((Verb.PAUSE, "run"), (Verb.HOLD, "wait"), (Verb.DRAIN, "n1")):
        assert desk.ask(verb, target).outcome is Outcome.APPLIED
    assert (desk.queue.state("run"), desk.queue.state("wait"), desk.queue.drained) == ("paused", "held", {"n1"})
    assert (desk.journal.state.paused, desk.journal.state.held, desk.journal.state.drained) == (
        {"run"},
        {"wait"},
        {"n1"},
    )
    desk.pass_time(11.0)
    assert (desk.queue.state("run"), desk.queue.state("wait"), desk.queue.drained) == ("running", "pending", set())
    assert not desk.journal.state.paused | desk.journal.state.held | desk.journal.state.drained


def test_lease_that_asks_to_be_held_over_ends_all_the_same(desk):
    desk.ask(Verb.PAUSE, on_expiry=OnExpiry.HOLD)
    desk.pass_time(11.0)
    assert desk.queue.state() == "running"


@pytest.mark.parametrize(
    ("begins", "ends", "target"),
    [(Verb.PAUSE, Verb.RESUME, "run"), (Verb.HOLD, Verb.RELEASE, "wait"), (Verb.DRAIN, Verb.UNDRAIN, "n1")],
)
class TestWhose:
    def test_what_the_operator_holds_back_the_gateway_leaves(self, desk, begins, ends, target):
        assert desk.ask(begins, target, asker=Asker.OPERATOR, lasts_s=30.0).outcome is Outcome.APPLIED
        for verb in (begins, ends):
            result = desk.ask(verb, target)
            assert result.outcome is Outcome.CONFLICT
            assert "operator on call" in result.fault.detail
        desk.pass_time(20.0)
        assert desk.ask(ends, target).outcome is Outcome.CONFLICT
        assert desk.ask(ends, target, asker=Asker.OPERATOR).outcome is Outcome.APPLIED
        assert desk.ask(begins, target).outcome is Outcome.APPLIED

    def test_what_the_gateway_holds_back_the_operator_leaves(self, desk, begins, ends, target):
        assert desk.ask(begins, target).outcome is Outcome.APPLIED
        for verb in (begins, ends):
            result = desk.ask(verb, target, asker=Asker.OPERATOR)
            assert result.outcome is Outcome.CONFLICT
            assert "opt out of the event" in result.fault.cure
        assert desk.ask(begins, target).outcome is Outcome.APPLIED, "its renewals go on"

    def test_what_somebody_else_set_before_is_not_undone(self, desk, begins, ends, target):
        {Verb.PAUSE: desk.queue.pause, Verb.HOLD: desk.queue.hold}.get(begins, lambda _: desk.queue.drained.add("n1"))(
            target
        )
        for verb in (begins, ends):
            assert desk.ask(verb, target).outcome is Outcome.CONFLICT
        calls = len(desk.queue.calls)
        desk.pass_time(60.0)
        assert len(desk.queue.calls) == calls

    def test_whoever_dies_the_journal_undoes_first(self, desk, begins, ends, target):
        desk.ask(begins, target)
        (result,) = desk.another_keeper({})
        assert (result.verb, result.outcome) == (ends, Outcome.APPLIED)

    def test_lease_that_is_handed_over_goes_on_and_ends(self, desk, begins, ends, target):
        desk.ask(begins, target, asker=Asker.OPERATOR, lasts_s=30.0)
        assert desk.another_keeper(desk.keeper.kept_leases()) == ()
        assert desk.ask(ends, target).outcome is Outcome.CONFLICT, "it is still the operator's"
        desk.pass_time(31.0)
        assert desk.ask(begins, target).outcome is Outcome.APPLIED


def test_operators_high_sequence_does_not_make_the_gateway_stale(desk):
    desk.ask(Verb.PAUSE, asker=Asker.OPERATOR, sequence=10**18)
    desk.ask(Verb.RESUME, asker=Asker.OPERATOR, sequence=10**18 + 1)
    assert desk.ask(Verb.PAUSE).outcome is Outcome.APPLIED


def test_tested_maximum_counts_on_across_a_death(desk):
    desk.ask(Verb.PAUSE, lasts_s=50.0)
    desk.pass_time(40.0)
    kept = desk.keeper.kept_leases()
    assert {lease.since_s for lease in kept.values()} == {1000.0}
    desk.another_keeper(kept)
    assert desk.ask(Verb.PAUSE, lasts_s=50.0).outcome is Outcome.CLAMPED
    desk.pass_time(20.0)
    assert desk.queue.state() == "running"


def test_repetition_after_a_hand_over_is_answered_and_does_not_act(desk):
    action_sequence = 7
    desk.ask(Verb.REQUEUE, sequence=action_sequence, lasts_s=30.0)
    desk.queue.found["run"] = replace(desk.queue.found["run"], state=JobState.RUNNING)
    desk.another_keeper(desk.keeper.kept_leases())
    assert desk.ask(Verb.REQUEUE, sequence=action_sequence, lasts_s=30.0).outcome is Outcome.APPLIED
    assert desk.queue.calls.count("requeue") == 1


def test_requeue_and_priority_are_done_once_and_read_back(desk):
    for _ in range(2):
        assert desk.ask(Verb.REQUEUE, sequence=1).outcome is Outcome.APPLIED
        assert desk.ask(Verb.PRIORITIZE, "wait", sequence=2, priority=9).outcome is Outcome.APPLIED
    assert (desk.queue.calls.count("requeue"), desk.queue.calls.count("prioritize")) == (1, 1)
    assert (desk.queue.state(), desk.queue.found["wait"].priority) == ("pending", 9)
    desk.pass_time(60.0)
    assert not desk.keeper.runs(desk.now_s)


def test_success_that_did_nothing_is_a_named_fault(desk, monkeypatch):
    monkeypatch.setattr(desk.queue, "prioritize", lambda job_id, priority: None)
    monkeypatch.setattr(desk.queue, "requeue", lambda job_id: None)
    monkeypatch.setattr(desk.queue, "hold", lambda job_id: None)
    asked = ((Verb.PRIORITIZE, "wait", {"priority": 9}), (Verb.REQUEUE, "run", {}), (Verb.HOLD, "wait", {}))
    for verb, target, more in asked:
        result = desk.ask(verb, target, **more)
        assert (result.outcome, result.fault.condition) == (Outcome.REFUSED, Condition.NOT_IN_FORCE)
        assert result.fault.cure


def test_job_that_is_not_ours_to_let_go_is_not_requeued_either(desk):
    desk.ask(Verb.PAUSE)
    assert "opt out" in desk.ask(Verb.REQUEUE, asker=Asker.OPERATOR).fault.cure
    assert desk.ask(Verb.REQUEUE).outcome is Outcome.APPLIED
    desk.queue.found["run"] = job("run", JobState.PAUSED)
    desk.pass_time(15.0)
    assert desk.ask(Verb.REQUEUE).outcome is Outcome.CONFLICT
    assert desk.queue.state() == "paused"


def test_what_makes_no_sense_is_refused_in_words(desk):
    refused = {
        (Verb.PAUSE, "wait"): "can be held",
        (Verb.HOLD, "run"): "does not wait",
        (Verb.REQUEUE, "wait"): "waits already",
        (Verb.PRIORITIZE, "wait"): "a number",
    }
    for (verb, target), said in refused.items():
        result = desk.ask(verb, target)
        assert result.outcome is Outcome.REFUSED
        assert said in result.detail
    assert desk.ask(Verb.DRAIN, "no-node").outcome is Outcome.LOST
    desk.queue.found["run"] = job("run", max_pause_s=0.0)
    for verb in (Verb.PAUSE, Verb.REQUEUE):
        assert "max_pause_s" in desk.ask(verb).detail
    assert desk.ask(Verb.REQUEUE, asker=Asker.OPERATOR).outcome is Outcome.APPLIED, "a person may"


def test_pause_by_requeue_stands_as_held_and_waits_again(desk):
    desk.queue.found["run"] = job("run", method=PauseMethod.REQUEUE)
    assert desk.ask(Verb.PAUSE).outcome is Outcome.APPLIED
    assert desk.queue.state() == "held"
    assert desk.ask(Verb.PAUSE).outcome is Outcome.APPLIED
    desk.pass_time(11.0)
    assert desk.queue.state() == "pending"


def test_scheduler_that_is_away_at_expiry_is_asked_again_and_not_hammered(desk):
    desk.ask(Verb.PAUSE)
    desk.queue.away = True
    calls = len(desk.queue.calls)
    desk.pass_time(70.0)
    assert len(desk.queue.calls) - calls <= 40
    view = desk.view()
    assert (view.state, view.fault.condition) == (JobState.PAUSED, Condition.NO_DRIVER)
    assert view.fault.cure == "start it"
    desk.queue.away = False
    desk.pass_time(5.0)
    assert desk.queue.state() == "running"
    assert desk.view().fault is None


def test_scheduler_that_was_away_from_the_start_gets_its_jobs_resumed(desk):
    desk.ask(Verb.PAUSE)
    desk.queue.away = True
    (result,) = desk.another_keeper({})
    assert (result.outcome, result.fault.condition) == (Outcome.REFUSED, Condition.NO_DRIVER)
    desk.pass_time(30.0)
    desk.queue.away = False
    desk.pass_time(5.0)
    assert desk.queue.state() == "running"


def test_pause_whose_answer_got_lost_ends_with_its_lease(desk, monkeypatch):
    real = desk.queue.pause

    def takes_hold_and_is_lost(job_id):
        real(job_id)
        desk.queue.away = True
        raise SchedulerLost("no answer", cure="start it")

    monkeypatch.setattr(desk.queue, "pause", takes_hold_and_is_lost)
    assert desk.ask(Verb.PAUSE).outcome is Outcome.REFUSED
    desk.queue.away = False
    desk.pass_time(15.0)
    assert desk.queue.state() == "running"


def test_half_a_pause_is_undone_at_once(desk, monkeypatch):
    real = desk.queue.jobs
    half = {"is": False}

    def jobs():
        fault = SchedulerLost("2 of 3 stand", condition=Condition.NOT_IN_FORCE)

        return tuple(replace(one, fault=Fault.of(fault)) if half["is"] else one for one in real())

    def stops_half(job_id):
        half["is"] = True
        raise WriteRefused("not all of it", device_id=job_id, condition=Condition.NO_PERMISSION, cure="be root")

    def continues(job_id):
        half["is"] = False

    monkeypatch.setattr(desk.queue, "jobs", jobs)
    monkeypatch.setattr(desk.queue, "pause", stops_half)
    monkeypatch.setattr(desk.queue, "resume", continues)
    result = desk.ask(Verb.PAUSE)
    assert (result.outcome, result.fault.condition, result.fault.cure) == (
        Outcome.REFUSED,
        Condition.NO_PERMISSION,
        "be root",
    )
    desk.pass_time(0.25)
    assert not half["is"]
    assert not desk.journal.state.paused


def test_resumed_job_that_stands_still_is_an_alarm_until_it_goes_on(desk):
    desk.ask(Verb.PAUSE)
    desk.pass_time(9.0)
    desk.queue.goes_on = False
    desk.pass_time(25.0)
    assert desk.view().fault is None
    desk.pass_time(15.0)
    fault = desk.view().fault
    assert fault.condition is Condition.NO_PROGRESS
    assert "checkpoint" in fault.cure
    desk.queue.goes_on = True
    desk.pass_time(2.0)
    assert desk.view().fault is None


def test_resumed_job_that_goes_on_is_no_alarm(desk):
    desk.ask(Verb.PAUSE)
    desk.ask(Verb.RESUME)
    desk.pass_time(60.0)
    assert desk.view().fault is None
    calls = len(desk.queue.calls)
    desk.pass_time(60.0)
    assert len(desk.queue.calls) == calls, "nothing is looked at when nothing is held back"


def test_requeued_job_is_watched_from_when_it_runs(desk):
    desk.queue.found["run"] = job("run", method=PauseMethod.REQUEUE)
    desk.ask(Verb.PAUSE)
    desk.ask(Verb.RESUME)
    desk.pass_time(120.0)
    assert desk.view().fault is None, "it waits for its devices"
    desk.queue.goes_on = False
    desk.queue.found["run"] = replace(desk.queue.found["run"], state=JobState.RUNNING)
    desk.pass_time(35.0)
    assert desk.view().fault.condition is Condition.NO_PROGRESS
