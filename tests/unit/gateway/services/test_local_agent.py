"""The agent process: started when none listens, anew when it ends, and left alone where somebody else runs one."""

import asyncio
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.clock import SystemClock
from gateway.services import local_agent
from gateway.services.local_agent import LocalAgent

LISTENS = """
import asyncio, sys
async def main():
    async with await asyncio.start_unix_server(lambda reader, writer: writer.close(), sys.argv[1]) as server:
        await server.serve_forever()
asyncio.run(main())
"""


@pytest.fixture
def socket() -> Iterator[Path]:
    # Short: a socket's path may be no longer than about a hundred characters.
    with tempfile.TemporaryDirectory(prefix="gg-") as folder:
        yield Path(folder) / "agent.sock"


def agent(socket: Path, *command: str, speed: float = 1.0) -> LocalAgent:
    async def ready() -> bool:
        return True

    return LocalAgent(command=command, socket=socket, clock=SystemClock(speed), ready=ready)


def count(lines: Sequence[Mapping[str, object]], event: str) -> int:
    return sum(line["event"] == event for line in lines)


async def test_it_is_started_ended_and_started_anew(socket: Path) -> None:
    keeper = agent(socket, sys.executable, "-c", LISTENS, str(socket), speed=10.0)
    with capture_logs() as lines:
        await keeper.ensure()
        assert await keeper._answers()
        stop = asyncio.Event()
        run = asyncio.create_task(keeper.run(stop))
        assert keeper._process is not None
        keeper._process.kill()
        await keeper._process.wait()
        await asyncio.sleep(0.2)
        stop.set()
        await run
        await keeper.end()
    assert [line["event"] for line in lines] == ["agent_started", "agent_ended", "agent_started"]
    assert keeper._process.returncode is not None
    await keeper.end()


async def test_one_that_is_there_already_is_used_as_it_is(socket: Path) -> None:
    async with await asyncio.start_unix_server(lambda _, writer: writer.close(), socket):
        keeper = agent(socket, "/nowhere/agent")
        with capture_logs() as lines:
            await keeper.ensure()
    assert lines == []


async def test_one_that_cannot_be_started_is_tried_again_at_growing_intervals(
    socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_agent, "START_DEADLINE_S", 0.1)
    keeper = agent(socket, "/nowhere/agent", speed=100.0)
    with capture_logs() as lines:
        await keeper.ensure()
        stop = asyncio.Event()
        run = asyncio.create_task(keeper.run(stop))
        await asyncio.sleep(0.35)
        stop.set()
        await run
    assert 3 < count(lines, "agent_not_started") < 9, "over 35 s: at 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5"


async def test_one_that_ends_at_once_each_time_is_not_started_every_second(socket: Path) -> None:
    keeper = agent(socket, sys.executable, "-c", "", speed=100.0)
    with capture_logs() as lines:
        stop = asyncio.Event()
        run = asyncio.create_task(keeper.run(stop))
        await asyncio.sleep(0.9)
        stop.set()
        await run
    assert count(lines, "agent_started") < 12
    await keeper.end()
