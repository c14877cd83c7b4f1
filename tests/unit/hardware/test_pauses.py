"""Pauses under a lease. The job ``train`` may be paused for 60 s, ``serve`` never."""

import pytest

from hardware.agent import Agent
from hardware.device import Outcome
from hardware.errors import Condition, Unsupported
from hardware.job import JobState, Verb
from hardware.wire import Act, Describe


def act(agent, *actions):
    return agent.handle(Act(actions=actions)).results


def outcome(agent, action):
    (result,) = act(agent, action)
    return result.outcome


def test_pause_is_read_back_and_ends_by_itself(stand):
    agent = stand.agent()
    (result,) = act(agent, stand.pause(duration_s=10.0))
    assert (result.outcome, result.state) == (Outcome.APPLIED, JobState.PAUSED)
    stand.now_s += 9.75
    agent.expire()
    assert stand.state() == "paused"
    stand.now_s += 0.25
    agent.expire()
    assert stand.state() == "running"


def test_resume_now_and_again(stand):
    agent = stand.agent()
    act(agent, stand.pause())
    for _ in range(2):
        (result,) = act(agent, stand.pause(Verb.RESUME))
        assert (result.outcome, result.state) == (Outcome.APPLIED, JobState.RUNNING)


def test_same_action_twice_acts_once(stand):
    agent = stand.agent()
    action = stand.pause(duration_s=10.0)
    act(agent, action)
    act(agent, stand.pause(Verb.RESUME))
    assert outcome(agent, action) is Outcome.REFUSED, "stale: something newer was heard"
    again = stand.pause(duration_s=10.0)
    first = act(agent, again)
    stand.now_s += 6.0
    assert act(agent, again) == first
    stand.now_s += 6.0
    agent.expire()
    assert stand.state() == "running"


def test_lower_epoch_is_refused(stand):
    agent = stand.agent()
    act(agent, stand.pause(epoch=5))
    assert outcome(agent, stand.pause(Verb.RESUME, epoch=4)) is Outcome.REFUSED
    assert stand.state() == "paused"


def test_job_that_must_not_be_paused(stand):
    assert outcome(stand.agent(), stand.pause(job_id="serve")) is Outcome.REFUSED
    assert stand.state("serve") == "running"


def test_unknown_job_is_lost_and_job_named_twice_acts_once(stand):
    results = act(stand.agent(), stand.pause(job_id="nobody"), stand.pause(), stand.pause(Verb.RESUME))
    assert [result.outcome for result in results] == [Outcome.LOST, Outcome.APPLIED, Outcome.REFUSED]


def test_no_pause_is_longer_than_was_tested_and_a_rest_follows(stand):
    agent = stand.agent()
    assert outcome(agent, stand.pause(duration_s=45.0)) is Outcome.APPLIED
    stand.now_s += 40.0
    assert outcome(agent, stand.pause(duration_s=45.0)) is Outcome.CLAMPED
    stand.now_s += 20.0
    agent.expire()
    assert stand.state() == "running"
    assert outcome(agent, stand.pause(duration_s=45.0)) is Outcome.REFUSED
    stand.now_s += 60.0
    assert outcome(agent, stand.pause(duration_s=45.0)) is Outcome.APPLIED


def test_pause_by_somebody_else_is_left(stand):
    agent = stand.agent()
    stand.fleet.pause("train")
    for verb in (Verb.PAUSE, Verb.RESUME):
        (result,) = act(agent, stand.pause(verb))
        assert result.outcome is Outcome.CONFLICT
        assert result.fault.condition is Condition.CONFLICT
        assert "have them undo it" in result.fault.cure
    stand.now_s += 100.0
    agent.expire()
    agent.restore_all()
    assert stand.state() == "paused"


def test_resume_by_somebody_else_is_left(stand):
    agent = stand.agent()
    act(agent, stand.pause())
    stand.fleet.resume("train")
    assert outcome(agent, stand.pause()) is Outcome.CONFLICT
    assert stand.state() == "running"


def test_killed_agent_resumes_first(stand):
    act(stand.agent(), stand.pause())
    stand.agent().recover()
    assert stand.state() == "running"


def test_crash_between_journal_and_job_is_harmless(stand, monkeypatch):
    def dies(job_id):
        raise KeyboardInterrupt

    monkeypatch.setattr(stand.fleet, "pause", dies)
    with pytest.raises(KeyboardInterrupt):
        act(stand.agent(), stand.pause())
    monkeypatch.undo()
    again = stand.agent()
    again.recover()
    stand.fleet.pause("train")
    again.restore_all()
    assert stand.state() == "paused", "it was not ours any more"


def test_refused_pause_is_refused_and_refused_resume_is_tried_again(stand, monkeypatch):
    def refuses(job_id):
        raise Unsupported("not now", device_id=job_id)

    agent = stand.agent()
    monkeypatch.setattr(stand.fleet, "pause", refuses)
    (result,) = act(agent, stand.pause())
    assert (result.outcome, result.state) == (Outcome.REFUSED, JobState.RUNNING)
    monkeypatch.undo()
    act(agent, stand.pause(duration_s=10.0))
    monkeypatch.setattr(stand.fleet, "resume", refuses)
    assert outcome(agent, stand.pause(Verb.RESUME)) is Outcome.REFUSED
    stand.now_s += 10.0
    agent.expire()
    assert stand.state() == "paused"
    monkeypatch.undo()
    stand.now_s += 0.5
    agent.expire()
    assert stand.state() == "running"


def test_pause_that_takes_hold_late_still_ends(stand, monkeypatch):
    agent = stand.agent()
    pause = stand.fleet.pause
    monkeypatch.setattr(stand.fleet, "pause", lambda job_id: None)
    assert outcome(agent, stand.pause(duration_s=10.0)) is Outcome.REFUSED
    pause("train")
    stand.now_s += 10.0
    agent.expire()
    assert stand.state() == "running"


def test_scheduler_that_does_not_answer_keeps_the_pause_known(stand, monkeypatch):
    def silent():
        raise Unsupported("no scheduler")

    agent = stand.agent()
    act(agent, stand.pause(duration_s=10.0))
    monkeypatch.setattr(stand.fleet, "jobs", silent)
    assert outcome(agent, stand.pause()) is Outcome.REFUSED
    stand.now_s += 100.0
    agent.expire()
    monkeypatch.undo()
    assert stand.state() == "paused"
    stand.now_s += 0.5
    agent.expire()
    assert stand.state() == "running"


def test_unwritable_journal_means_that_no_job_is_paused(stand, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    agent = stand.agent()
    agent.recover()
    monkeypatch.setattr("hardware.journal.replace_file", full)
    assert outcome(agent, stand.pause()) is Outcome.REFUSED
    assert stand.state() == "running"


def test_unreadable_journal_means_that_no_job_is_paused(stand):
    stand.journal.write_bytes(b"{")
    assert outcome(stand.agent(), stand.pause()) is Outcome.REFUSED
    assert stand.state() == "running"


def test_host_without_jobs_says_so(stand):
    agent = Agent(host_id="h00", devices=stand.fleet, boot_s=lambda: 0.0)
    assert agent.handle(Describe()).jobs == ()
    (result,) = act(agent, stand.pause())
    assert result.outcome is Outcome.REFUSED
    assert "no jobs are controlled" in result.detail
