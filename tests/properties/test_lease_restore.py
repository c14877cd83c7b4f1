"""Whatever comes in whatever order, limits end as they were found or as somebody else set them.

A machine of gateway, other writers, faults, crashes at any driver call, processes that hand their leases over, restarts
of the machine, ceilings, ramps, and time; the oracle is one number a device: the limit that the outside world set last.
Beside it, the smallest examples of what once went wrong or easily could.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hardware.agent import Agent
from hardware.device import CapCommand, Lease, OnExpiry, Outcome
from hardware.faults import Faults
from hardware.journal import Journal
from hardware.lease import Kept
from hardware.limit_terms import Ceilings, RestoreRamp
from hardware.simulated import SimulatedFleet
from hardware.wire import Apply, Describe, Restore
from hardware.workloads import SimulatedJob

DEVICES = 2
RANGE_W = (100.0, 400.0)

# Odd for us, even for others, so that none is taken for the other's; with what must be clamped or refused.
CAPS_W = st.sampled_from([*(float(cap) for cap in range(105, 400, 10)), 0.0, 50.0, 1000.0, -1.0, float("nan")])
OTHERS_W = st.sampled_from([float(limit) for limit in range(110, 401, 10)])
DEVICE_INDICES = st.integers(0, DEVICES - 1)
CEILINGS_W = st.sampled_from([None, None, 275.0])
RAMPS = st.sampled_from([RestoreRamp(), RestoreRamp(), RestoreRamp(delay_s=1.0, ramp_s=6.1)])


class Killed(BaseException):
    """kill -9 at this very call."""


class Mortal:
    """A driver whose process can be killed just before or just after any call to the device."""

    def __init__(self, fleet: SimulatedFleet, allowed: Callable[[str, float], None]) -> None:
        self._fleet = fleet
        self._allowed = allowed
        self.calls_to_live: int | None = None
        self.writes = 0

    def devices(self):
        return self._fleet.devices()

    def readings(self):
        return self._fleet.readings()

    def limit_w(self, device_id):
        self._live()
        return self._fleet.limit_w(device_id)

    def asked_w(self, device_id):
        self._live()
        return self._fleet.asked_w(device_id)

    def set_limit_w(self, device_id, limit_w):
        self._live()
        self._allowed(device_id, limit_w)
        self.writes += 1
        self._fleet.set_limit_w(device_id, limit_w)
        self._live()

    def _live(self) -> None:
        if self.calls_to_live is not None:
            if self.calls_to_live == 0:
                self.calls_to_live = None
                raise Killed
            self.calls_to_live -= 1


class Leases(RuleBasedStateMachine):
    @initialize(found_w=st.lists(OTHERS_W, min_size=DEVICES, max_size=DEVICES), ceiling_w=CEILINGS_W, ramp=RAMPS)
    def begin(self, found_w, ceiling_w, ramp):
        self.ceilings, self.ramp = Ceilings(default_w=ceiling_w), ramp
        self.boots = 1
        self.folder = tempfile.TemporaryDirectory()
        self.now_s = 0.0
        job = SimulatedJob(job_id="j", workload="finetune-8b", tier="flex3", devices=1)
        self.fleet = SimulatedFleet(hosts=1, devices_per_host=DEVICES, seed=1, now=self.now, jobs=[job])
        self.ids = [view.device_id for view in self.fleet.devices()]
        self.faults = Faults()
        self.outside_w = dict(zip(self.ids, found_w, strict=True))
        self.fleet.inject(Faults(limits_w=self.outside_w))
        self.epoch = 1
        self.sequence = 0
        self.sent = []
        self.start()

    def now(self) -> datetime:
        return datetime(2026, 7, 1, tzinfo=UTC) + timedelta(seconds=self.now_s)

    def start(self, kept=None) -> None:
        self.driver = Mortal(self.fleet, self.allowed)
        self.journal = Path(self.folder.name, "journal.json")
        self.agent = Agent(
            host_id="h",
            devices=self.driver,
            journal=Journal(self.journal, boot_id=f"boot {self.boots}"),
            kept=lambda: Kept(limits=kept or {}),
            boot_s=lambda: self.now_s,
            ceilings=self.ceilings,
            ramp=self.ramp,
        )

    def allowed(self, device_id, limit_w):
        """What holds at every write, whoever makes it and why."""
        highest_w = min(self.outside_w[device_id], self.ceilings.of(device_id))
        assert RANGE_W[0] <= limit_w <= min(RANGE_W[1], highest_w)
        found_w, written_w, *_ = json.loads(self.journal.read_text())["limits"][device_id]
        assert limit_w in {written_w, min(found_w, self.ceilings.of(device_id))}, "on disk before it is written"

    def survive(self, call):
        """Make the call; where the agent is killed in it, start another one."""
        try:
            return call()
        except Killed:
            self.agent.close()
            self.start()
            self.agent.recover()
            return None

    @rule(
        caps=st.lists(st.tuples(DEVICE_INDICES, CAPS_W), min_size=1, max_size=4),
        duration_s=st.sampled_from([1.0, 3.0, 10.0]),
        on_expiry=st.sampled_from([OnExpiry.RESTORE, OnExpiry.RESTORE, OnExpiry.HOLD]),
        lost=st.booleans(),
    )
    def apply(self, caps, duration_s, on_expiry, lost):
        self.sequence += 1
        lease = Lease(epoch=self.epoch, sequence=self.sequence, duration_s=duration_s, on_expiry=on_expiry)
        message = Apply(
            commands=tuple(CapCommand(device_id=self.ids[index], cap_w=cap_w, lease=lease) for index, cap_w in caps)
        )
        self.sent.append(message)
        if not lost:
            self.survive(lambda: self.agent.handle(message))

    @precondition(lambda self: self.sent)
    @rule(back=st.integers(0, 5))
    def deliver_again(self, back):
        message = self.sent[max(0, len(self.sent) - 1 - back)]
        self.survive(lambda: self.agent.handle(message))

    @rule(indices=st.lists(DEVICE_INDICES, max_size=4))
    def restore(self, indices):
        message = Restore(device_ids=tuple(self.ids[index] for index in indices), epoch=self.epoch)
        self.survive(lambda: self.agent.handle(message))

    @rule()
    def another_gateway(self):
        self.epoch += 1
        self.sequence = 0

    @rule(index=DEVICE_INDICES)
    def gateway_of_an_older_epoch_speaks(self, index):
        self.survive(self.agent.recover)
        described = self.survive(lambda: self.agent.handle(Describe()))
        if described is None or described.highest_epoch == 0:
            return
        lease = Lease(epoch=described.highest_epoch - 1, sequence=10**6, duration_s=10.0)
        command = CapCommand(device_id=self.ids[index], cap_w=105.0, lease=lease)
        reply = self.survive(lambda: self.agent.handle(Apply(commands=(command,))))
        assert reply is None or reply.results[0].outcome is Outcome.REFUSED

    @rule(seconds=st.sampled_from([0.25, 1.0, 4.0]))
    def time_passes(self, seconds):
        self.now_s += seconds
        self.survive(self.agent.expire)

    @rule(index=DEVICE_INDICES, limit_w=OTHERS_W)
    def somebody_else_writes(self, index, limit_w):
        # A ramp may be at any level: what is set to just what we wrote cannot be told from ours.
        ours = self.agent._journal.state.limits.get(self.ids[index])
        if ours is None or min(abs(limit_w - ours.written_w), abs(limit_w - ours.before_w)) > 1.0:
            self.set_from_outside({self.ids[index]: limit_w})

    def set_from_outside(self, limits_w):
        self.outside_w |= limits_w
        self.fleet.inject(replace(self.faults, limits_w=limits_w))

    @rule(same_again=st.booleans())
    def the_machine_restarts(self, same_again):
        """Devices forget their limits, and the agent what it had in memory; somebody may set just what we had set."""
        ours = self.agent._journal.state.limits
        self.agent.close()
        self.boots += 1
        limits_w = dict.fromkeys(self.ids, RANGE_W[1])
        if same_again:
            limits_w |= {key: prior.written_w for key, prior in ours.items()}
        self.set_from_outside(limits_w)
        self.start()
        self.survive(self.agent.recover)

    @rule()
    def another_process_goes_on(self):
        kept = self.agent._limits.kept_leases()
        self.agent.close()
        self.start(kept)
        self.survive(self.agent.recover)

    @rule(kind=st.sampled_from(["lost", "write_refused", "limit_stuck", "hanging"]), index=DEVICE_INDICES)
    def break_down(self, kind, index):
        self.faults = Faults(**{kind: frozenset({self.ids[index]})})
        self.fleet.inject(self.faults)

    @rule()
    def heal(self):
        self.faults = Faults()
        self.fleet.inject(self.faults)

    @rule(calls=st.integers(0, 8))
    def doom(self, calls):
        self.driver.calls_to_live = calls

    @rule()
    def kill(self):
        self.agent.close()
        self.start()
        self.survive(self.agent.recover)

    @rule()
    def stop_gracefully(self):
        self.survive(self.agent.restore_all)

    @invariant()
    def never_out_of_range_nor_above_the_limit_found(self):
        for view in self.fleet.devices():
            assert RANGE_W[0] <= view.limit_w <= self.outside_w[view.device_id]

    def teardown(self):
        if not hasattr(self, "fleet"):
            return
        self.heal()
        self.driver.calls_to_live = None
        self.now_s += 100.0
        self.agent.recover()
        self.agent.expire()
        self.agent.handle(Restore(device_ids=tuple(self.ids), epoch=2**62))
        for view in self.fleet.devices():
            outside_w = self.outside_w[view.device_id]
            assert view.limit_w in {outside_w, min(outside_w, self.ceilings.of(view.device_id))}
        assert json.loads(self.journal.read_text())["limits"] == {} or not self.sent
        writes = self.driver.writes
        again = self.agent.handle(Restore(device_ids=tuple(self.ids), epoch=2**62))
        assert {result.outcome for result in again.results} == {Outcome.APPLIED}
        self.agent.restore_all()
        assert self.driver.writes == writes, "every restore is idempotent"
        self.agent.close()
        self.folder.cleanup()


Leases.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLeases = Leases.TestCase


def machine(*found_w: float, ceiling_w: float | None = None, ramp: RestoreRamp | None = None) -> Leases:
    made = Leases()
    made.begin([*found_w, *[400.0] * (DEVICES - len(found_w))], ceiling_w, ramp or RestoreRamp())
    return made


def test_cap_and_expiry():
    run = machine(400.0)
    run.apply([(0, 205.0)], 1.0, OnExpiry.RESTORE, lost=False)
    run.time_passes(1.0)
    run.teardown()


def test_killed_between_the_write_and_the_answer():
    run = machine(300.0)
    run.doom(1)
    run.apply([(0, 205.0)], 10.0, OnExpiry.RESTORE, lost=False)
    assert run.fleet.devices()[0].limit_w == 300.0
    run.teardown()


def test_killed_in_the_middle_of_recovering():
    run = machine(300.0)
    run.apply([(0, 205.0), (1, 205.0)], 10.0, OnExpiry.RESTORE, lost=False)
    run.doom(2)
    run.kill()
    run.teardown()


def test_somebody_else_before_a_renewal():
    run = machine(400.0)
    run.apply([(0, 205.0)], 10.0, OnExpiry.RESTORE, lost=False)
    run.somebody_else_writes(0, 350.0)
    run.apply([(0, 195.0)], 10.0, OnExpiry.RESTORE, lost=False)
    assert run.fleet.devices()[0].limit_w == 350.0
    run.teardown()


def test_somebody_else_while_the_agent_was_dead():
    run = machine(400.0)
    run.apply([(0, 205.0)], 10.0, OnExpiry.RESTORE, lost=False)
    run.agent.close()
    run.somebody_else_writes(0, 350.0)
    run.kill()
    assert run.fleet.devices()[0].limit_w == 350.0
    run.teardown()


def test_old_command_after_a_restore():
    run = machine(400.0)
    run.apply([(0, 205.0)], 10.0, OnExpiry.RESTORE, lost=False)
    run.restore([0])
    run.deliver_again(0)
    assert run.fleet.devices()[0].limit_w == 400.0
    run.teardown()


def test_ceiling_under_the_limit_found():
    run = machine(400.0, ceiling_w=275.0)
    run.apply([(0, 305.0)], 1.0, OnExpiry.RESTORE, lost=False)
    assert run.fleet.devices()[0].limit_w == 275.0
    run.time_passes(1.0)
    assert run.fleet.devices()[0].limit_w == 275.0
    run.teardown()


def test_killed_on_the_way_back_up():
    run = machine(400.0, ramp=RestoreRamp(ramp_s=6.1))
    run.apply([(0, 205.0)], 1.0, OnExpiry.RESTORE, lost=False)
    run.time_passes(1.0)
    run.doom(3)
    run.time_passes(1.0)
    run.teardown()


def test_machine_restarted_under_a_cap():
    run = machine(300.0)
    run.apply([(0, 205.0)], 10.0, OnExpiry.RESTORE, lost=False)
    run.the_machine_restarts(same_again=False)
    assert run.fleet.devices()[0].limit_w == 400.0
    run.teardown()


def test_machine_restarted_and_the_same_limit_set_by_somebody_else():
    run = machine(300.0)
    run.apply([(0, 205.0)], 10.0, OnExpiry.RESTORE, lost=False)
    run.the_machine_restarts(same_again=True)
    assert run.fleet.devices()[0].limit_w == 205.0
    run.teardown()


def test_another_process_goes_on_and_lets_the_lease_end():
    run = machine(300.0)
    run.apply([(0, 205.0)], 3.0, OnExpiry.RESTORE, lost=False)
    run.another_process_goes_on()
    run.deliver_again(0)
    assert run.fleet.devices()[0].limit_w == 205.0
    run.time_passes(4.0)
    assert run.fleet.devices()[0].limit_w == 300.0
    run.teardown()


def test_call_that_hangs_when_the_lease_ends():
    run = machine(300.0)
    run.apply([(0, 205.0), (1, 205.0)], 1.0, OnExpiry.RESTORE, lost=False)
    run.break_down("hanging", 0)
    run.time_passes(1.0)
    assert [view.limit_w for view in run.fleet.devices()] == [205.0, 400.0]
    run.heal()
    run.time_passes(0.25)
    assert run.fleet.devices()[0].limit_w == 300.0
    run.teardown()
