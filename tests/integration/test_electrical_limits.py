"""A rack's limit with a real gateway and agent process: kept from the start, through deaths and the graceful end."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.errors import AgentUnreachable
from tests.lab import CONFIG, Gateway, capped, eventually, free_port, limits_w

pytestmark = pytest.mark.timeout(240)

LEASE_S = 3.0
RACK_W = 2060.0
"""Eight devices at 250 W, and the 3 % that they may draw over it."""

SHARED_W = 2000.0

NODE = """
[[site.node]]
id = "r1"
kind = "rack"
limit_kw = 2.06
hosts = ["h00"]
"""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    # Short: a socket's path may be no longer than about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="gg-"))
    process = Gateway(folder, vtn_port=free_port(), lease_s=LEASE_S, config=CONFIG + NODE)
    yield process
    process.end()
    shutil.rmtree(folder, ignore_errors=True)


def rack_w(gateway: Gateway) -> float | None:
    """The sum of the rack's limits in force; ``None`` while no agent answers."""
    try:
        devices = limits_w(gateway.folder).values()
    except AgentUnreachable:
        return None
    return sum(device.limit_w for device in devices if device.host_id == "h00")


def is_kept(gateway: Gateway) -> bool:
    found_w = rack_w(gateway)
    return found_w is not None and found_w == pytest.approx(SHARED_W, abs=1.0)


def test_a_racks_limit_holds_whoever_dies_and_is_taken_over(gateway: Gateway) -> None:
    gateway.start()
    eventually("the rack is under its limit", lambda: is_kept(gateway), within_s=15)
    assert capped(gateway.folder) == 8, "nothing but the rack is capped"
    gateway.kill()
    time.sleep(LEASE_S + 2)
    assert is_kept(gateway), "the agent alone holds on after the lease"
    gateway.start()
    until = time.monotonic() + LEASE_S + 2
    while time.monotonic() < until:
        assert is_kept(gateway)
        time.sleep(0.2)
    gateway.kill()
    os.kill(gateway.agent_pid(), signal.SIGKILL)
    gateway.start()
    eventually("another agent holds on", lambda: is_kept(gateway), within_s=15)
    assert gateway.stop() == 0


def test_a_graceful_end_leaves_the_racks_caps_and_says_so(gateway: Gateway) -> None:
    gateway.start()
    eventually("the rack is under its limit", lambda: is_kept(gateway), within_s=15)
    assert gateway.stop() == 0
    said = [line for line in gateway.log() if line.get("event") == "caps_stay"]
    assert "rack r1 (2.06 kW)" in said[0]["reason"]
    gateway.start()
    eventually("the caps are still there", lambda: is_kept(gateway), within_s=10)
    assert gateway.stop() == 0
    # The limit is raised: everything goes back.
    gateway.config.write_text(gateway.config.read_text().replace("limit_kw = 2.06", "limit_kw = 9"))
    gateway.start()
    eventually("every limit is put back", lambda: capped(gateway.folder) == 0, within_s=15)
    assert gateway.stop() == 0
