"""What the keeper lets its worker do; the two as processes are in tests/integration/test_keeper.py."""

import asyncio
import math
import socket
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hardware.agent import Drivers
from hardware.errors import CallHangs, HardwareError, JournalTaken, JournalUnreadable, WriteRefused
from hardware.host_taking import take_host
from hardware.journal import Journal, PriorLimit
from hardware.keeper import Keeper
from hardware.lanes import Serial
from hardware.limit_terms import Ceilings, RestoreRamp
from hardware.socket_door import BoundSocket, is_served
from hardware.worker_process import START_S, WorkerProcess

HANDED_OVER = SimpleNamespace(handed_over=True)


class Unmoved:
    """A process that was killed, and that the system does not let end: it is in a call to a driver."""

    pid = 4711
    returncode = None


def worker(process=None):
    made = WorkerProcess(process, None, SimpleNamespace(is_closing=lambda: True, close=lambda: None))
    made.process = process
    return made


class Hanging:
    """Lanes of which one hangs."""

    def __init__(self, hung):
        self._hung = hung

    def each(self, keys, call):
        asked = Serial().each([key for key in keys if key != self._hung], call)
        return {key: asked.get(key) or CallHangs("it hangs", device_id=key) for key in keys}

    def hung(self):
        return {self._hung: 1.0}


@pytest.fixture
async def keeper(stand, tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.open()
    journal.commit(limits={"h00-d0": PriorLimit(380.0, 200.0, 380.0), "h00-d1": PriorLimit(300.0, 200.0, 300.0)})
    stand.fleet.set_limit_w("h00-d0", 200.0)
    with socket.socket(socket.AF_UNIX) as listener:
        made = Keeper(
            host_id="h00",
            journal=journal,
            listener=listener,
            command=["false"],
            open_drivers=lambda: None,
            boot_s=lambda: stand.now_s,
            ceilings=Ceilings(default_w=350.0),
            ramp=RestoreRamp(),
        )
        made._drivers = Drivers(
            devices=stand.fleet, open_jobs=lambda: None, lanes=Serial(), one_thread=True, close=lambda: None
        )
        yield made
        for thread in made._threads():
            thread.close()
        journal.close()


@pytest.mark.parametrize(
    ("device_id", "limit_w", "says"),
    [
        ("h00-d0", 351.0, "over the 350 W"),
        ("h00-d1", 301.0, "over the 300 W"),
        ("h00-d0", math.nan, "over"),
        ("h00-d2", 200.0, "nothing of ours"),
    ],
)
async def test_no_limit_goes_back_over_the_one_found_or_the_ceiling(keeper, stand, device_id, limit_w, says):
    fault = await keeper._grants.put_back(HANDED_OVER, device_id, limit_w)
    assert isinstance(fault, WriteRefused)
    assert says in str(fault)
    assert stand.limit_w() == 200.0


async def test_limits_asked_for_at_once_go_back_together(keeper, stand):
    answers = await asyncio.gather(
        keeper._grants.put_back(HANDED_OVER, "h00-d0", 350.0),
        keeper._grants.put_back(HANDED_OVER, "h00-d1", 300.0),
        keeper._grants.put_back(HANDED_OVER, "h00-d2", 300.0),
    )
    assert answers[:2] == [None, None]
    assert isinstance(answers[2], WriteRefused)
    assert [stand.limit_w(0), stand.limit_w(1)] == [350.0, 300.0]


async def test_a_worker_that_was_given_nothing_may_do_nothing(keeper, stand):
    stranger = SimpleNamespace(handed_over=False)
    assert isinstance(await keeper._grants.put_back(stranger, "h00-d0", 300.0), WriteRefused)
    assert isinstance(keeper._grants._commit(stranger, {"limits": {}}), JournalUnreadable)
    assert stand.limit_w() == 200.0
    assert len(keeper._journal.state.limits) == 2


async def test_the_limit_found_does_not_change_while_it_stands_in_the_journal(keeper):
    fault = keeper._grants._commit(HANDED_OVER, {"limits": {"h00-d0": [700.0, 200.0, 380.0, False]}})
    assert isinstance(fault, JournalUnreadable)
    assert keeper._journal.state.limits["h00-d0"].found_w == 380.0
    assert keeper._grants._commit(HANDED_OVER, {"limits": {"h00-d0": [380.0, 250.0, 200.0, True]}, "epoch": 4}) is None
    assert keeper._journal.state.limits == {"h00-d0": PriorLimit(380.0, 250.0, 200.0, hold=True)}
    assert keeper._journal.state.epoch == 4


@pytest.mark.parametrize("limits", [{"h00-d0": ["x"]}, {"h00-d0": None}, [1]])
async def test_a_commit_that_is_none_is_refused(keeper, limits):
    assert isinstance(keeper._grants._commit(HANDED_OVER, {"limits": limits}), JournalUnreadable)
    assert len(keeper._journal.state.limits) == 2


async def test_the_journal_of_an_agent_that_dies_is_waited_for(tmp_path):
    orphan = Journal(tmp_path / "journal")
    orphan.open()
    asyncio.get_running_loop().call_later(0.3, orphan.close)
    journal = Journal(tmp_path / "journal")
    bound = await take_host(journal, tmp_path / "agent.sock")
    bound.close()
    journal.close()


async def test_an_agent_that_serves_is_not_waited_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr("hardware.host_taking.SERVED_S", 0.1)
    other = Journal(tmp_path / "journal")
    other.open()
    served = BoundSocket(tmp_path / "agent.sock")
    with pytest.raises(JournalTaken, match="in use"):
        await take_host(Journal(tmp_path / "journal"), tmp_path / "agent.sock")
    other.close()
    with pytest.raises(HardwareError, match="in use"):
        await take_host(Journal(tmp_path / "journal"), tmp_path / "agent.sock")
    served.close()


async def test_backlog_that_is_full_is_still_somebody_who_serves(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent.sock"))
        listener.listen(0)
        waiting = []
        try:
            while True:
                client = socket.socket(socket.AF_UNIX)
                waiting.append(client)
                client.setblocking(False)
                client.connect(str(tmp_path / "agent.sock"))
        except BlockingIOError:
            assert is_served(tmp_path / "agent.sock")
        finally:
            for client in waiting:
                client.close()


def renewed(keeper, **more):
    """What a worker commits: all that the journal has, and more."""
    return {"limits": {**{key: list(prior) for key, prior in keeper._journal.state.limits.items()}, **more}}


async def test_the_limit_found_is_not_for_the_worker_alone_to_say(keeper, stand):
    fault = await keeper._grants.commit(HANDED_OVER, renewed(keeper, **{"h00-d2": [399.0, 200.0, 399.0, False]}))
    assert isinstance(fault, JournalUnreadable)
    assert fault.device_id == "h00-d2"
    assert "reads 400 W, and its worker 399 W" in str(fault)
    assert "h00-d2" not in keeper._journal.state.limits
    good = renewed(keeper, **{"h00-d2": [400.0, 200.0, 400.0, False]})
    assert await keeper._grants.commit(HANDED_OVER, good) is None
    stand.fleet.set_limit_w("h00-d2", 200.0)
    assert await keeper._grants.commit(HANDED_OVER, good) is None, "only when it first comes"
    assert keeper._journal.state.limits["h00-d2"].found_w == 400.0


async def test_limit_found_that_the_keeper_cannot_read_is_not_taken(keeper):
    keeper._drivers = replace(keeper._drivers, lanes=Hanging("h00-d2"))
    fault = await keeper._grants.commit(HANDED_OVER, renewed(keeper, **{"h00-d2": [400.0, 200.0, 400.0, False]}))
    assert (fault.device_id, "cannot read the limit found" in str(fault)) == ("h00-d2", True)


@pytest.mark.parametrize("limits", [{"h00-d0": ["x"]}, {"h00-d0": None}, [1], 3])
async def test_limits_that_are_none_are_not_read(keeper, limits):
    assert isinstance(await keeper._grants.commit(HANDED_OVER, {"limits": limits}), JournalUnreadable)


async def test_commits_are_made_in_the_order_that_they_are_asked_in(keeper, stand, monkeypatch):
    read, go_on = threading.Event(), threading.Event()
    asked_w = stand.fleet.asked_w

    def slowly(device_id):
        read.set()
        go_on.wait(5.0)
        return asked_w(device_id)

    monkeypatch.setattr(stand.fleet, "asked_w", slowly)
    first = renewed(keeper, **{"h00-d2": [400.0, 200.0, 400.0, False]})
    second = {"limits": {**first["limits"], "h00-d0": [380.0, 180.0, 200.0, False]}}
    del second["limits"]["h00-d2"]
    both = asyncio.gather(keeper._grants.commit(HANDED_OVER, first), keeper._grants.commit(HANDED_OVER, second))
    await asyncio.to_thread(read.wait, 5.0)
    go_on.set()
    assert await both == [None, None]
    assert keeper._journal.state.limits["h00-d0"].written_w == 180.0, "and not what was asked before"


async def test_what_a_killed_worker_may_write_to_yet_is_not_forgotten(keeper, stand):
    dead = worker(Unmoved())
    dead.hung = {"h00-d0": 31.0}
    keeper._grants.lingering.append(dead)
    state = keeper._journal.state.limits
    fault = keeper._grants._commit(HANDED_OVER, {"limits": {"h00-d1": list(state["h00-d1"])}})
    assert (fault.device_id, "4711" in str(fault)) == ("h00-d0", True)
    assert keeper._grants._commit(HANDED_OVER, {"limits": {"h00-d0": list(state["h00-d0"])}}) is None, (
        "the other may go"
    )
    keeper._own.begin()
    keeper._own.acting.expire_limits()
    assert stand.limit_w() == 350.0
    assert "h00-d0" in keeper._journal.state.limits
    stand.fleet.set_limit_w("h00-d0", 200.0)
    keeper._own.acting.expire_limits()
    assert stand.limit_w() == 350.0, "it came, minutes after its lease"
    dead.process.returncode = -9
    keeper._own.acting.expire_limits()
    assert keeper._journal.state.limits == {}


async def test_worker_that_ends_while_it_is_handed_the_host_leaves_the_keeper_in_charge(keeper, stand, monkeypatch):
    keeper._own.begin()
    ending = worker()
    asked, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(keeper._own.acting, "expire_limits", lambda: (asked.set(), go_on.wait(5.0))[0])
    handing = asyncio.ensure_future(keeper._own.hand_over(ending))
    await asyncio.to_thread(asked.wait, 5.0)
    ending.ended = True
    go_on.set()
    assert isinstance(await handing, JournalUnreadable)
    assert keeper._own.acting is not None
    assert not keeper._own._turn.over
    assert not ending.handed_over


async def test_worker_that_beats_without_a_journal_is_not_taken_for_one_that_hangs():
    made = worker()
    now_s = made.started_s + START_S + 1.0
    assert made.why_hung(now_s) == "it does not begin"
    made.devices_s = made.jobs_s = now_s - 1.0
    assert made.why_hung(now_s) is None
    assert made.why_hung(now_s + 16.0) == "its devices stand still"


async def test_limit_goes_back_to_the_floor_where_the_ceiling_is_lower(keeper, stand):
    keeper._grants._ceilings = Ceilings(default_w=50.0)
    assert await keeper._grants.put_back(HANDED_OVER, "h00-d0", 100.0) is None
    assert stand.limit_w() == 100.0
    assert isinstance(await keeper._grants.put_back(HANDED_OVER, "h00-d0", 101.0), WriteRefused)
