"""Deaths in the middle of an event: a real openleadr VTN, a real gateway process, a real agent process."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Gateway, OpenleadrVtn, capped, event_under_way, eventually, free_port, limits_w, rows

pytestmark = pytest.mark.timeout(240)

LEASE_S = 6.0
DEVICES = 16


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short: a socket's path may be no longer than about a hundred characters.
    path = Path(tempfile.mkdtemp(prefix="gg-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def vtn() -> Iterator[tuple[OpenleadrVtn, int]]:
    port = free_port()
    process = OpenleadrVtn(port, "1")
    yield process, port
    process.end()


@pytest.fixture
def gateway(folder: Path, vtn: tuple[OpenleadrVtn, int]) -> Iterator[Gateway]:
    process = Gateway(folder, vtn_port=vtn[1], lease_s=LEASE_S)
    yield process
    process.end()


def acknowledgements(folder: Path) -> int:
    return len(rows(folder, "SELECT * FROM acknowledgement WHERE event_id = 'peak-1'"))


def test_gateway_killed_caps_are_restored_by_lease_and_the_event_goes_on(
    folder: Path, vtn: tuple[OpenleadrVtn, int], gateway: Gateway
) -> None:
    utility = vtn[0]
    gateway.start()
    event_under_way(utility, gateway, lasts_s=45)
    kept = len(rows(folder, "SELECT * FROM reading WHERE meter_id = 'site'"))
    gateway.kill()
    eventually("the agent alone puts the caps back", lambda: capped(folder) == 0, within_s=LEASE_S + 8)
    gateway.start()
    eventually("the event goes on", lambda: capped(folder), within_s=10)
    assert utility.count("answer", event_id="peak-1") == 1
    assert acknowledgements(folder) == 1
    assert len(rows(folder, "SELECT * FROM reading WHERE meter_id = 'site'")) >= kept > 0
    baselines = rows(folder, "SELECT * FROM live_baseline")
    assert len(baselines) == 1, "the baseline stays frozen over the death"
    eventually("caps are back after the event", lambda: capped(folder) == 0, within_s=60)
    assert gateway.stop() == 0


def test_agent_killed_limits_are_restored_first_and_the_event_goes_on(
    folder: Path, vtn: tuple[OpenleadrVtn, int], gateway: Gateway
) -> None:
    gateway.start()
    event_under_way(vtn[0], gateway, lasts_s=40)
    first = gateway.agent_pid()
    gateway.kill_agent()
    eventually("another agent was started", lambda: gateway.agent_pid() != first, within_s=10)

    def recovered() -> bool:
        return any(line.get("event") == "recovered" and line["devices"] > 0 for line in gateway.log())

    eventually("the new agent put back what the journal says", recovered, within_s=10)
    eventually("the event goes on", lambda: capped(folder), within_s=15)
    eventually("caps are back after the event", lambda: capped(folder) == 0, within_s=60)
    assert gateway.stop() == 0


def test_keeper_killed_its_worker_restores_and_the_event_goes_on(
    folder: Path, vtn: tuple[OpenleadrVtn, int], gateway: Gateway
) -> None:
    gateway.start()
    event_under_way(vtn[0], gateway, lasts_s=40)
    first = gateway.agent_pid()
    os.kill(first, signal.SIGKILL)

    def restored() -> bool:
        return any(line.get("event") == "all_restored" and line["devices"] > 0 for line in gateway.log())

    eventually("the worker put everything back", restored, within_s=10)
    eventually("another agent was started", lambda: gateway.agent_pid() != first, within_s=15)
    eventually("the event goes on", lambda: capped(folder), within_s=15)
    eventually("caps are back after the event", lambda: capped(folder) == 0, within_s=60)
    assert gateway.stop() == 0


def test_worker_killed_caps_stay_and_the_event_goes_on(
    folder: Path, vtn: tuple[OpenleadrVtn, int], gateway: Gateway
) -> None:
    gateway.start()
    event_under_way(vtn[0], gateway, lasts_s=25)
    first = gateway.worker_pid()
    os.kill(first, signal.SIGKILL)
    eventually("another worker was started", lambda: gateway.worker_pid() != first, within_s=10)
    assert eventually("it answers", lambda: capped(folder), within_s=15), "and caps are where they were"
    assert not any(line.get("event") == "recovered" for line in gateway.log()), "nothing was put back meanwhile"
    eventually("caps are back after the event", lambda: capped(folder) == 0, within_s=60)
    assert gateway.stop() == 0


def test_sigterm_puts_caps_back_at_once_and_a_new_start_goes_on(
    folder: Path, vtn: tuple[OpenleadrVtn, int], gateway: Gateway
) -> None:
    utility = vtn[0]
    gateway.start()
    event_under_way(utility, gateway, lasts_s=45)
    began = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - began < 15
    state = folder / "state"
    assert not (state / "agent.sock").exists(), "the agent ends with its gateway"
    gateway.start()
    eventually("the event goes on", lambda: capped(folder), within_s=10)
    assert utility.count("answer", event_id="peak-1") == 1
    assert acknowledgements(folder) == 1
    assert gateway.stop() == 0


def test_gateway_and_agent_killed_together_the_next_start_restores_first(
    folder: Path, vtn: tuple[OpenleadrVtn, int], gateway: Gateway
) -> None:
    gateway.start()
    event_under_way(vtn[0], gateway, lasts_s=12)
    gateway.kill()
    gateway.kill_agent()
    vtn[0].end()
    time.sleep(12)
    gateway.start()
    eventually("every limit is as it was found", lambda: capped(folder) == 0, within_s=15)
    assert len(limits_w(folder)) == DEVICES
    assert gateway.stop() == 0
