"""Ceilings, the ramp back, a restart of the machine, and leases that one process hands to the next."""

from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from hardware.device import Lease, OnExpiry, Outcome
from hardware.errors import Condition, WriteRefused
from hardware.faults import Faults
from hardware.journal import Journal
from hardware.lease import KeptLease
from hardware.limit_terms import Ceilings, RestoreRamp
from hardware.limits import LimitKeeper

NO_RAMP = RestoreRamp()
NO_CEILING = Ceilings()


class Host:
    """Keepers of the limits of one simulated host, one after the other as their processes die."""

    def __init__(self, stand):
        self.stand = stand
        self.ids = stand.device_ids
        self.journal = None
        self.raised = []

    def start(self, *, boot_id="", ceilings=NO_CEILING, ramp=NO_RAMP, kept=None, raise_back=None):
        if self.journal is not None:
            self.journal.close()
        self.journal = Journal(self.stand.journal, boot_id=boot_id)
        self.journal.open()
        self.keeper = LimitKeeper(self.stand.fleet, self.journal, ceilings=ceilings, ramp=ramp, raise_back=raise_back)
        if kept is not None:
            self.keeper.adopt(kept)
        return self.keeper.recover()

    def cap(self, cap_w, **more):
        (done,) = self.apply(self.stand.cap(cap_w, **more))
        return done

    def apply(self, *commands):
        return self.keeper.apply(commands, received_s=self.stand.now_s, now_s=self.stand.now_s)

    def expire(self, after_s=0.0):
        self.stand.now_s += after_s
        return self.keeper.expire(self.stand.now_s)

    def raise_back(self, device_id, limit_w):
        self.raised.append((device_id, limit_w))
        self.stand.fleet.set_limit_w(device_id, limit_w)


@pytest.fixture
def host(stand):
    made = Host(stand)
    made.start()
    yield made
    made.journal.close()


def test_no_cap_above_the_ceiling(host, stand):
    host.start(ceilings=Ceilings(default_w=300.0, by_device={"h00-d1": 250.0}))
    done = host.cap(350.0)
    assert (done.outcome, done.applied_w, stand.limit_w()) == (Outcome.CLAMPED, 300.0, 300.0)
    assert host.cap(350.0, device=1).applied_w == 250.0
    assert host.cap(200.0, device=2).outcome is Outcome.APPLIED


@pytest.mark.parametrize("end", ["restore", "restore_all", "expire", "recover"])
def test_a_restore_goes_up_to_the_ceiling_and_says_so(host, stand, end):
    host.cap(200.0)
    host.cap(200.0, device=1)
    results = host.start(ceilings=Ceilings(by_device={"h00-d0": 300.0})) if end == "recover" else ()
    if end != "recover":
        host.start(ceilings=Ceilings(by_device={"h00-d0": 300.0}), kept=host.keeper.kept_leases())
        assert host.keeper.limits_found() == {"h00-d0": 300.0, "h00-d1": 400.0}
    if end == "restore":
        results = host.keeper.restore(host.ids[:2], 1)
    elif end == "restore_all":
        results = host.keeper.restore_all()
    elif end == "expire":
        results = host.expire(10.0)
    assert [done.outcome for done in results] == [Outcome.APPLIED] * 2
    assert [stand.limit_w(device=index) for index in (0, 1)] == [300.0, 400.0]
    assert "the ceiling, 300 W; the limit found was 400 W" in results[0].detail
    assert results[1].detail == ""
    assert host.journal.state.limits == {}


def test_a_ceiling_above_the_limit_found_changes_nothing(host, stand):
    stand.set_by_other(320.0)
    host.start(ceilings=Ceilings(default_w=350.0))
    host.cap(200.0)
    host.keeper.restore_all()
    assert stand.limit_w() == 320.0


def test_a_ceiling_under_the_floor_lets_no_cap_be_written_and_a_restore_end(host, stand):
    host.cap(200.0)
    host.start(ceilings=Ceilings(default_w=50.0), kept=host.keeper.kept_leases())
    done = host.cap(150.0)
    assert (done.outcome, done.fault) == (Outcome.REFUSED, None)
    assert "the ceiling, 50 W, is under the device's floor" in done.detail
    host.keeper.restore_all()
    assert stand.limit_w() == 100.0
    assert host.journal.state.limits == {}


def test_limits_rise_in_steps_after_the_delay(host, stand):
    host.start(ramp=RestoreRamp(delay_s=5.0, ramp_s=20.0), raise_back=host.raise_back)
    host.cap(200.0)
    seen = []
    ends = []
    for _ in range(16):
        ends += host.expire(2.5)
        seen.append((stand.now_s, stand.limit_w()))
    begun_s = 1000.0 + 10.0 + 5.0
    for at_s, limit_w in seen:
        due_w = 200.0 + 200.0 * min(1.0, max(0.0, (at_s - begun_s) / 20.0))
        assert limit_w == pytest.approx(due_w), at_s
    assert [(done.outcome, done.applied_w) for done in ends] == [(Outcome.APPLIED, 400.0)], "told at the end, once"
    assert host.journal.state.limits == {}
    assert [limit_w for _, limit_w in host.raised] == [pytest.approx(200.0 + 25.0 * step) for step in range(1, 9)]


def test_each_step_is_on_disk_before_it_is_written(host, stand):
    journaled = []

    def raise_back(device_id, limit_w):
        prior = host.journal.state.limits[device_id]
        journaled.append((prior.written_w, prior.before_w, limit_w, stand.limit_w()))
        stand.fleet.set_limit_w(device_id, limit_w)

    host.start(ramp=RestoreRamp(ramp_s=4.0), raise_back=raise_back)
    host.cap(200.0)
    host.expire(10.0)
    for _ in range(3):
        host.expire(1.0)
    assert [(written_w, before_w) for written_w, before_w, *_ in journaled] == [
        (limit_w, found_w) for *_, limit_w, found_w in journaled
    ]
    assert [limit_w for *_, limit_w, _ in journaled] == [250.0, 300.0, 350.0]


def test_a_step_that_is_not_worth_a_write_waits(host, stand):
    host.start(ramp=RestoreRamp(ramp_s=1000.0), raise_back=host.raise_back)
    host.cap(200.0)
    host.expire(10.0)
    for _ in range(40):
        host.expire(0.25)
    assert len(host.raised) == 2, "200 W within 1000 s: a watt in five seconds"


def test_a_renewal_stops_the_ramp(host, stand):
    host.start(ramp=RestoreRamp(ramp_s=10.0))
    host.cap(200.0)
    host.expire(10.0)
    host.expire(5.0)
    assert stand.limit_w() == 300.0
    assert host.cap(220.0, duration_s=10.0).outcome is Outcome.APPLIED
    host.expire(5.0)
    assert stand.limit_w() == 220.0
    host.expire(5.0)
    host.expire(5.0)
    assert stand.limit_w() == 310.0, "from the cap that was in force, in its own time"


def test_a_restore_that_is_asked_for_is_immediate_in_the_middle_of_a_ramp_and_without(host, stand):
    host.start(ramp=RestoreRamp(delay_s=5.0, ramp_s=10.0))
    host.cap(200.0)
    host.cap(200.0, device=1)
    host.expire(10.0)
    host.keeper.restore(["h00-d0"], 1)
    assert [stand.limit_w(device=index) for index in (0, 1)] == [400.0, 200.0]
    host.keeper.restore_all()
    assert stand.limit_w(device=1) == 400.0


def test_a_restore_that_failed_is_tried_again_at_once_and_not_ramped(host, stand):
    host.start(ramp=RestoreRamp(delay_s=100.0, ramp_s=100.0))
    host.cap(200.0)
    stand.fleet.inject(Faults(write_refused=frozenset({"h00-d0"})))
    host.keeper.restore_all()
    stand.fleet.inject(Faults())
    host.expire()
    assert stand.limit_w() == 400.0


def test_somebody_else_in_the_middle_of_a_ramp(host, stand):
    host.start(ramp=RestoreRamp(ramp_s=10.0))
    host.cap(200.0)
    host.expire(10.0)
    host.expire(2.0)
    stand.set_by_other(333.0)
    (done,) = host.expire(2.0)
    assert (done.outcome, done.fault.condition) == (Outcome.CONFLICT, Condition.CONFLICT)
    host.expire(20.0)
    assert stand.limit_w() == 333.0
    assert host.journal.state.limits == {}


def test_a_step_that_fails_is_told_and_tried_again(host, stand):
    host.start(ramp=RestoreRamp(ramp_s=10.0))
    host.cap(200.0)
    host.expire(10.0)
    stand.fleet.inject(Faults(write_refused=frozenset({"h00-d0"})))
    (done,) = host.expire(2.0)
    assert (done.outcome, done.fault.condition) == (Outcome.REFUSED, Condition.NO_PERMISSION)
    assert stand.limit_w() == 200.0
    stand.fleet.inject(Faults())
    assert host.expire(3.0) == ()
    assert stand.limit_w() == 300.0


def test_a_journal_that_cannot_be_written_stops_the_steps_and_not_the_end(host, stand, monkeypatch):
    host.start(ramp=RestoreRamp(ramp_s=10.0))
    host.cap(200.0)
    host.expire(10.0)
    monkeypatch.setattr("hardware.journal.replace_file", _full)
    (done,) = host.expire(2.0)
    assert (done.outcome, stand.limit_w()) == (Outcome.REFUSED, 200.0)
    assert "disk" in done.fault.cure
    host.expire(8.0)
    assert stand.limit_w() == 400.0


def test_what_puts_limits_back_may_say_no(host, stand):
    def never(device_id, limit_w):
        raise WriteRefused("not by me", device_id=device_id)

    host.start(raise_back=never)
    assert host.cap(200.0).outcome is Outcome.APPLIED
    (done,) = host.expire(10.0)
    assert (done.outcome, stand.limit_w()) == (Outcome.REFUSED, 200.0)
    assert "not by me" in done.detail


def test_limits_from_before_a_restart_are_dropped_and_not_followed(host, stand):
    host.start(boot_id="one")
    host.cap(200.0, epoch=5)
    host.cap(200.0, device=1, epoch=5)
    # The devices forgot; somebody set one of them since, to just what it had.
    stand.fleet.inject(Faults(limits_w={"h00-d0": 200.0, "h00-d1": 400.0}))
    results = host.start(boot_id="two")
    assert [(done.outcome, done.applied_w) for done in results] == [(Outcome.REFUSED, 200.0), (Outcome.REFUSED, 400.0)]
    assert {done.detail for done in results} == {"from before the machine was restarted: left as it is"}
    assert [stand.limit_w(device=index) for index in (0, 1)] == [200.0, 400.0]
    assert (host.journal.state.limits, host.journal.state.epoch) == ({}, 5)
    assert host.cap(250.0, epoch=5).outcome is Outcome.CLAMPED, "what somebody set is the limit found"


@pytest.mark.parametrize(("before", "after"), [("one", "one"), ("", "two"), ("one", ""), ("", "")])
def test_the_same_life_of_the_machine_or_an_unknown_one(host, stand, before, after):
    host.start(boot_id=before)
    host.cap(200.0)
    assert [done.outcome for done in host.start(boot_id=after)] == [Outcome.APPLIED]
    assert stand.limit_w() == 400.0


def test_a_hold_that_was_lost_with_a_restart_is_an_alarm(host, stand):
    host.start(boot_id="one")
    host.cap(200.0, on_expiry=OnExpiry.HOLD)
    stand.set_by_other(400.0)
    with capture_logs() as logs:
        (done,) = host.start(boot_id="two")
    assert (done.outcome, done.fault.condition) == (Outcome.REFUSED, Condition.NOT_IN_FORCE)
    assert "held at 200 W" in done.fault.detail
    assert "send it again" in done.fault.cure
    assert [(line["event"], line["log_level"]) for line in logs] == [("hold_lost_with_restart", "error")]
    host.expire(100.0)
    host.keeper.restore_all()
    assert stand.limit_w() == 400.0


def test_an_old_entry_is_not_followed_where_it_cannot_be_dropped_either(host, stand, monkeypatch):
    host.start(boot_id="one")
    host.cap(200.0)
    monkeypatch.setattr("hardware.journal.replace_file", _full)
    host.start(boot_id="two")
    host.expire(1.0)
    assert stand.limit_w() == 200.0, "somebody's, by now"
    monkeypatch.undo()
    assert host.cap(150.0, device=1).outcome is Outcome.APPLIED
    assert host.journal.state.limits.keys() == {"h00-d1"}
    host.expire(100.0)
    assert [stand.limit_w(device=index) for index in (0, 1)] == [200.0, 400.0]


def test_a_new_process_goes_on_with_the_leases_of_one_that_died(host, stand):
    old = stand.cap(200.0, duration_s=10.0)
    held = stand.cap(200.0, device=1, duration_s=10.0, on_expiry=OnExpiry.HOLD)
    host.apply(old, held)
    stand.now_s += 5.0
    assert host.start(kept=host.keeper.kept_leases()) == ()
    assert [stand.limit_w(device=index) for index in (0, 1)] == [200.0, 200.0]
    stale = stand.cap(150.0, sequence=0)
    assert host.apply(stale)[0].outcome is Outcome.REFUSED
    (again,) = host.apply(old)
    assert (again.outcome, again.applied_w) == (Outcome.APPLIED, 200.0)
    host.expire(5.0)
    assert [stand.limit_w(device=index) for index in (0, 1)] == [400.0, 200.0], "not prolonged by the repetition"
    assert host.keeper.newly_held_over(stand.now_s) == ("h00-d1",)


def test_leases_of_devices_that_the_journal_does_not_name_only_count_as_heard(host, stand):
    host.start(kept={"h00-d0": KeptLease(stand.now_s + 10.0, hold=False, epoch=1, sequence=1)})
    assert not host.keeper.runs(stand.now_s)
    assert host.cap(200.0, sequence=0).outcome is Outcome.REFUSED
    assert host.cap(200.0, sequence=2).outcome is Outcome.APPLIED


def test_command_of_a_lease_that_ended_in_an_earlier_process_does_not_act_anew(host, stand):
    command = stand.cap(200.0, duration_s=5.0)
    host.apply(command)
    host.expire(6.0)
    host.start(kept=host.keeper.kept_leases())
    (done,) = host.apply(command)
    assert (done.outcome, stand.limit_w()) == (Outcome.REFUSED, 400.0)


def test_what_was_not_handed_over_is_put_back(host, stand):
    host.cap(200.0)
    host.cap(200.0, device=1)
    kept = {"h00-d0": host.keeper.kept_leases()["h00-d0"]}
    assert [done.device_id for done in host.start(kept=kept)] == ["h00-d1"]
    assert [stand.limit_w(device=index) for index in (0, 1)] == [200.0, 400.0]


def test_a_process_that_dies_on_the_way_back_up_does_not_make_it_steeper(host, stand):
    ramp = RestoreRamp(ramp_s=10.0)
    host.start(ramp=ramp)
    host.cap(200.0)
    host.expire(10.0)
    host.expire(5.0)
    host.start(ramp=ramp, kept=host.keeper.kept_leases())
    limits_w = [stand.limit_w()]
    for _ in range(12):
        host.expire(1.0)
        limits_w.append(stand.limit_w())
    assert max(later - earlier for earlier, later in pairwise(limits_w)) <= 20.0
    assert limits_w[-1] == 400.0


def test_an_alarm_where_a_cap_is_not_in_force_comes_once_and_ends_once(host, stand):
    with capture_logs() as logs:
        stand.fleet.inject(Faults(limit_stuck=frozenset({"h00-d0"})))
        assert host.cap(200.0).fault.condition is Condition.NOT_IN_FORCE
        host.cap(210.0)
        (view, *_) = host.keeper.shown(stand.fleet.devices())
        assert view.fault.condition is Condition.NOT_IN_FORCE
        stand.fleet.inject(Faults())
        host.cap(200.0)
        assert host.keeper.shown(stand.fleet.devices())[0].fault is None
    assert [line["event"] for line in logs] == ["cap_not_in_force", "cap_in_force_again"]


def test_a_lease_that_is_malformed_is_no_fault_of_the_device(host, stand):
    lease = Lease(epoch=1, sequence=1, duration_s=-1.0)
    command = stand.cap(200.0).__class__(device_id="h00-d0", cap_w=200.0, lease=lease)
    (done,) = host.apply(command)
    assert (done.outcome, done.fault) == (Outcome.REFUSED, None)


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")
