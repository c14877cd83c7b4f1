"""What the keeper lets its worker do; the two as processes are in tests/integration/test_keeper.py."""

import asyncio
import math
import socket
from types import SimpleNamespace

import pytest

from hardware.agent import Drivers
from hardware.errors import HardwareError, JournalTaken, JournalUnreadable, WriteRefused
from hardware.journal import Journal, PriorLimit
from hardware.keeper import Keeper, take_host
from hardware.lanes import Serial
from hardware.limit_terms import Ceilings, RestoreRamp
from hardware.socket_door import BoundSocket

HANDED_OVER = SimpleNamespace(handed_over=True)


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
    fault = await keeper._put_back(HANDED_OVER, device_id, limit_w)
    assert isinstance(fault, WriteRefused)
    assert says in str(fault)
    assert stand.limit_w() == 200.0


async def test_limits_asked_for_at_once_go_back_together(keeper, stand):
    answers = await asyncio.gather(
        keeper._put_back(HANDED_OVER, "h00-d0", 350.0),
        keeper._put_back(HANDED_OVER, "h00-d1", 300.0),
        keeper._put_back(HANDED_OVER, "h00-d2", 300.0),
    )
    assert answers[:2] == [None, None]
    assert isinstance(answers[2], WriteRefused)
    assert [stand.limit_w(0), stand.limit_w(1)] == [350.0, 300.0]


async def test_a_worker_that_was_given_nothing_may_do_nothing(keeper, stand):
    stranger = SimpleNamespace(handed_over=False)
    assert isinstance(await keeper._put_back(stranger, "h00-d0", 300.0), WriteRefused)
    assert isinstance(keeper._commit(stranger, {"limits": {}}), JournalUnreadable)
    assert stand.limit_w() == 200.0
    assert len(keeper._journal.state.limits) == 2


async def test_the_limit_found_does_not_change_while_it_stands_in_the_journal(keeper):
    fault = keeper._commit(HANDED_OVER, {"limits": {"h00-d0": [700.0, 200.0, 380.0, False]}})
    assert isinstance(fault, JournalUnreadable)
    assert keeper._journal.state.limits["h00-d0"].found_w == 380.0
    assert keeper._commit(HANDED_OVER, {"limits": {"h00-d0": [380.0, 250.0, 200.0, True]}, "epoch": 4}) is None
    assert keeper._journal.state.limits == {"h00-d0": PriorLimit(380.0, 250.0, 200.0, hold=True)}
    assert keeper._journal.state.epoch == 4


@pytest.mark.parametrize("limits", [{"h00-d0": ["x"]}, {"h00-d0": None}, [1]])
async def test_a_commit_that_is_none_is_refused(keeper, limits):
    assert isinstance(keeper._commit(HANDED_OVER, {"limits": limits}), JournalUnreadable)
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
    monkeypatch.setattr("hardware.keeper.SERVED_S", 0.1)
    other = Journal(tmp_path / "journal")
    other.open()
    served = BoundSocket(tmp_path / "agent.sock")
    with pytest.raises(JournalTaken, match="in use"):
        await take_host(Journal(tmp_path / "journal"), tmp_path / "agent.sock")
    other.close()
    with pytest.raises(HardwareError, match="in use"):
        await take_host(Journal(tmp_path / "journal"), tmp_path / "agent.sock")
    served.close()
