"""Whose devices are whose, and who is there."""

import pytest

from hardware.device import CapRange, CapResult, DeviceView, Fault, Outcome
from hardware.errors import Condition
from hardware.roll import Roll
from hardware.wire import Described

AWAY = Fault(condition=Condition.SILENT, detail="gone", cure="start it")


def device(device_id: str, limit_w: float = 400.0) -> DeviceView:
    cap_range = CapRange(min_w=100.0, default_w=400.0, max_w=400.0)
    return DeviceView(device_id=device_id, host_id="h", model="m", cap_range=cap_range, limit_w=limit_w)


def said(*device_ids: str, epoch: int = 0) -> Described:
    return Described(host_id="h", highest_epoch=epoch, devices=tuple(device(one) for one in device_ids))


@pytest.fixture
def roll() -> Roll[str]:
    made: Roll[str] = Roll()
    made.hear("a", said("a0", "a1", epoch=3))
    made.hear("b", said("b0", epoch=5))
    return made


def test_devices_keep_their_places(roll):
    roll.hear("a", said("a0", "a2"))
    assert list(roll.devices) == ["a0", "b0", "a2"]
    assert roll.owner_of_device("a1") is None
    assert roll.highest_epoch == 5


def test_no_agent_takes_another_ones_device(roll):
    roll.hear("b", said("b0", "a0"))
    assert roll.owner_of_device("a0") == "a"
    roll.forget("b")
    assert list(roll.devices) == ["a0", "a1"]


def test_device_that_moved_is_the_other_ones_once_the_first_has_let_it_go(roll):
    roll.hear("b", said("b0", "a0"))
    roll.hear("a", said("a1"))
    roll.hear("b", said("b0", "a0"))
    assert roll.owner_of_device("a0") == "b"


def test_agent_that_left_is_absent_until_it_is_heard(roll):
    roll.leave("a", AWAY)
    assert [roll.devices[key].present for key in ("a0", "a1", "b0")] == [False, False, True]
    assert roll.devices["a0"].fault == AWAY
    assert not roll.is_present("a")
    roll.note_limit(CapResult(device_id="a0", requested_w=200.0, applied_w=200.0, outcome=Outcome.APPLIED))
    assert not roll.devices["a0"].present, "an answer that was under way says nothing of now"
    roll.leave("b", AWAY)
    assert not roll.any_present
    roll.hear("a", said("a0", "a1"))
    assert roll.devices["a0"].present
    assert roll.devices["a0"].fault is None


def test_unknown_agent_leaves_nothing(roll):
    roll.leave("nobody", AWAY)
    roll.forget("nobody")
    assert all(view.present for view in roll.devices.values())
