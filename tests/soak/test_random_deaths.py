"""Minutes of an event in which gateway, agent and VTN die at random, alone and in pairs."""

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Gateway, OpenleadrVtn, capped, eventually, free_port, rows

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

LEASE_S = 6.0
ROUNDS = 8
EVENT_S = 300.0
DEATHS = (
    *(("gateway",), ("agent",), ("keeper",), ("worker",), ("vtn",)),
    *(("gateway", "agent"), ("gateway", "keeper"), ("gateway", "worker"), ("gateway", "vtn"), ("agent", "vtn")),
)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="gg-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_whoever_dies_the_event_goes_on_and_everything_is_put_back(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    port = free_port()
    lives = [OpenleadrVtn(port, "0")]
    gateway = Gateway(folder, vtn_port=port, lease_s=LEASE_S)
    try:
        gateway.start()
        lives[0].wait_for("registered", within_s=30)
        lives[0].tell(do="event", event_id="peak-1", ven_id=lives[0].ven_id, in_s=4, interval_s=EVENT_S, levels=[2])
        lives[0].wait_for("answer", within_s=15, event_id="peak-1", opt_type="optIn")
        eventually("caps are down", lambda: capped(folder), within_s=20)
        # The VTN comes back only at the end: one that forgot the event would cancel it by leaving it out.
        for _ in range(ROUNDS):
            dead = chance.choice(DEATHS)
            if "vtn" in dead:
                lives[0].end()
            if "agent" in dead:
                gateway.kill_agent()
            if "keeper" in dead:
                os.kill(gateway.agent_pid(), signal.SIGKILL)
            if "worker" in dead:
                os.kill(gateway.worker_pid(), signal.SIGKILL)
            if "gateway" in dead:
                gateway.kill()
                time.sleep(chance.uniform(0.0, 2 * LEASE_S))
                gateway.start()
            eventually(f"the event goes on after the death of {dead}", lambda: capped(folder), within_s=20)
            time.sleep(chance.uniform(0.0, 5.0))
        eventually("everything is put back after the event", lambda: capped(folder) == 0, within_s=EVENT_S)
        assert len(rows(folder, "SELECT * FROM acknowledgement WHERE event_id = 'peak-1'")) == 1
        assert len(rows(folder, "SELECT * FROM live_baseline")) == 1
        statements = eventually(
            "the event is settled", lambda: gateway.ask("statement", "list"), within_s=120, every_s=5
        )
        assert [item["verified"]["event_id"] for item in statements] == ["peak-1"]
        assert float(statements[0]["delivered_kwh"]) > 0
        gateway.ask("statement", "show", statements[0]["statement_id"], "--check")
        assert gateway.stop() == 0
    finally:
        gateway.end()
        for life in lives:
            life.end()
