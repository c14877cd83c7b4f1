"""Keeper and worker of an agent: each killed, stopped or hung, over our own libnvidia-ml.so.1 and its mapped file."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hardware.device import OnExpiry, Outcome
from hardware.privileges import Capability
from tests.agent_host import FOUND_W, ROOT, ended, host_with_gpus
from tests.nvml_library.control import GPU_IS_LOST

pytestmark = pytest.mark.timeout(180)

CAP = "nvmlDeviceSetPowerManagementLimit"
ENFORCED = "nvmlDeviceGetEnforcedPowerLimit"
APPLIED = [Outcome.APPLIED] * 4


@pytest.fixture
async def host(nvml_library):
    async with host_with_gpus(nvml_library) as made:
        yield made


async def test_worker_killed_caps_stay_and_renewals_go_on(host):
    keeper = await host.start()
    assert await host.cap(200.0, duration_s=60.0) == APPLIED
    os.kill(host.workers()[0], signal.SIGKILL)
    await host.until_worker(2)
    await host.always_limits([200.0] * 4, for_s=1.0)
    await host.until_it_answers(keeper)
    assert host.board.limits_w() == [200.0] * 4, "no bump while the worker was away"
    assert {view.limit_w for view in host.fleet.devices().values()} == {200.0}
    assert await host.cap(200.0, duration_s=4.0) == APPLIED
    await host.until_limits([FOUND_W] * 4, 20.0)
    async with asyncio.timeout(10.0):
        while host.journal():  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.02)


async def test_worker_killed_and_nobody_renews_the_keeper_restores_at_the_end_of_the_lease(host):
    await host.start()
    await host.cap(200.0, duration_s=4.0)
    capped_s = time.monotonic()
    # No other worker can start: the keeper is alone with what is left.
    host.config.write_text("broken = [")
    os.kill(host.workers()[0], signal.SIGKILL)
    await host.always_limits([200.0] * 4, for_s=max(0.0, capped_s + 3.0 - time.monotonic()))
    await host.until_limits([FOUND_W] * 4, 20.0)
    assert len(host.workers()) > 1, "and goes on trying"


async def test_worker_killed_what_is_to_be_held_is_held(host):
    keeper = await host.start()
    await host.cap(200.0, duration_s=1.0, on_expiry=OnExpiry.HOLD)
    os.kill(host.workers()[0], signal.SIGKILL)
    await host.until_worker(2)
    await host.until_it_answers(keeper)
    await host.always_limits([200.0] * 4, for_s=2.0)
    assert any(line["event"] == "lease_ended_cap_held" for line in host.events())


async def test_cap_whose_lease_the_keeper_never_heard_of_goes_back_at_once(host):
    await host.start()
    # The second device's write hangs: the worker dies in the midst of the command.
    host.board.fail(CAP, 0, device=1, delay_ms=60_000)
    asking = asyncio.ensure_future(host.cap(200.0, duration_s=600.0))
    await host.until_limits([200.0, FOUND_W, 200.0, 200.0], 5.0)
    os.kill(host.workers()[0], signal.SIGKILL)
    host.board.heal()
    await host.until_limits([FOUND_W] * 4, 20.0)
    # Given up or, where the next worker was there in time, asked again of that one.
    assert set(await asking) <= {Outcome.TIMED_OUT, Outcome.APPLIED}


async def test_worker_that_stands_still_is_killed_and_what_ended_meanwhile_goes_back(host):
    keeper = await host.start()
    await host.cap(200.0, duration_s=3.0)
    first = host.workers()[0]
    os.kill(first, signal.SIGSTOP)
    await host.until_worker(2, within_s=60.0)
    await host.until_limits([FOUND_W] * 4, 20.0)
    await host.until_it_answers(keeper)
    assert await host.cap(200.0) == APPLIED
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


async def test_keeper_killed_the_worker_puts_everything_back_and_ends(host):
    keeper = await host.start()
    await host.cap(200.0, duration_s=600.0)
    keeper.kill()
    await host.until_limits([FOUND_W] * 4, 10.0)
    await until_gone(host.workers()[0])
    assert host.journal() == {}
    again = await host.start()
    assert await host.cap(200.0) == APPLIED
    again.terminate()
    assert await ended(again) == 0


async def test_keeper_that_stands_still_is_ended_by_its_worker(host):
    keeper = await host.start()
    await host.cap(200.0, duration_s=600.0)
    keeper.send_signal(signal.SIGSTOP)
    await host.until_limits([FOUND_W] * 4, 60.0)
    assert await ended(keeper) == -signal.SIGKILL


async def test_both_killed_the_next_start_restores_first(host):
    keeper = await host.start()
    await host.cap(200.0, duration_s=600.0)
    host.kill_both(keeper)
    await ended(keeper)
    await host.always_limits([200.0] * 4, for_s=0.5)
    await host.start()
    assert host.board.limits_w() == [FOUND_W] * 4


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root on Linux has privileges to drop")
async def test_worker_has_no_more_privileges_than_it_needs(host):
    keeper = await host.start()
    await host.cap(200.0)
    worker = host.workers()[0]
    only = f"{int(status(Path('/proc/self'))['CapBnd'], 16) & 1 << Capability.SYS_ADMIN:016x}"
    for has in of_every_thread(worker):
        assert {has[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {only}
        assert {has[name] for name in ("CapInh", "CapAmb")} == {"0" * 16}
        assert has["NoNewPrivs"] == "1"
    assert status(Path(f"/proc/{keeper.pid}"))["CapEff"] != only
    assert (host.folder / "state/agent.sock").stat().st_mode & 0o777 == 0o600


async def test_second_agent_is_refused_in_clear_words(host):
    await host.start()
    second = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "gateway", "agent", "--config", str(host.config)],
        cwd=ROOT,
        env=os.environ | host.environment,
        capture_output=True,
        check=False,
        timeout=60.0,
    )
    assert second.returncode == 1
    assert b"in use: another agent has it open" in second.stderr.splitlines()[-1]
    assert await host.cap(200.0) == APPLIED


async def test_stopped_with_a_driver_that_hangs_it_ends_in_time_and_says_what_is_left(host):
    keeper = await host.start()
    await host.cap(200.0)
    host.board.fail(ENFORCED, 0, device=1, delay_ms=60_000)
    began_s = time.monotonic()
    keeper.terminate()
    assert await ended(keeper, within_s=30.0) == 1
    assert time.monotonic() - began_s < 15.0
    said = host.log().splitlines()[-1]
    assert "the journal puts limits back at the next start" in said
    assert host.board.ids[1] in said
    host.board.heal()
    await host.start()
    assert host.board.limits_w() == [FOUND_W] * 4


async def test_stopped_with_a_device_that_has_gone_it_says_which_and_why(host):
    keeper = await host.start()
    await host.cap(200.0)
    host.board.devices[1].lost = GPU_IS_LOST
    keeper.terminate()
    assert await ended(keeper, within_s=30.0) == 1
    said = host.log().splitlines()[-1]
    assert (
        f"not everything could be put back: the journal puts limits back at the next start ({host.board.ids[1]}: "
        in said
    )
    assert "lost" in said.partition(host.board.ids[1])[2]
    assert host.board.ids[0] not in said
    assert [host.board.limits_w()[index] for index in (0, 2, 3)] == [FOUND_W] * 3


async def test_cap_that_hung_and_comes_after_its_lease_goes_back(host):
    await host.start()
    host.board.fail(CAP, 0, device=1, delay_ms=5_000, works=True, times=1)
    assert Outcome.TIMED_OUT in await host.cap(200.0, duration_s=2.0)
    await host.until_limits([FOUND_W] * 4, 20.0)
    assert host.journal(), "one may come yet"
    await host.until_limits([FOUND_W, 200.0, FOUND_W, FOUND_W], 20.0)
    await host.until_limits([FOUND_W] * 4, 20.0)
    async with asyncio.timeout(10.0):
        while host.journal():  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.02)


def status(of: Path) -> dict[str, str]:
    lines = (of / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def of_every_thread(process_id: int) -> list[dict[str, str]]:
    return [status(thread) for thread in Path(f"/proc/{process_id}/task").iterdir()]


def lives(process_id: int) -> bool:
    folder = Path(f"/proc/{process_id}")
    return folder.exists() and status(folder)["State"][0] != "Z"


async def until_gone(process_id: int, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while lives(process_id):  # noqa: ASYNC110 - another's child sets no event
            await asyncio.sleep(0.05)


@pytest.mark.soak
async def test_call_that_hangs_for_long_has_the_worker_started_anew(host):
    keeper = await host.start()
    assert await host.cap(200.0, duration_s=120.0) == APPLIED
    # It hangs in this worker only: the library, not the device.
    hanging = host.board.fail(CAP, 0, device=1, delay_ms=600_000)
    assert Outcome.TIMED_OUT in await host.cap(190.0, duration_s=120.0)
    await host.until_worker(2, within_s=60.0)
    hanging.taken_back()
    await host.until_it_answers(keeper)
    assert await host.cap(180.0, duration_s=2.0) == APPLIED
    await host.until_limits([FOUND_W] * 4, 20.0)
