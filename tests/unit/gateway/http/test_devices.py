"""Hosts, devices, their faults and the electrical limits on the page, and in the JSON behind it."""

import dataclasses
import html
import re
from collections.abc import Callable
from typing import Any

import pytest

from gateway.domain.electrical import NodeState
from gateway.domain.tree import ElectricalTree, Node, NodeKind
from gateway.http import device_lines
from gateway.http.device_lines import node_lines
from gateway.http.sources import SOURCES
from hardware.device import DeviceView, Fault
from hardware.errors import Condition
from hardware.job import JobView

Stage = Any
"""Of this folder's conftest; its type cannot be imported from there."""

CURE = "run the agent as root or with CAP_SYS_ADMIN"
DENIED = Fault(condition=Condition.NO_PERMISSION, detail=f"cannot set the power limit; {CURE}", cure=CURE)


def job(job_id: str, *device_ids: str, fault: Fault | None = None) -> JobView:
    return JobView(
        job_id=job_id, device_ids=device_ids, tier="flex1", weight=1.0, min_throughput=0.9, curve=(), fault=fault
    )


def faulty(view: DeviceView, fault: Fault = DENIED) -> DeviceView:
    return dataclasses.replace(view, fault=fault)


async def test_hosts_fold_and_their_devices_are_there_without_a_script(
    stage: Stage, make_device: Callable[..., DeviceView]
) -> None:
    stage.devices = {
        f"gpu-{host}-{number}": make_device(f"gpu-{host}-{number}", host_id=f"node-{host}")
        for host in range(3)
        for number in range(4)
    }
    page = await stage.page()
    section = page[page.index('id="devices-title"') : page.index("</main>")]
    listed, _, _ = section.partition("<template")
    assert listed.count("<details>") == 3
    assert listed.count("<caption>Devices of") == 3
    assert listed.count('<th scope="col"') == 3 * 6
    assert all(f'data-field="device_id">{device_id}</span>' in listed for device_id in stage.devices)
    assert listed.count('<th scope="row">') == 12


async def test_a_device_with_a_fault_says_what_and_what_to_do(
    stage: Stage, make_device: Callable[..., DeviceView]
) -> None:
    stage.devices = {
        "gpu-0": faulty(make_device("gpu-0", limit_w=300.0)),
        "gpu-1": make_device("gpu-1", present=False),
        "gpu-2": make_device("gpu-2"),
    }
    now = await stage.now()
    lines = {line["device_id"]: line for line in now["devices"]["devices"]}
    assert (lines["gpu-0"]["state"], lines["gpu-0"]["state_words"]) == ("fault", "fault, capped: no permission")
    assert (lines["gpu-0"]["condition"], lines["gpu-0"]["trouble"]) == ("no permission", "cannot set the power limit")
    assert lines["gpu-0"]["cure"] == CURE
    assert lines["gpu-1"]["state_words"] == "absent: lost"
    assert lines["gpu-1"]["cure"], "what is lost has a cure, too"
    assert (lines["gpu-2"]["condition"], lines["gpu-2"]["trouble"], lines["gpu-2"]["cure"]) == ("", "", "")
    (host,) = now["devices"]["hosts"]
    assert (host["state"], host["words"]) == ("absent", "1 free, 1 with a fault, 1 absent, 2 without a reading")
    page = html.unescape(await stage.page())
    assert f'<p class="quiet cure" data-field="cure">{CURE}</p>' in page


async def test_what_is_wrong_in_one_way_is_one_alarm_above_all_else(
    stage: Stage, make_device: Callable[..., DeviceView]
) -> None:
    stage.devices = {f"gpu-{number}": faulty(make_device(f"gpu-{number}")) for number in range(6)}
    stage.devices["gpu-9"] = make_device("gpu-9", present=False)
    stalled = Fault(condition=Condition.NO_PROGRESS, detail="it stands still since it was resumed")
    stage.jobs = {"train": job("train", "gpu-0", fault=stalled)}
    faults = (await stage.now())["faults"]
    assert [fault["part"] for fault in faults] == ["devices", "devices", "jobs"]
    assert faults[0]["reason"] == (
        "6 devices need attention: no permission: gpu-0 on node-1, gpu-1 on node-1, gpu-2 on node-1 and 3 more"
        " (cannot set the power limit)"
    )
    assert faults[0]["advice"] == f"What to do: {CURE}."
    assert faults[2]["reason"].startswith("1 job needs attention: no progress: train")
    page = await stage.page()
    assert page.index("6 devices need attention") < page.index('id="devices-title"')


async def test_alarms_are_bounded(stage: Stage, make_device: Callable[..., DeviceView]) -> None:
    stage.devices = {
        f"gpu-{number}": faulty(
            make_device(f"gpu-{number}"), Fault(condition=Condition.FAILED, detail="x" * 9000, cure=f"cure {number}")
        )
        for number in range(30)
    }
    faults = (await stage.now())["faults"]
    assert len(faults) == 9
    assert faults[-1]["reason"] == "22 more things are wrong with others"
    assert all(len(fault["reason"]) < 400 for fault in faults)


async def test_jobs_are_named_on_their_hosts_and_devices(stage: Stage, make_device: Callable[..., DeviceView]) -> None:
    stage.devices = {
        "gpu-0": dataclasses.replace(make_device("gpu-0"), slot=0),
        "gpu-1": dataclasses.replace(make_device("gpu-1"), slot=1),
        "gpu-2": make_device("gpu-2", host_id="node-2"),
    }
    stage.jobs = {f"job-{number}": job(f"job-{number}", "gpu-0", "node-1/1") for number in range(5)}
    devices = (await stage.now())["devices"]
    assert [host["jobs"] for host in devices["hosts"]] == ["jobs job-0, job-1, job-2 and 2 more", "no job"]
    assert [line["jobs"] for line in devices["devices"]][1:] == ["job-0, job-1, job-2, job-3, job-4", "none"]


async def test_hostile_names_and_faults_stay_words(stage: Stage, make_device: Callable[..., DeviceView]) -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    fault = Fault(condition=Condition.FAILED, detail=evil, cure=evil)
    stage.devices = {evil: faulty(make_device(evil, host_id=evil), fault)}
    stage.jobs = {evil: job(evil, evil)}
    page = await stage.page()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert (await stage.now())["devices"]["devices"][0]["device_id"] == evil


async def test_a_thousand_devices_are_listed_and_more_are_bounded(
    stage: Stage, make_device: Callable[..., DeviceView], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.devices = {
        f"gpu-{number:04d}": make_device(f"gpu-{number:04d}", host_id=f"node-{number // 8:03d}")
        for number in range(1200)
    }
    page = await stage.page()
    listed = page[page.index('id="host-list"') : page.index('<template id="host-row">')]
    assert (listed.count("<details>"), len(re.findall('data-field="device_id">gpu-', listed))) == (150, 1200)
    assert "1,200 devices on 150 hosts: all free." in page
    monkeypatch.setattr(device_lines, "MOST_DEVICES", 100)
    devices = (await stage.now())["devices"]
    assert (devices["total"], len(devices["hosts"]), len(devices["devices"])) == (1200, 150, 100)
    assert devices["note"] == "The first 100 devices are listed one by one; 'gridgate asset list' tells all."
    assert devices["note"] in html.unescape(await stage.page())


async def test_electrical_limits_are_shown_where_there_are_any(
    stage: Stage, make_device: Callable[..., DeviceView]
) -> None:
    assert (await stage.now())["nodes"] == []
    assert 'aria-labelledby="nodes-title" hidden>' in await stage.page()
    tree = ElectricalTree(
        nodes=(
            Node(node_id="phx-1", kind=NodeKind.SITE, limit_w=100_000.0),
            Node(
                node_id="rack-7",
                kind=NodeKind.RACK,
                parent_id="phx-1",
                limit_w=1000.0,
                host_ids=frozenset({"node-1"}),
            ),
        ),
        overshoot_fraction=0.0,
    )
    sources = stage.client.app[SOURCES]
    object.__setattr__(sources, "site", dataclasses.replace(sources.site, tree=tree))
    stage.devices = {"gpu-0": make_device("gpu-0"), "gpu-1": make_device("gpu-1")}
    site, rack = (await stage.now())["nodes"]
    assert (site["state"], site["words"], site["worst"]) == ("within", "within its limit", "1.4 kW")
    assert (rack["state"], rack["limit"], rack["worst_w"]) == ("over", "1.0 kW", 1400.0)
    assert "rack-7" in await stage.page()


@pytest.mark.parametrize(
    ("worst_w", "binds", "shortfall_w", "state", "words"),
    [
        (900.0, False, 0.0, "within", "within its limit"),
        (1000.0, True, 0.0, "tight", "holds devices under their own limits"),
        (1200.0, True, 0.0, "over", "may be 0.2 kW over its limit: caps come down"),
        (1200.0, True, 100.0, "over", "may be 0.1 kW over its limit, with every device that answers at its floor"),
    ],
)
def test_a_node_in_words(worst_w: float, binds: bool, shortfall_w: float, state: str, words: str) -> None:
    node = NodeState(
        node_id="feed",
        kind=NodeKind.FEED,
        limit_w=1000.0,
        worst_w=worst_w,
        free_w=2000.0,
        binds=binds,
        shortfall_w=shortfall_w,
    )
    (line,) = node_lines([node])
    assert (line.state, line.words) == (state, words)
