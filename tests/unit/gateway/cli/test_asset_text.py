"""Tables of assets: readable at 80 columns, whatever the ids are like."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gateway.cli.asset_text import WIDTH, device_in_words, host_in_words, listing, short_names, table
from gateway.domain.assets import Assets, assets_of
from hardware.device import CapRange, DeviceView, Fault
from hardware.errors import Condition
from hardware.job import JobView

CURE = "run the agent as root or with CAP_SYS_ADMIN; in a container add the capability (--cap-add SYS_ADMIN)"


def uuid(number: int) -> str:
    return f"GPU-{number:08x}-aaaa-bbbb-cccc-000000000000"


def fleet(devices: int = 8, **changes: Any) -> Assets:
    views = [
        DeviceView(
            **{
                "device_id": uuid(number * 0x01010101),
                "host_id": "gpu-node-with-a-long-name.cluster.example",
                "model": "NVIDIA H100 80GB HBM3 with a very long name indeed",
                "cap_range": CapRange(min_w=200.0, default_w=700.0, max_w=700.0),
                "limit_w": 700.0,
                "slot": number,
                **changes,
            }
        )
        for number in range(devices)
    ]
    ids = tuple(view.device_id for view in views)
    job = JobView(
        job_id="a-job-with-a-name-that-goes-on-and-on",
        device_ids=ids,
        tier="flex1",
        weight=1,
        min_throughput=1,
        curve=(),
    )
    return assets_of(views, [job], {})


def test_no_line_is_wider_than_a_terminal() -> None:
    fault = Fault(condition=Condition.NO_PERMISSION, detail="cannot set the power limit to 300 W " * 4, cure=CURE)
    for assets in (fleet(), fleet(limit_w=300.0, fault=fault)):
        for text in (listing(assets), host_in_words(assets.hosts[0], assets)):
            assert max(map(len, text.splitlines())) <= WIDTH
        assert max(map(len, device_in_words(assets.devices[0], assets.jobs).splitlines())) <= WIDTH


def test_a_job_says_by_when_it_must_be_done() -> None:
    assets = fleet()
    job = replace(assets.jobs[0], deadline_at=datetime(2026, 12, 1, 8, tzinfo=UTC), remaining_s=7200.0)
    assets = replace(assets, jobs=(job,))
    for text in (device_in_words(assets.devices[0], assets.jobs), host_in_words(assets.hosts[0], assets)):
        assert "deadline 2026-12-01 08:00:00Z, 2 h of work left at most" in " ".join(text.split())
        assert max(map(len, text.splitlines())) <= WIDTH


def test_what_holds_the_clocks_down_is_told_of_one_device() -> None:
    slowed = fleet(slowed_by=("power limit", "too hot (hardware)"))
    assert "clocks held down by power limit, too hot (hardware)" in device_in_words(slowed.devices[0], slowed.jobs)
    assert "clocks" not in device_in_words(fleet().devices[0], slowed.jobs)


def test_what_is_wrong_in_the_same_way_is_told_once_with_its_cure() -> None:
    fault = Fault(condition=Condition.NO_PERMISSION, detail="cannot set the power limit", cure=CURE)
    text = " ".join(listing(fleet(fault=fault)).split())
    assert text.count("no permission: cannot set the power limit") == 1
    assert "and 5 more" in text
    assert CURE in text
    assert "8 devices on 1 host: 8 fault" in text


def test_a_fleet_without_devices_says_so() -> None:
    assert "has found none" in listing(Assets(hosts=(), devices=(), jobs=()))


def test_long_ids_are_shown_by_a_beginning_that_tells_them_apart() -> None:
    names = short_names([uuid(0x11111111), uuid(0x11111112)])
    assert names == {uuid(0x11111111): "GPU-11111111..", uuid(0x11111112): "GPU-11111112.."}
    assert short_names(["h00-d0", "h00-d1"]) == {"h00-d0": "h00-d0", "h00-d1": "h00-d1"}
    alike = [f"{'x' * 60}{number}" for number in range(2)]
    assert short_names(alike) == {one: one for one in alike}, "told apart at their end only: shown whole"


def test_a_table_has_columns_as_wide_as_their_widest_cell() -> None:
    assert table([["A", "B"], ["long", "7"]], indent=1, right={1}) == [" A     B", " long  7"]
