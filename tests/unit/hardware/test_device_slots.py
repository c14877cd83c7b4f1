"""Devices that a scheduler knows by host and slot."""

from hardware.device import CapRange, DeviceView
from hardware.job import JobView
from hardware.roll import Roll, with_device_ids
from hardware.wire import Described


def device(device_id, host_id, slot):
    cap_range = CapRange(min_w=100.0, default_w=400.0, max_w=400.0)
    return DeviceView(device_id=device_id, host_id=host_id, model="m", cap_range=cap_range, limit_w=400.0, slot=slot)


def job(*device_ids):
    return JobView(job_id="17", device_ids=device_ids, tier="flex3", weight=1.0, min_throughput=0.5, curve=())


DEVICES = (device("GPU-a", "n01.lab", 0), device("GPU-b", "n02.lab", 0), device("GPU-c", "n02.lab", 1))


def test_host_and_slot_become_the_id():
    (found,) = with_device_ids([job("n02/1", "n01.lab/0", "GPU-b")], DEVICES)
    assert found.device_ids == ("GPU-c", "GPU-a", "GPU-b")


def test_short_and_whole_names_of_a_host_are_the_same():
    (found,) = with_device_ids([job("n01.other-domain/0")], DEVICES)
    assert found.device_ids == ("GPU-a",)


def test_what_no_host_told_of_stays_and_is_found_when_one_does():
    roll = Roll()
    scheduler = Described(host_id="head", highest_epoch=0, devices=(), jobs=(job("n02/1"),))
    roll.hear(0, scheduler)
    assert roll.jobs["17"].device_ids == ("n02/1",)
    roll.hear(1, Described(host_id="n02", highest_epoch=0, devices=DEVICES))
    roll.hear(0, scheduler)
    assert roll.jobs["17"].device_ids == ("GPU-c",)
