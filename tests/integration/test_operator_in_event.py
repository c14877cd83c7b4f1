"""The operator on call pauses a job by command while a real gateway and agent hold an event."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Gateway, OpenleadrVtn, capped, event_under_way, eventually, free_port

pytestmark = pytest.mark.timeout(240)

LEASE_S = 3.0


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short: a socket's path may be no longer than about a hundred characters.
    path = Path(tempfile.mkdtemp(prefix="gg-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def utility() -> Iterator[tuple[OpenleadrVtn, int]]:
    port = free_port()
    vtn = OpenleadrVtn(port, "1")
    yield vtn, port
    vtn.end()


@pytest.fixture
def gateway(folder: Path, utility: tuple[OpenleadrVtn, int]) -> Iterator[Gateway]:
    process = Gateway(folder, vtn_port=utility[1], lease_s=LEASE_S)
    yield process
    process.end()


def job(gateway: Gateway, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = gateway.ask("job", "show", job_id)
    return found


def test_operators_pause_outlasts_the_event_and_ends_by_their_word(
    folder: Path, utility: tuple[OpenleadrVtn, int], gateway: Gateway
) -> None:
    gateway.start()
    event_under_way(utility[0], gateway, lasts_s=20)
    jobs = gateway.ask("job", "list")["jobs"]
    job_id = next(one["job_id"] for one in jobs if one["max_pause_s"] >= 120 and one["state"] == "running")

    (paused,) = gateway.ask("job", "pause", job_id, "--for", "2m")
    assert (paused["outcome"], paused["state"]) == ("applied", "paused")
    assert capped(folder), "the event goes on"

    eventually("the event is over", lambda: capped(folder) == 0, within_s=60)
    until_s = time.monotonic() + 2.0 * LEASE_S
    while time.monotonic() < until_s:
        assert job(gateway, job_id)["state"] == "paused", "the gateway does not undo what a person asked for"

    (resumed,) = gateway.ask("job", "resume", job_id)
    assert (resumed["outcome"], resumed["state"]) == ("applied", "running")
    assert job(gateway, job_id)["state"] == "running"
    assert gateway.stop() == 0
