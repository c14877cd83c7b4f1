"""The agent on its socket, in the test's own loop: clients good and bad, drivers that hang, gateways that die."""

import asyncio
import contextlib
import socket
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hardware import agent_process, socket_door
from hardware.agent import Agent
from hardware.agent_links import SocketLink
from hardware.agent_process import Desk, serve
from hardware.device import Outcome
from hardware.errors import AgentUnreachable, HardwareError
from hardware.job import Asker, JobState
from hardware.socket_door import BoundSocket, SocketDoor
from hardware.wire import MAX_LINE_BYTES, Act, Apply, Describe, Failed, Read, decode_reply, encode_request


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.socket"


async def run_agent(agent, path, stop):
    """What a worker is, without its keeper."""
    bound = BoundSocket(path)
    desk = Desk(agent)
    try:
        await serve(desk, [SocketDoor(bound.listener, now_s=agent.now_s)], stop)
        await desk.restore_all()
        if desk.bug() is not None:
            raise desk.bug()
    finally:
        desk.close()
        bound.close()


@contextlib.asynccontextmanager
async def serving(agent, path):
    stop = asyncio.Event()
    task = asyncio.create_task(run_agent(agent, path, stop))
    while not task.done() and not await answers(path):  # noqa: ASYNC110 - a socket file sets no event
        await asyncio.sleep(0.005)
    try:
        yield task
    finally:
        stop.set()
        await task


async def answers(path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@contextlib.asynccontextmanager
async def linked(path, **more):
    link = SocketLink(path, **more)
    try:
        yield link
    finally:
        await link.close()


async def raw(path, sent: bytes) -> bytes:
    """What comes back for these bytes, up to the first line."""
    reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE_BYTES)
    try:
        writer.write(sent)
        return await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def until(true, within_s=1.5):
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - what it waits for sets no event
            await asyncio.sleep(0.01)


async def test_serves_and_puts_everything_back_at_the_end(stand, path):
    async with serving(stand.agent(), path), linked(path) as link:
        reply = await link.request(Apply(commands=(stand.cap(250.0),)))
        assert reply.results[0].applied_w == 250.0
        assert len((await link.request(Read())).readings) == 5
        assert stand.limit_w() == 250.0
    assert stand.limit_w() == 400.0
    assert not path.exists()


async def test_lease_ends_without_any_request(stand, path):
    async with serving(stand.agent(), path):
        async with linked(path) as link:
            await link.request(Apply(commands=(stand.cap(250.0, duration_s=10.0),)))
        stand.now_s += 10.0
        await until(lambda: stand.limit_w() == 400.0)


async def test_only_this_user_reaches_it(stand, path):
    async with serving(stand.agent(), path):
        assert path.stat().st_mode & 0o777 == 0o600


async def test_several_clients_at_once(stand, path):
    async with serving(stand.agent(), path):
        links = [SocketLink(path) for _ in range(5)]
        replies = await asyncio.gather(*(link.request(Describe()) for link in links for _ in range(3)))
        assert {reply.host_id for reply in replies} == {"h00"}
        await asyncio.gather(*(link.close() for link in links))


async def test_malformed_line_is_answered_and_the_connection_goes_on(stand, path):
    async with serving(stand.agent(), path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"{}\n")
        reply = decode_reply(await reader.readline())
        assert isinstance(reply, Failed)
        assert reply.error == "WireError"
        writer.write(encode_request(Describe()))
        assert decode_reply(await reader.readline()).host_id == "h00"
        writer.close()
        await writer.wait_closed()


async def test_line_without_an_end_is_cut_off(stand, path):
    async with serving(stand.agent(), path), linked(path) as link:
        reply = decode_reply(await raw(path, b"x" * (MAX_LINE_BYTES + 100_000)))
        assert reply.error == "WireError"
        assert (await link.request(Describe())).host_id == "h00"


async def test_client_that_leaves_in_the_middle_harms_nobody(stand, path):
    async with serving(stand.agent(), path), linked(path) as link:
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(encode_request(Read())[:20])
        writer.close()
        await writer.wait_closed()
        assert (await link.request(Describe())).host_id == "h00"


async def test_too_many_clients_are_turned_away(stand, path, monkeypatch):
    monkeypatch.setattr(socket_door, "MOST_CLIENTS", 1)
    async with serving(stand.agent(), path), linked(path) as first, linked(path, timeout_s=0.5) as second:
        # The probe that waited for the socket may be on its way out still.
        await asyncio.sleep(0.05)
        assert (await first.request(Describe())).host_id == "h00"
        with pytest.raises(AgentUnreachable):
            await second.request(Describe())


async def test_driver_that_hangs_stops_neither_the_loop_nor_the_client(stand, path, monkeypatch):
    hung = threading.Event()
    monkeypatch.setattr(stand.fleet, "readings", lambda: hung.wait(10.0) and ())
    async with serving(stand.agent(), path), linked(path, timeout_s=0.2) as link:
        with pytest.raises(AgentUnreachable, match=r"0\.2 s"):
            await link.request(Read())
        assert decode_reply(await raw(path, b"{}\n")).error == "WireError"
        hung.set()
        assert (await link.request(Describe())).host_id == "h00", "and no late answer is taken for this one"


async def test_driver_that_hangs_at_the_stop_is_told(stand, path, monkeypatch):
    monkeypatch.setattr(agent_process, "STOP_S", 0.2)
    hung, hangs = threading.Event(), threading.Event()
    write = stand.fleet.set_limit_w
    monkeypatch.setattr(
        stand.fleet, "set_limit_w", lambda *change: hung.wait(10.0) if hangs.is_set() else write(*change)
    )
    agent = stand.agent()
    with pytest.raises(HardwareError, match="journal"):  # noqa: PT012 - it comes from the end of the block
        async with serving(agent, path):
            async with linked(path) as link:
                await link.request(Apply(commands=(stand.cap(250.0),)))
            hangs.set()
    hung.set()
    monkeypatch.undo()
    again = stand.agent()
    again.recover()
    assert stand.limit_w() == 400.0


async def test_bug_in_a_driver_ends_the_process_after_putting_back(stand, path, monkeypatch):
    def bug():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - it comes from the end of the block
        async with serving(stand.agent(), path) as task, linked(path) as link:
            await link.request(Apply(commands=(stand.cap(250.0),)))
            monkeypatch.setattr(stand.fleet, "readings", bug)
            with pytest.raises(AgentUnreachable):
                await link.request(Read())
            await asyncio.wait([task], timeout=1.5)
    assert stand.limit_w() == 400.0


async def test_socket_left_by_a_killed_agent_is_replaced(stand, path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with serving(stand.agent(), path), linked(path) as link:
        assert (await link.request(Describe())).host_id == "h00"


async def test_socket_of_a_living_agent_is_not_touched(stand, path):
    async with serving(stand.agent(), path):
        with pytest.raises(HardwareError, match="in use"):
            await run_agent(Agent(host_id="h01", devices=stand.fleet), path, asyncio.Event())
        assert await answers(path)


async def test_agent_that_still_recovers_is_not_taken_for_dead(stand, path, monkeypatch):
    stand.agent().handle(Apply(commands=(stand.cap(250.0),)))
    hung = threading.Event()
    write = stand.fleet.set_limit_w
    monkeypatch.setattr(stand.fleet, "set_limit_w", lambda *change: hung.wait(10.0) and write(*change))
    stop = asyncio.Event()
    first = asyncio.create_task(run_agent(stand.agent(), path, stop))
    await until(path.is_socket)
    with pytest.raises(HardwareError, match="in use"):
        await run_agent(Agent(host_id="h01", devices=stand.fleet), path, asyncio.Event())
    hung.set()
    async with linked(path) as link:
        assert (await link.request(Describe())).devices[0].limit_w == 400.0
    stop.set()
    await first


async def test_file_that_is_no_socket_is_not_removed(stand, path):
    path.write_text("somebody's")
    with pytest.raises(HardwareError, match="cannot serve"):
        await run_agent(stand.agent(), path, asyncio.Event())
    assert path.read_text() == "somebody's"


async def test_path_that_is_too_long_is_told(stand, tmp_path):
    with pytest.raises(HardwareError, match="cannot serve"):
        await run_agent(stand.agent(), tmp_path / ("x" * 120), asyncio.Event())


async def test_link_reconnects_to_an_agent_started_anew(stand, path):
    async with linked(path) as link:
        async with serving(stand.agent(), path):
            await link.request(Describe())
        with pytest.raises(AgentUnreachable):
            await link.request(Describe())
        async with serving(stand.agent(), path):
            assert (await link.request(Describe())).host_id == "h00"
        async with serving(stand.agent(), path):
            assert (await link.request(Describe())).host_id == "h00", "at once, without a failure between"


async def test_deadline_covers_the_wait_for_ones_turn(stand, path, monkeypatch):
    hung = threading.Event()
    monkeypatch.setattr(stand.fleet, "readings", lambda: hung.wait(10.0) and ())
    async with serving(stand.agent(), path), linked(path, timeout_s=0.3) as link:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        replies = await asyncio.gather(*(link.request(Read()) for _ in range(4)), return_exceptions=True)
        hung.set()
        assert all(isinstance(reply, AgentUnreachable) for reply in replies)
        assert loop.time() - began_s < 0.6


async def test_journal_is_followed_before_anybody_is_served(stand, path):
    stand.agent().handle(Apply(commands=(stand.cap(250.0),)))
    async with serving(stand.agent(), path):
        assert stand.limit_w() == 400.0


async def test_requests_beyond_the_bound_are_turned_away_at_once(stand, path, monkeypatch):
    monkeypatch.setattr(agent_process, "MOST_WAITING", 2)
    hung = threading.Event()
    monkeypatch.setattr(stand.fleet, "readings", lambda: hung.wait(10.0) and ())
    desk = Desk(stand.agent())
    waiting = [asyncio.ensure_future(desk.answer(encode_request(Read()), 0.0)) for _ in range(2)]
    await asyncio.sleep(0)
    refused = decode_reply(await desk.answer(encode_request(Describe()), 0.0))
    assert isinstance(refused, Failed)
    assert "busy: 2 requests wait" in refused.detail
    hung.set()
    assert not any(isinstance(decode_reply(line), Failed) for line in await asyncio.gather(*waiting))
    assert decode_reply(await desk.answer(encode_request(Describe()), 0.0)).host_id == "h00"
    desk.close()


async def test_a_scheduler_that_does_not_answer_holds_up_no_cap(stand, monkeypatch):
    monkeypatch.setattr(agent_process, "JOBS_S", 0.1)
    hung = threading.Event()
    scheduler = SimpleNamespace(jobs=lambda: hung.wait(10.0) and ())
    agent = Agent(host_id="h00", devices=stand.fleet, jobs=scheduler, one_thread=False, boot_s=lambda: stand.now_s)
    desk = Desk(agent)
    described = decode_reply(await desk.answer(encode_request(Describe()), stand.now_s))
    assert (len(described.devices), described.jobs) == (4, ())
    capping = Apply(commands=(stand.cap(250.0),))
    applied = decode_reply(await desk.answer(encode_request(capping), stand.now_s), to=capping)
    assert applied.results[0].applied_w == 250.0
    hung.set()
    desk.close()


async def test_slow_scheduler_holds_up_no_cap_and_what_it_did_is_told_when_asked_again(stand, path, monkeypatch):
    monkeypatch.setattr(agent_process, "ACT_S", 0.05)
    may_go_on, pause, paused = threading.Event(), stand.fleet.pause, []

    def waits(job_id):
        paused.append(job_id)
        may_go_on.wait()
        pause(job_id)

    monkeypatch.setattr(stand.fleet, "pause", waits)
    agent = stand.agent()
    agent.one_thread = False
    async with serving(agent, path), linked(path) as link:
        try:
            (result,) = (await link.request(Act(actions=(stand.pause(),)))).results
            assert (result.outcome, result.state) == (Outcome.TIMED_OUT, None)
            assert "ask again" in result.detail
            asked = asyncio.create_task(link.request(Act(actions=(stand.pause(),))))
            reply = await link.request(Apply(commands=(stand.cap(250.0),)))
            assert reply.results[0].applied_w == 250.0
            assert (await asked).results[0].outcome is Outcome.TIMED_OUT
        finally:
            may_go_on.set()
        await until(lambda: stand.state() == "paused")
        monkeypatch.setattr(agent_process, "ACT_S", 1.5)
        (result,) = (await link.request(Act(actions=(stand.pause(),)))).results
        assert (result.outcome, result.state) == (Outcome.APPLIED, JobState.PAUSED)
        assert paused == ["train"]


async def test_person_waits_for_a_job_to_the_end(stand, path, monkeypatch):
    monkeypatch.setattr(agent_process, "ACT_S", 0.05)
    may_go_on, pause = threading.Event(), stand.fleet.pause

    def waits(job_id):
        may_go_on.wait()
        pause(job_id)

    monkeypatch.setattr(stand.fleet, "pause", waits)
    agent = stand.agent()
    agent.one_thread = False
    async with serving(agent, path), linked(path) as link:
        asyncio.get_running_loop().call_later(0.2, may_go_on.set)
        action = replace(stand.pause(), asker=Asker.OPERATOR)
        (result,) = (await link.request(Act(actions=(action,)))).results
        assert (result.outcome, result.state) == (Outcome.APPLIED, JobState.PAUSED)
