"""The actuator: few writes, renewals in time, and nothing counted as done that was not confirmed."""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import pytest

from gateway.services.actuator import Actuator
from hardware.device import CapResult, Outcome
from hardware.errors import AgentUnreachable
from hardware.faults import Faults
from hardware.fleet import AgentFleet
from hardware.job import JobAction, JobResult, JobState, Verb
from tests.unit.gateway.services.rig import LEASE_S, Rig

CAPS_W = {"h00-d0": 250.0, "h00-d1": 250.0}


async def hold_for(rig: Rig, actuator: Actuator, seconds: int, caps_w: dict[str, float] = CAPS_W) -> None:
    for _ in range(seconds):
        await actuator.hold(caps_w, ())
        await rig.clock.wait(rig.clock.now() + timedelta(seconds=1))


async def test_what_does_not_change_is_written_three_times_a_lease(rig: Rig) -> None:
    await rig.fleet.refresh()
    await hold_for(rig, rig.actuator(), int(2 * LEASE_S))
    written = Counter(command.device_id for command in rig.link.commands)
    assert written == {"h00-d0": 6, "h00-d1": 6}
    assert rig.capped() == 2


async def test_a_change_is_written_at_once_and_one_under_a_watt_is_not(rig: Rig) -> None:
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await actuator.hold(CAPS_W, ())
    await actuator.hold({"h00-d0": 250.4, "h00-d1": 240.0}, ())
    assert [(command.device_id, command.cap_w) for command in rig.link.commands[2:]] == [("h00-d1", 240.0)]


async def test_sequences_rise(rig: Rig) -> None:
    await rig.fleet.refresh()
    await hold_for(rig, rig.actuator(), 12)
    sequences = [command.lease.sequence for command in rig.link.commands]
    assert sequences == sorted(sequences)
    assert {command.lease.epoch for command in rig.link.commands} == {rig.epoch}


async def test_a_clock_that_is_set_back_does_not_let_leases_run_out(rig: Rig) -> None:
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await actuator.hold(CAPS_W, ())
    back = rig.clock.now() - timedelta(hours=1)
    rig.clock._now = back
    await actuator.hold(CAPS_W, ())
    assert len(rig.link.commands) == 4


async def test_somebody_elses_limit_is_left_alone_until_the_release(rig: Rig) -> None:
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await actuator.hold(CAPS_W, ())
    rig.physical.inject(Faults(limits_w={"h00-d1": 333.0}))
    trouble = await actuator.hold({"h00-d0": 240.0, "h00-d1": 240.0}, ())
    assert trouble is not None
    assert "h00-d1: conflict" in trouble
    assert set(actuator.not_ours) == {"h00-d1"}
    rig.link.commands.clear()
    await hold_for(rig, actuator, int(LEASE_S), {"h00-d0": 240.0, "h00-d1": 240.0})
    assert {command.device_id for command in rig.link.commands} == {"h00-d0"}
    assert rig.physical.limit_w("h00-d1") == 333.0
    assert await actuator.release() is None
    assert rig.physical.limit_w("h00-d1") == 333.0
    assert set(actuator.not_ours) == set()


async def test_what_timed_out_is_sent_again_at_the_next_step(rig: Rig) -> None:
    await rig.fleet.refresh()
    actuator = rig.actuator()
    rig.link.cut = True
    assert "timed_out" in str(await actuator.hold(CAPS_W, ()))
    assert rig.capped() == 0
    rig.link.cut = False
    assert await actuator.hold(CAPS_W, ()) is None
    assert rig.capped() == 2


async def test_a_release_is_repeated_for_what_was_not_confirmed_and_for_nothing_else(rig: Rig) -> None:
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await actuator.hold(CAPS_W, ())
    rig.physical.inject(Faults(write_refused=frozenset({"h00-d1"})))
    assert "h00-d1: refused" in str(await actuator.release())
    assert "h00-d1: refused" in str(await actuator.release())
    assert len(rig.link.asked[0]) == 8
    assert rig.link.asked[1] == {"h00-d1"}
    rig.physical.inject(Faults())
    assert await actuator.release() is None
    assert rig.capped() == 0


async def test_a_release_before_any_device_is_known_is_no_release(rig: Rig) -> None:
    actuator = rig.actuator()
    assert await actuator.release() == "no device is known yet"
    await rig.fleet.refresh()
    assert await actuator.release() is None


async def test_a_lost_device_is_its_hosts_to_restore(rig: Rig) -> None:
    await rig.fleet.refresh()
    actuator = rig.actuator()
    await actuator.hold(CAPS_W, ())
    rig.physical.inject(Faults(lost=frozenset({"h00-d1"})))
    assert await actuator.release() is None
    rig.physical.inject(Faults())
    await rig.fleet.refresh()
    assert rig.capped() == 0


async def test_outcomes_are_noted_when_they_change(rig: Rig) -> None:
    await rig.fleet.refresh()
    actuator = rig.actuator()
    began_at = rig.clock.now()
    await hold_for(rig, actuator, int(LEASE_S))
    await actuator.release()
    await actuator.release()
    noted = await rig.ledger.outcomes_between(began_at, rig.clock.now() + timedelta(seconds=1))
    assert [(item.device_id, item.requested_w) for item in noted] == [
        ("h00-d0", 250.0),
        ("h00-d1", 250.0),
        ("h00-d0", None),
        ("h00-d1", None),
    ]


class LosesAnswers(AgentFleet):
    """Acts, and the answer is lost; the first time."""

    lost = 0

    async def act(self, actions: Sequence[JobAction]) -> tuple[JobResult, ...]:
        results = await super().act(actions)
        self.lost += 1
        if self.lost > 1:
            return results
        return tuple(
            JobResult(job_id=done.job_id, verb=done.verb, state=None, outcome=Outcome.TIMED_OUT) for done in results
        )


def pausable(rig: Rig) -> str:
    return next(job.job_id for job in rig.physical.jobs() if job.max_pause_s > 0)


def state_of(rig: Rig, job_id: str) -> JobState:
    return next(job.state for job in rig.physical.jobs() if job.job_id == job_id)


async def test_a_pause_whose_answer_was_lost_is_resumed_at_the_release(rig: Rig) -> None:
    fleet = LosesAnswers([rig.link])
    await fleet.refresh()
    actuator = rig.actuator(fleet)
    job_id = pausable(rig)
    assert "timed_out" in str(await actuator.hold({}, (job_id,)))
    assert state_of(rig, job_id) is JobState.PAUSED
    assert await actuator.release() is None
    assert state_of(rig, job_id) is JobState.RUNNING


async def test_a_pause_is_renewed_and_resumed_when_it_is_wanted_no_longer(rig: Rig) -> None:
    await rig.fleet.refresh()
    actuator = rig.actuator()
    job_id = pausable(rig)
    for _ in range(int(2 * LEASE_S)):
        assert await actuator.hold({}, (job_id,)) is None
        await rig.clock.wait(rig.clock.now() + timedelta(seconds=1))
    assert state_of(rig, job_id) is JobState.PAUSED
    assert await actuator.hold({}, ()) is None
    assert state_of(rig, job_id) is JobState.RUNNING


class SomebodyElses(AgentFleet):
    """Its jobs were paused by somebody else meanwhile."""

    async def act(self, actions: Sequence[JobAction]) -> tuple[JobResult, ...]:
        return tuple(
            JobResult(
                job_id=action.job_id,
                verb=action.verb,
                state=JobState.PAUSED,
                outcome=Outcome.APPLIED if action.verb is Verb.PAUSE else Outcome.CONFLICT,
            )
            for action in actions
        )


async def test_a_job_that_somebody_else_paused_is_left_to_them(rig: Rig) -> None:
    fleet = SomebodyElses([rig.link])
    await fleet.refresh()
    actuator = rig.actuator(fleet)
    await actuator.hold({}, (pausable(rig),))
    assert await actuator.release() is None


class Slow(AgentFleet):
    """Its scheduler answers when it is told to."""

    def __init__(self, links: Sequence[Any]) -> None:
        super().__init__(links)
        self.may_answer = asyncio.Event()
        self.verbs: list[Verb] = []

    async def act(self, actions: Sequence[JobAction]) -> tuple[JobResult, ...]:
        self.verbs += [action.verb for action in actions]
        await self.may_answer.wait()
        return await super().act(actions)


async def test_caps_wait_for_no_scheduler_and_its_late_answer_counts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.services.actuator.ACT_WAIT_S", 0.01)
    fleet = Slow([rig.link])
    await fleet.refresh()
    actuator = rig.actuator(fleet)
    job_id = pausable(rig)
    for cap_w in (250.0, 240.0, 230.0):
        trouble = await asyncio.wait_for(actuator.hold({"h00-d0": cap_w}, (job_id,)), 1.0)
        assert trouble == "jobs: their hosts have not answered yet"
        assert rig.link.commands[-1].cap_w == cap_w
    assert fleet.verbs == [Verb.PAUSE], "one question at a time"
    fleet.may_answer.set()
    assert await actuator.hold({"h00-d0": 230.0}, (job_id,)) is None
    assert fleet.verbs == [Verb.PAUSE], "the answer was not lost"
    assert state_of(rig, job_id) is JobState.PAUSED


async def test_at_the_end_jobs_are_resumed_although_a_pause_is_not_answered_yet(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.services.actuator.ACT_WAIT_S", 0.01)
    fleet = Slow([rig.link])
    await fleet.refresh()
    actuator = rig.actuator(fleet)
    job_id = pausable(rig)
    await actuator.hold({}, (job_id,))
    asyncio.get_running_loop().call_later(0.1, fleet.may_answer.set)
    assert await actuator.put_back() is None
    assert fleet.verbs == [Verb.PAUSE, Verb.RESUME]
    assert state_of(rig, job_id) is JobState.RUNNING


class Queued(AgentFleet):
    """Its jobs are paused by ending them and holding them in the queue."""

    def __init__(self, links: Sequence[Any]) -> None:
        super().__init__(links)
        self.verbs: list[Verb] = []

    async def act(self, actions: Sequence[JobAction]) -> tuple[JobResult, ...]:
        self.verbs += [action.verb for action in actions]
        return tuple(
            JobResult(
                job_id=action.job_id,
                verb=action.verb,
                state=JobState.HELD if action.verb is Verb.PAUSE else JobState.PENDING,
                outcome=Outcome.APPLIED,
            )
            for action in actions
        )


async def test_a_job_that_was_paused_into_the_queue_is_renewed_and_resumed_as_others_are(rig: Rig) -> None:
    fleet = Queued([rig.link])
    await fleet.refresh()
    actuator = rig.actuator(fleet)
    for _ in range(int(LEASE_S)):
        assert await actuator.hold({}, ("17",)) is None
        await rig.clock.wait(rig.clock.now() + timedelta(seconds=1))
    assert fleet.verbs == [Verb.PAUSE] * 3
    assert await actuator.release() is None
    assert fleet.verbs[3:] == [Verb.RESUME]


class BreaksOnce(AgentFleet):
    """The first restore fails as a whole."""

    broken = False

    async def restore(
        self, device_ids: Collection[str], epoch: int, sequence: int | None = None
    ) -> tuple[CapResult, ...]:
        if not self.broken:
            self.broken = True
            raise AgentUnreachable("gone")
        return await super().restore(device_ids, epoch, sequence)


async def test_a_release_that_fails_as_a_whole_is_begun_anew(rig: Rig) -> None:
    fleet = BreaksOnce([rig.link])
    await fleet.refresh()
    actuator = rig.actuator(fleet)
    await actuator.hold(CAPS_W, ())
    with pytest.raises(AgentUnreachable):
        await actuator.release()
    assert rig.capped() == 2
    assert await actuator.release() is None
    assert rig.capped() == 0
