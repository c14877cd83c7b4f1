"""`gridgate agent` and `gridgate serve` with kind "nvml", as processes over our own libnvidia-ml.so.1.

The GPUs' limits lie in a mapped file: they outlive a killed agent, as those of real GPUs do.
"""

import asyncio
import json
import signal
import tempfile
import time
from pathlib import Path

import pytest

from hardware.device import Outcome
from tests.agent_host import FOUND_W, START_S, ended, host_with_gpus
from tests.lab import Gateway, eventually
from tests.nvml_library import control
from tests.nvml_library.control import STATE_VARIABLE, Board

SET = "nvmlDeviceSetPowerManagementLimit"
ENFORCED = "nvmlDeviceGetEnforcedPowerLimit"

GATEWAY = """
[gateway]
database = "sqlite+aiosqlite:///{folder}/gridgate.db"
listen = "127.0.0.1:{port}"
state_dir = "{folder}/state"
[site]
id = "lab-1"
interval_s = 60
[[hardware]]
kind = "nvml"
[control]
lease_s = {lease_s}
"""


@pytest.fixture
async def host(nvml_library):
    async with host_with_gpus(nvml_library) as made:
        yield made


async def test_killed_while_it_holds_caps_and_started_again(host):
    process = await host.start()
    assert await host.cap(200.0) == [Outcome.APPLIED] * 4
    host.kill_both(process)
    assert await ended(process) == -signal.SIGKILL
    assert host.board.limits_w() == [200.0] * 4, "a real limit outlives the process that set it"
    host.board.devices[2].limit_w = 333.0
    await host.start()
    assert host.board.limits_w() == [FOUND_W, FOUND_W, 333.0, FOUND_W], "another's limit is left alone"
    assert await host.cap(200.0) == [Outcome.APPLIED] * 4


@pytest.mark.parametrize("works", [False, True], ids=["before it took effect", "after it took effect"])
async def test_killed_at_the_very_write(host, works):
    process = await host.start()
    host.board.fail(SET, 0, device=1, works=works, then=control.KILL_PROCESS, times=1)
    # The next worker may be asked again, in time: then the cap is taken anew, and its lease ends.
    await host.cap(200.0, duration_s=6.0)
    await host.until_worker(2)
    await host.until_limits([FOUND_W] * 4, 20.0)
    await host.until_it_answers(process)
    assert await host.cap(200.0) == [Outcome.APPLIED] * 4


async def test_sigterm_puts_back_and_lets_go_of_the_library(host):
    process = await host.start()
    await host.cap(200.0)
    process.terminate()
    assert await ended(process) == 0
    assert host.board.limits_w() == [FOUND_W] * 4
    assert (host.board.state.inits, host.board.state.shutdowns) == (2, 2), "the keeper and the worker"


async def test_a_lease_that_ends(host):
    await host.start()
    await host.cap(200.0, duration_s=0.5)
    await host.until_limits([FOUND_W] * 4, 10.0)


async def test_caps_show_in_watts(host):
    await host.start()
    before = {reading.meter_id: reading.power_w for reading in await host.fleet.read()}
    await host.cap(150.0)
    await asyncio.sleep(1.3)
    after = {reading.meter_id: reading.power_w for reading in await host.fleet.read()}
    for device_id in host.board.ids[:3]:
        assert after[device_id] < 155.0 < before[device_id]


async def test_a_call_that_hangs_times_out_and_what_was_held_comes_back(host):
    await host.start()
    assert await host.cap(200.0, duration_s=2.0) == [Outcome.APPLIED] * 4
    hanging = host.board.fail(ENFORCED, 0, device=1, works=True, delay_ms=60_000)
    others = [Outcome.APPLIED] * 3
    assert await host.cap(190.0, duration_s=2.0) == [others[0], Outcome.TIMED_OUT, *others[1:]]
    await asyncio.sleep(2.0)
    hanging.taken_back()
    await host.until_limits([FOUND_W] * 4, 5.0)


async def test_a_call_that_hangs_for_good_and_a_kill(host):
    process = await host.start()
    await host.cap(200.0)
    host.board.fail(SET, 0, device=1, delay_ms=60_000)
    others = [Outcome.APPLIED] * 3
    assert await host.cap(190.0) == [others[0], Outcome.TIMED_OUT, *others[1:]]
    host.kill_both(process)
    await ended(process)
    host.board.heal()
    await host.start()
    assert host.board.limits_w() == [FOUND_W] * 4


@pytest.mark.soak
async def test_a_call_that_hangs_does_not_keep_the_process_from_ending(host):
    process = await host.start()
    await host.cap(200.0)
    host.board.fail(ENFORCED, 0, delay_ms=60_000)
    process.terminate()
    assert await ended(process, within_s=15.0) == 1
    assert "the journal puts limits back at the next start" in host.log().splitlines()[-1]
    host.board.heal()
    await host.start()
    assert host.board.limits_w() == [FOUND_W] * 4


@pytest.mark.parametrize(
    ("code", "cure"), [(control.DRIVER_NOT_LOADED, "modprobe nvidia"), (control.VERSION_MISMATCH, "restart the agent")]
)
async def test_without_a_driver_there_is_one_line_with_the_cure(host, code, cure):
    host.board.unload_driver(code)
    assert await ended(host.launch(), within_s=START_S) == 1
    said = host.log()
    assert cure in said.splitlines()[-1]
    assert said.splitlines()[-1].startswith("gridgate: cannot open the NVIDIA driver")
    assert "Traceback" not in said


async def test_a_driver_upgraded_under_a_running_agent(host):
    process = await host.start()
    await host.cap(200.0)
    host.board.unload_driver(control.VERSION_MISMATCH)
    assert await host.cap(190.0) == [Outcome.LOST] * 4
    await host.fleet.refresh()
    assert not any(view.present for view in host.fleet.devices().values())
    process.kill()
    await ended(process)
    host.board.unload_driver(0)
    await host.start()
    assert host.board.limits_w() == [FOUND_W] * 4


def test_the_service_sums_its_gpus_where_there_is_no_site_meter(nvml_library):
    with tempfile.TemporaryDirectory(prefix="gg-", ignore_cleanup_errors=True) as folder:
        board = Board(Path(folder, "gpus"), manual=False)
        gateway = Gateway(Path(folder), vtn_port=0, config=GATEWAY)
        try:
            gateway.start(LD_LIBRARY_PATH=str(nvml_library.parent), **{STATE_VARIABLE: str(board.path)})
            expected_w = 3 * control.WORKLOAD.power_w[-1] + board.state.idle_w

            def metered() -> bool:
                now = gateway.get("/api/now")
                return now is not None and f"{expected_w / 1000:.1f} kW" in json.dumps(now)

            eventually("the site shows the sum of its GPUs", metered, within_s=15)
            assert gateway.get("/health/ready")["parts"]["meter"] is None
            began = time.monotonic()
            assert gateway.stop() == 0
            assert time.monotonic() - began < 15.0
            assert board.state.shutdowns == board.state.inits == 2
        finally:
            gateway.end()
