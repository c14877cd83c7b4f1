"""The agent over NVML: the limit found is what comes back, whoever else writes and whatever fails on the way.

Each fault ends in a named outcome, one line in the log with its cure, and, once it is over, with the limits found.
"""

import json

import pytest
from structlog.testing import capture_logs

from hardware.agent import Agent
from hardware.device import CapCommand, Lease, OnExpiry, Outcome
from hardware.nvml.driver import NvmlDriver
from hardware.wire import Apply, Describe, Described, Failed, Read, Readings, Restore
from tests.nvml_library import control

SET = "nvmlDeviceSetPowerManagementLimit"
ENFORCED = "nvmlDeviceGetEnforcedPowerLimit"


class Host:
    """Four GPUs, found at 380 W, and the agents that live on them one after another."""

    def __init__(self, board, folder):
        self.board = board
        self.path = folder / "journal.json"
        self.now_s = 1000.0
        self.sequence = 0
        for device in board.devices:
            device.limit_w = 380.0
        self.start()

    def start(self):
        self.driver = NvmlDriver(host_id="h00")
        self.agent = Agent(host_id="h00", devices=self.driver, journal=self.path, boot_s=lambda: self.now_s)
        self.agent.recover()

    def kill(self):
        """The agent dies as kill -9 leaves it: nothing put back, the journal as it is."""
        self.agent.close()
        self.driver.close()

    def cap(self, cap_w, *, devices=(0,), duration_s=10.0, on_expiry=OnExpiry.RESTORE):
        self.sequence += 1
        lease = Lease(epoch=1, sequence=self.sequence, duration_s=duration_s, on_expiry=on_expiry)
        commands = tuple(CapCommand(device_id=self.board.ids[index], cap_w=cap_w, lease=lease) for index in devices)
        results = self.agent.handle(Apply(commands=commands)).results
        return results[0] if len(results) == 1 else results

    def restore(self):
        return self.agent.handle(Restore(device_ids=tuple(self.board.ids), epoch=1)).results

    def journal(self):
        return json.loads(self.path.read_text())["limits"]

    def pass_s(self, seconds):
        self.now_s += seconds
        self.board.pass_s(seconds)
        self.agent.expire()


@pytest.fixture
def host(nvml_board, tmp_path):
    made = Host(nvml_board, tmp_path)
    yield made
    made.kill()


def test_cap_renewal_expiry(host):
    result = host.cap(250.0)
    assert (result.outcome, result.applied_w) == (Outcome.APPLIED, 250.0)
    host.pass_s(8.0)
    assert host.cap(250.0).outcome is Outcome.APPLIED
    host.pass_s(8.0)
    assert host.board.limits_w() == [250.0, 380.0, 380.0, 380.0]
    host.pass_s(8.0)
    assert host.board.limits_w() == [380.0] * 4, "the limit found, not the default"
    assert host.board.devices[0].writes == 2


def test_the_limit_found_is_on_disk_when_the_first_write_is_made(host, monkeypatch):
    seen = []
    write = host.driver.set_limit_w

    def watched(device_id, limit_w):
        seen.append((host.journal(), host.board.limits_w()[0]))
        write(device_id, limit_w)

    monkeypatch.setattr(host.driver, "set_limit_w", watched)
    host.cap(250.0)
    assert seen == [({host.board.ids[0]: [380.0, 250.0, 380.0, False]}, 380.0)]


def test_killed_and_started_again(host):
    host.cap(250.0, devices=(0, 1, 2))
    host.cap(300.0, devices=(3,), on_expiry=OnExpiry.HOLD)
    host.kill()
    assert host.board.limits_w() == [250.0, 250.0, 250.0, 300.0]
    host.start()
    assert host.board.limits_w() == [380.0, 380.0, 380.0, 300.0]
    host.agent.restore_all()
    assert host.board.limits_w() == [380.0, 380.0, 380.0, 300.0]


def test_another_writer_is_left_alone_and_reported(host):
    host.cap(250.0)
    host.board.devices[0].limit_w = 333.0
    result = host.cap(240.0)
    assert (result.outcome, result.applied_w) == (Outcome.CONFLICT, 333.0)
    host.restore()
    host.pass_s(20.0)
    assert host.board.limits_w()[0] == 333.0


def test_another_writer_while_the_agent_was_dead(host):
    host.cap(250.0, devices=(0, 1))
    host.kill()
    host.board.devices[0].limit_w = 333.0
    host.start()
    assert host.board.limits_w() == [333.0, 380.0, 380.0, 380.0]


def test_a_limiter_out_of_band_is_nobody_who_changed_our_limit(host):
    host.board.devices[0].outside_w = 300.0
    result = host.cap(350.0)
    assert (result.outcome, result.applied_w) == (Outcome.CLAMPED, 300.0)
    assert "from elsewhere" in result.detail
    assert host.cap(250.0).outcome is Outcome.APPLIED
    host.board.devices[0].outside_w = 200.0
    result = host.cap(250.0)
    assert (result.outcome, result.applied_w) == (Outcome.CLAMPED, 200.0)
    (result, *_) = host.restore()
    assert (result.outcome, result.applied_w) == (Outcome.APPLIED, 200.0)
    host.board.devices[0].outside_w = 0.0
    assert host.board.devices[0].enforced_w == 380.0, "once it lets go, everything is as it was found"


def test_permission_denied(host):
    rule = host.board.fail(SET, control.NO_PERMISSION)
    with capture_logs() as logs:
        result = host.cap(250.0)
        host.cap(240.0)
    assert (result.outcome, result.applied_w) == (Outcome.REFUSED, 380.0)
    assert "CAP_SYS_ADMIN" in result.detail
    assert [line["event"] for line in logs] == ["nvml_trouble"]
    rule.taken_back()
    assert host.cap(250.0).outcome is Outcome.APPLIED


def test_driver_unloaded_under_a_cap(host):
    host.cap(250.0)
    host.board.unload_driver()
    result = host.cap(240.0)
    assert (result.outcome, result.applied_w) == (Outcome.LOST, None)
    assert "modprobe nvidia" in result.detail
    described = host.agent.handle(Describe())
    assert isinstance(described, Described)
    assert [view.present for view in described.devices] == [False] * 4
    reply = host.agent.handle(Read())
    assert isinstance(reply, Failed)
    assert (reply.error, "modprobe nvidia" in reply.detail) == ("DriverLost", True)
    host.board.load_driver()
    host.pass_s(20.0)
    assert host.board.limits_w() == [400.0] * 4, "a driver begins with its defaults, and none of them is ours"
    assert host.journal() == {}
    assert isinstance(host.agent.handle(Read()), Readings)
    assert host.cap(250.0).outcome is Outcome.APPLIED


def test_driver_that_is_away_for_a_while_and_comes_back_as_it_was(host):
    host.cap(250.0)
    host.board.unload_driver()
    host.pass_s(20.0)
    assert host.journal() != {}, "not put back yet, so not forgotten"
    host.board.unload_driver(0)
    host.pass_s(1.0)
    assert host.board.limits_w() == [380.0] * 4
    assert host.journal() == {}


def test_library_and_driver_do_not_match(host):
    host.cap(250.0)
    host.board.unload_driver(control.VERSION_MISMATCH)
    with capture_logs() as logs:
        result = host.cap(240.0)
    assert result.outcome is Outcome.LOST
    assert "restart the agent" in result.detail
    assert {line["event"] for line in logs} == {"nvml_driver_lost"}
    host.kill()
    host.board.unload_driver(0)
    host.start()
    assert host.board.limits_w() == [380.0] * 4


def test_device_lost_in_the_middle_of_a_write(host):
    host.board.fail(SET, control.GPU_IS_LOST, device=0, works=True, then=control.LOSE_DEVICE, times=1)
    with capture_logs() as logs:
        first, second = host.cap(250.0, devices=(0, 1))
    assert (first.outcome, first.applied_w) == (Outcome.LOST, None)
    assert (second.outcome, second.applied_w) == (Outcome.APPLIED, 250.0)
    assert [line["event"] for line in logs] == ["nvml_device_lost"]
    assert "power-cycle" in first.detail
    assert [view.present for view in host.agent.handle(Describe()).devices] == [False, True, True, True]
    host.pass_s(20.0)
    assert host.journal().keys() == {host.board.ids[0]}
    host.board.devices[0].lost = 0
    host.pass_s(1.0)
    assert host.board.limits_w() == [380.0] * 4, "what was written before it went is put back once it is there again"


@pytest.mark.parametrize("code", [10, 27, 999])
def test_half_a_write_that_says_it_failed(host, code):
    host.board.fail(SET, code, device=0, works=True, times=1)
    result = host.cap(250.0)
    assert (result.outcome, result.applied_w) == (Outcome.REFUSED, 250.0), "what holds is read back"
    host.pass_s(20.0)
    assert host.board.limits_w() == [380.0] * 4


def test_half_a_write_and_a_kill(host):
    host.board.fail(SET, 10, device=0, works=True, times=1)
    host.board.fail(ENFORCED, 10, device=0, skip_calls=1)
    assert host.cap(250.0).applied_w is None
    host.kill()
    host.board.heal()
    host.start()
    assert host.board.limits_w() == [380.0] * 4


def test_a_write_that_says_it_worked_and_did_not(host):
    host.board.fail(SET, 0, device=0)
    result = host.cap(250.0)
    assert (result.outcome, result.applied_w) == (Outcome.REFUSED, 380.0)
    assert "not in force" in result.detail


def test_a_gpu_that_takes_no_limit(host):
    host.board.devices[0].abilities &= ~control.SET
    assert host.cap(250.0).outcome is Outcome.REFUSED
    view = host.agent.handle(Describe()).devices[0]
    assert view.cap_range.min_w == view.cap_range.max_w == 380.0, "nothing is promised of it from now on"


def test_a_restore_that_fails_for_a_while_is_made_in_the_end(host):
    host.cap(250.0, devices=(0, 1, 2, 3))
    host.board.fail(SET, 10, probability=0.7, seed=5)
    for _ in range(40):
        host.pass_s(10.0)
    assert host.board.limits_w() == [380.0] * 4
    assert host.journal() == {}


def test_reset_under_a_cap_is_no_limit_of_ours_any_more(host):
    host.cap(250.0)
    host.board.devices[0].reset()
    host.pass_s(20.0)
    host.pass_s(1.0)
    assert host.board.limits_w() == [400.0, 380.0, 380.0, 380.0]
    assert host.journal() == {}
