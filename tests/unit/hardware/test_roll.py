"""Whose devices are whose, and who is there."""

import math
from dataclasses import replace

import pytest

from hardware.device import CapRange, CapResult, DeviceView, Fault, Outcome
from hardware.errors import Condition
from hardware.roll import MOST_DEVICES, Roll, believable
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


def test_epoch_that_an_agent_came_with_is_to_be_passed(roll):
    roll.begin(6)
    assert roll.epoch_to_pass is None
    roll.hear("c", said("c0", epoch=42))
    assert (roll.epoch_to_pass, roll.taken) == (42, {})
    roll.hear("c", said("c0", epoch=42))
    assert (roll.epoch_to_pass, roll.taken) == (42, {})
    roll.begin(43)
    assert roll.epoch_to_pass is None
    roll.hear("c", said("c0", epoch=43))
    assert (roll.epoch_to_pass, roll.taken) == (None, {})


def test_epoch_that_rises_under_our_eyes_is_another_gateways(roll):
    roll.begin(6)
    roll.hear("c", said("c0", epoch=42))
    roll.hear("a", said("a0", epoch=9))
    assert (roll.epoch_to_pass, roll.taken) == (None, {"a": 9}), "it is alive: we do not outbid it"
    roll.hear("a", said("a0", epoch=9))
    assert roll.taken == {"a": 9}
    roll.forget("a")
    assert (roll.epoch_to_pass, roll.taken) == (42, {})
    roll.hear("c", said("c0", epoch=44))
    assert (roll.epoch_to_pass, roll.taken) == (None, {"c": 44})


@pytest.mark.parametrize("epoch", [2**62 + 1, 2**63, 10**30])
def test_epoch_that_no_gateway_gets_to_is_not_believed(roll, epoch):
    roll.begin(6)
    roll.hear("c", said("c0", epoch=epoch))
    assert (roll.highest_epoch, roll.epoch_to_pass, roll.taken) == (5, None, {})


@pytest.mark.parametrize(
    "watts",
    [
        (500.0, 400.0, 300.0, 400.0),
        (-1.0, 400.0, 400.0, 400.0),
        (100.0, 400.0, 1e9, 400.0),
        (100.0, math.nan, 400.0, 400.0),
        (100.0, 400.0, 400.0, -5.0),
        (100.0, 400.0, 400.0, math.inf),
    ],
)
def test_device_whose_numbers_cannot_be_is_absent(watts):
    *limits, limit_w = watts
    cap_range = CapRange(min_w=limits[0], default_w=limits[1], max_w=limits[2])
    view = DeviceView(device_id="d", host_id="h", model="m", cap_range=cap_range, limit_w=limit_w)
    (found,) = believable("h", Described(host_id="h", highest_epoch=0, devices=(view,))).devices
    assert not found.present
    assert found.cap_range.max_w == found.limit_w == 0.0
    assert found.fault is not None
    assert "host h" in found.fault.cure


def test_agent_speaks_for_its_own_host_only():
    told = said("good", "x\x1b[2J", "line\nbreak", "y" * 201, "")
    found = believable("other", told)
    assert [(view.device_id, view.host_id, view.present) for view in found.devices] == [("good", "other", True)]
    assert len(believable("h", said(*(f"d{number}" for number in range(MOST_DEVICES + 5)))).devices) == MOST_DEVICES


def test_an_agent_of_an_earlier_gateway_is_absent_until_it_is_heard():
    roll: Roll[str] = Roll()
    roll.recall("a", [replace(device("a0"), present=False, fault=AWAY)])
    assert (roll.is_present("a"), roll.any_present, list(roll.known)) == (False, False, ["a"])
    assert roll.devices["a0"].fault == AWAY
    roll.hear("b", said("a0"))
    assert roll.owner_of_device("a0") == "a", "none takes it meanwhile"
    roll.hear("a", said("a0", "a1"))
    assert roll.is_present("a")
    assert roll.devices["a0"].present
    roll.forget("a")
    assert roll.devices == {}


def test_the_epoch_of_a_recalled_agent_is_no_sign_of_a_gateway_that_is_alive():
    roll: Roll[str] = Roll()
    roll.recall("a", [device("a0")])
    roll.begin(4)
    roll.hear("a", said("a0", epoch=9))
    assert (roll.epoch_to_pass, roll.taken) == (9, {})
