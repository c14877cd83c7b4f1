"""A running gateway begins anew above the epoch of a host that comes late, and never outbids one that is alive."""

import pytest

from gateway.services.actuator import Actuator
from gateway.services.epochs import Epochs
from hardware.device import CapCommand, Lease, Outcome
from hardware.wire import Applied, Apply
from tests.unit.gateway.services.rig import LEASE_S, Rig

CAPS_W = {"h00-d0": 250.0}


def commander(rig: Rig, epoch: int) -> Actuator:
    rig.fleet.begin(epoch)
    return Actuator(
        fleet=rig.fleet,
        ledger=rig.ledger,
        clock=rig.clock,
        epoch=epoch,
        lease_s=LEASE_S,
        epochs=Epochs(rig.fleet, rig.ledger),
    )


async def somebody_caps(rig: Rig, epoch: int) -> None:
    """A command of another life, straight to the agent."""
    lease = Lease(epoch=epoch, sequence=1, duration_s=LEASE_S)
    reply = await rig.link.request(Apply(commands=(CapCommand(device_id="h00-d1", cap_w=300.0, lease=lease),)))
    assert isinstance(reply, Applied)
    assert reply.results[0].outcome is Outcome.APPLIED


@pytest.mark.parametrize("step", ["hold", "release"])
async def test_host_that_comes_late_from_before_a_backup_obeys_at_once(rig: Rig, step: str) -> None:
    actuator = commander(rig, await rig.ledger.begin_epoch())
    await somebody_caps(rig, 42)
    await rig.fleet.refresh()
    said = await (actuator.hold(CAPS_W, ()) if step == "hold" else actuator.release())
    assert said is None
    await actuator.hold(CAPS_W, ())
    assert rig.link.commands[-1].lease.epoch == 43
    assert await rig.ledger.begin_epoch() == 44, "it is durable"


async def test_gateway_that_began_later_wins_and_the_other_says_so(rig: Rig) -> None:
    actuator = commander(rig, await rig.ledger.begin_epoch())
    await rig.fleet.refresh()
    await actuator.hold(CAPS_W, ())
    assert actuator.outbid is None
    await somebody_caps(rig, 42)
    await rig.fleet.refresh()
    for _ in range(3):
        said = await actuator.hold({"h00-d0": 240.0}, ())
        assert said is not None
        assert "epoch 42 has spoken" in said
    assert actuator.outbid is not None
    assert "end one of the two" in actuator.outbid


async def test_ledger_that_is_away_does_not_hold_up_the_others(rig: Rig) -> None:
    actuator = commander(rig, await rig.ledger.begin_epoch())
    await somebody_caps(rig, 42)
    await rig.fleet.refresh()
    rig.database.locked = True
    said = await actuator.hold(CAPS_W, ())
    assert said is not None
    assert "epoch 42 has spoken" in said
    rig.database.locked = False
    assert await actuator.hold(CAPS_W, ()) is None
