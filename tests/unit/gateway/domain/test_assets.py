"""Hosts and devices put together from what agents tell."""

import dataclasses
from typing import Any

from gateway.domain.assets import DeviceState, assets_of, fault_of, plainly, state_of
from hardware.device import CapRange, DeviceView, Fault
from hardware.errors import CURES, Condition, WriteRefused
from hardware.job import JobView

FAULT = Fault.of(
    WriteRefused("cannot set the limit", device_id="g0", condition=Condition.NO_PERMISSION, cure="be root")
)


def view(device_id: str, **changes: Any) -> DeviceView:
    values: dict[str, Any] = {
        "device_id": device_id,
        "host_id": "node-1",
        "model": "H100",
        "cap_range": CapRange(min_w=200.0, default_w=700.0, max_w=700.0),
        "limit_w": 700.0,
        **changes,
    }
    return DeviceView(**values)


def job(job_id: str, *device_ids: str) -> JobView:
    return JobView(job_id=job_id, device_ids=device_ids, tier="flex1", weight=1.0, min_throughput=0.9, curve=())


def test_the_worst_of_several_things_is_the_state() -> None:
    assert state_of(view("a")) is DeviceState.FREE
    assert state_of(view("a", limit_w=699.6)) is DeviceState.FREE, "drivers round"
    assert state_of(view("a", limit_w=300.0)) is DeviceState.CAPPED
    assert state_of(view("a", limit_w=300.0, fault=FAULT)) is DeviceState.FAULT
    assert state_of(view("a", limit_w=300.0, fault=FAULT, present=False)) is DeviceState.ABSENT


def test_an_absent_device_has_a_fault_with_a_cure_even_where_its_host_names_none() -> None:
    assert fault_of(view("a")) is None
    found = fault_of(view("a", present=False))
    assert found is not None
    assert (found.condition, found.cure) == (Condition.LOST, CURES[Condition.LOST])


def test_a_fault_says_its_cure_once_and_its_device_not_at_all() -> None:
    assert str(WriteRefused("x", device_id="g0", cure="be root")) == "g0: x; be root"
    assert fault_of(view("g0", fault=FAULT)) == Fault(
        condition=Condition.NO_PERMISSION, detail="cannot set the limit", cure="be root"
    )


def test_a_fault_without_a_cure_gets_the_usual_one() -> None:
    for condition in Condition:
        assert plainly(Fault(condition=condition, detail="x")) == Fault(
            condition=condition, detail="x", cure=CURES[condition]
        )


def test_hosts_count_their_devices_and_sum_what_is_known() -> None:
    found = assets_of(
        [
            view("g3", host_id="node-2", present=False),
            view("g2", host_id="node-2"),
            view("g1", slot=0, limit_w=300.0),
            view("g0", slot=1, fault=FAULT),
        ],
        [],
        {"g0": 650.0, "g1": 290.0, "site": 5000.0},
    )
    assert [device.device_id for device in found.devices] == ["g1", "g0", "g2", "g3"], "in order of slot, then id"
    one, two = found.hosts
    assert (one.devices, one.free, one.capped, one.fault, one.absent, one.power_w) == (2, 0, 1, 1, 0, 940.0)
    assert one.limit_w == 1000.0
    assert (two.devices, two.free, two.absent) == (2, 1, 1)
    assert two.power_w is None, "a sum without a device that is there would be too small"
    assert two.limit_w == 700.0


def test_jobs_are_found_on_devices_by_id_and_by_slot() -> None:
    found = assets_of(
        [view("g0", slot=0), view("g1", slot=1), dataclasses.replace(view("g2"), host_id="node-2")],
        [job("b", "node-1/1", "g2"), job("a", "node-1/0", "node-1/1"), job("elsewhere", "node-9/0")],
        {},
    )
    assert [device.jobs for device in found.devices] == [("a",), ("a", "b"), ("b",)]
    assert [host.jobs for host in found.hosts] == [("a", "b"), ("b",)]
    assert found.jobs[-1].devices == ("node-9/0",), "a device that nobody knows stays as the scheduler named it"
