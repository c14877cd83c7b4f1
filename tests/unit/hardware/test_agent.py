"""The agent without its process: what it answers, and that expected faults are answers."""

import math
import time

import pytest

from hardware.agent import boot_s
from hardware.device import Outcome, PowerReading
from hardware.errors import HardwareError
from hardware.faults import Faults
from hardware.wire import Act, Apply, Describe, Failed, Read, Restore


def test_description(stand):
    described = stand.agent().handle(Describe())
    assert described.host_id == "h00"
    assert described.highest_epoch == 0
    assert [view.device_id for view in described.devices] == list(stand.device_ids)
    assert [job.job_id for job in described.jobs] == ["train", "serve"]


def test_readings_leave_out_what_is_no_number(stand, monkeypatch):
    agent = stand.agent()
    good = agent.handle(Read()).readings
    assert {reading.meter_id for reading in good} == {*stand.device_ids, "site"}
    broken = PowerReading(meter_id="x", power_w=math.nan, measured_at=stand.now())
    monkeypatch.setattr(stand.fleet, "readings", lambda: (*good, broken))
    assert agent.handle(Read()).readings == good


@pytest.mark.parametrize("fault", [HardwareError("broken"), OSError("broken"), TimeoutError("broken")])
def test_expected_fault_is_an_answer(stand, monkeypatch, fault):
    def raises(*_):
        raise fault

    agent = stand.agent()
    for name in ("devices", "readings"):
        monkeypatch.setattr(stand.fleet, name, raises)
    for request in (Describe(), Read()):
        reply = agent.handle(request)
        assert isinstance(reply, Failed)
        assert (reply.error, reply.detail) == (type(fault).__name__, "broken")


def test_bug_is_not_hidden(stand, monkeypatch):
    def raises():
        raise ZeroDivisionError

    agent = stand.agent()
    monkeypatch.setattr(stand.fleet, "devices", raises)
    with pytest.raises(ZeroDivisionError):
        agent.handle(Describe())


def test_silent_site_is_an_answer(stand):
    agent = stand.agent()
    stand.fleet.inject(Faults(silent_meters=frozenset({*stand.device_ids, "site"})))
    assert agent.handle(Read()).error == "MeterSilent"


def test_unreadable_journal_refuses_commands_and_still_measures(stand):
    stand.journal.write_bytes(b"{")
    agent = stand.agent()
    agent.recover()
    assert len(agent.handle(Read()).readings) == 5
    assert len(agent.handle(Describe()).devices) == 4
    for request in (
        Apply(commands=(stand.cap(250.0),)),
        Restore(device_ids=("h00-d0",), epoch=1),
        Act(actions=(stand.pause(),)),
    ):
        assert [result.outcome for result in agent.handle(request).results] == [Outcome.REFUSED]


def test_every_request_looks_for_ended_leases_first(stand):
    agent = stand.agent()
    agent.handle(Apply(commands=(stand.cap(250.0, duration_s=10.0),)))
    assert agent.leased
    stand.now_s += 10.0
    assert not agent.leased
    assert agent.handle(Describe()).devices[0].limit_w == 400.0


def test_without_being_told_it_recovers_before_it_answers(stand):
    stand.agent().handle(Apply(commands=(stand.cap(250.0),)))
    assert stand.agent().handle(Describe()).devices[0].limit_w == 400.0


def test_restore_all_restores_limits_and_jobs_and_may_be_repeated(stand):
    agent = stand.agent()
    agent.handle(Apply(commands=(stand.cap(250.0),)))
    agent.handle(Act(actions=(stand.pause(),)))
    for _ in range(2):
        agent.restore_all()
        assert (stand.limit_w(), stand.state()) == (400.0, "running")


def test_boot_clock_runs():
    before = boot_s()
    time.sleep(0.01)
    assert 0.01 <= boot_s() - before < 1.0
