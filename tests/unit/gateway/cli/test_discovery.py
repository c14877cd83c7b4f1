"""What a host has: real pages on loopback, and commands that fail in each way a command can."""

import asyncio
import threading
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.cli.discovery import Discovery, Finding, discover, in_words, within
from gateway.config import settings_from
from hardware.errors import CallHangs
from tests.nvml_library.control import DRIVER_NOT_LOADED, Board

NOWHERE = "http://127.0.0.1:9"
POWER = 'DCGM_FI_DEV_POWER_USAGE{{gpu="{0}",UUID="GPU-{0}"}} 312.5\n'


@pytest.fixture
async def pages() -> AsyncIterator[dict[str, str]]:
    """Pages that the test fills, and where they are."""
    shown: dict[str, str] = {}

    async def answer(request: web.Request) -> web.Response:
        if request.path not in shown:
            raise web.HTTPNotFound
        return web.Response(text=shown[request.path])

    application = web.Application()
    application.router.add_get("/{name:.*}", answer)
    server = TestServer(application)
    await server.start_server()
    shown["at"] = str(server.make_url("/")).rstrip("/")
    yield shown
    await server.close()


async def looked(**changes: Any) -> Discovery:
    values = {"dcgm_url": f"{NOWHERE}/metrics", "prometheus_url": NOWHERE, **changes}
    return await discover(values.pop("settings", None), **values)


def named(found: Discovery, what: str) -> Finding:
    (one,) = [finding for finding in found.findings if finding.what.startswith(what)]
    return one


def command(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let ``scontrol`` be a script."""
    file = folder / "scontrol"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


async def test_gpus_are_found_and_declared_by_a_snippet_that_loads(nvml_board: Board) -> None:
    found = await looked()
    gpus = named(found, "NVIDIA")
    assert gpus.found
    assert not gpus.declared
    assert gpus.says == "Driver 999.01, 4 GPUs: simulated accelerator, 400 W."
    assert found.snippet.startswith('[[hardware]]\nkind = "nvml"')
    assert "not declared" in in_words(found)


async def test_what_is_declared_needs_no_snippet(nvml_board: Board) -> None:
    settings = settings_from({"site": {"id": "a"}, "hardware": [{"kind": "nvml"}]}, source="test")
    found = await looked(settings=settings)
    assert named(found, "NVIDIA").declared
    assert "nvml" not in found.snippet


async def test_a_driver_that_is_not_loaded_is_a_line_with_its_cure(nvml_board: Board) -> None:
    nvml_board.unload_driver(DRIVER_NOT_LOADED)
    gpus = named(await looked(), "NVIDIA")
    assert not gpus.found
    assert "modprobe nvidia" in gpus.cure
    assert "modprobe" not in gpus.says, "the cure is said once"


async def test_a_driver_that_hangs_is_given_up(nvml_board: Board) -> None:
    hanging = nvml_board.fail("nvmlDeviceGetCount_v2", 0, works=True, delay_ms=60_000)
    before = threading.active_count()
    try:
        gpus = named(await looked(probe_s=0.2), "NVIDIA")
    finally:
        hanging.taken_back()
    assert not gpus.found
    assert "did not answer in 0.2 s" in gpus.says
    assert "kernel log" in gpus.cure
    while threading.active_count() > before:  # noqa: ASYNC110 - a thread in a C call sets no event
        await asyncio.sleep(0.01)


async def test_an_exporter_is_found_with_its_series(pages: dict[str, str]) -> None:
    pages["/metrics"] = "# TYPE DCGM_FI_DEV_POWER_USAGE gauge\n" + POWER.format(0) + POWER.format(1)
    pages["/-/ready"] = "ready"
    found = await looked(dcgm_url=f"{pages['at']}/metrics", prometheus_url=pages["at"])
    assert named(found, "DCGM").says.endswith("has the power of 2 devices.")
    assert named(found, "Prometheus").found
    tables = "[site]\nid = 'a'\n" + found.snippet
    assert len(settings_from(tomllib.loads(tables), source="test").meters) == 2, "the snippets are good config"


async def test_a_page_that_is_no_dcgm_exporter_is_told_apart(pages: dict[str, str]) -> None:
    pages["/metrics"] = "node_load1 0.5\n"
    dcgm = named(await looked(dcgm_url=f"{pages['at']}/metrics"), "DCGM")
    assert not dcgm.found
    assert "without DCGM_FI_DEV_POWER_USAGE" in dcgm.says
    assert dcgm.cure


async def test_declared_meters_are_asked_and_one_that_is_silent_has_a_cure(pages: dict[str, str]) -> None:
    pages["/metrics"] = POWER.format(0)
    hardware = [
        {"kind": "prometheus", "name": "there", "urls": [f"{pages['at']}/metrics"]},
        {"kind": "modbus", "name": "gone", "host": "127.0.0.1", "port": 9, "unit_id": 7, "map": "eastron-sdm630"},
    ]
    settings = settings_from({"site": {"id": "a"}, "hardware": hardware}, source="test")
    found = await looked(settings=settings)
    there, gone = named(found, "meter there"), named(found, "meter gone (modbus, unit 7)")
    assert (there.found, there.says) == (True, "It answers: 0.3 kW.")
    assert not gone.found
    assert gone.cure


async def test_a_host_without_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert named(await looked(), "Slurm").says == "There is no scontrol here."


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'scontrol: error: Unable to contact slurm controller' >&2; exit 1", "Unable to contact"),
        ("echo 'Slurmctld(primary) at ctl is DOWN'", "is DOWN"),
        ("sleep 60", "no answer in 0.3 s"),
        ("exit 1", "it said nothing"),
    ],
)
async def test_a_controller_that_does_not_answer_is_a_line_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    command(tmp_path, monkeypatch, script)
    slurm = named(await looked(probe_s=0.3), "Slurm")
    assert not slurm.found
    assert says in slurm.says
    assert "slurmctld" in slurm.cure


async def test_a_cluster_is_found_with_its_nodes_and_declared_by_a_snippet_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = """case "$1" in
ping) echo 'Slurmctld(primary) at ctl is UP' ;;
*) echo 'NodeName=n1 Arch=x86_64 Gres=gpu:h100:8 State=IDLE'; echo 'NodeName=n2 Gres=(null) State=IDLE' ;;
esac"""
    command(tmp_path, monkeypatch, answers)
    found = await looked()
    assert named(found, "Slurm").says == "The controller answers: 2 nodes, 1 with GRES (gpu:h100:8)."
    settings_from(tomllib.loads("[site]\nid = 'a'\n" + found.snippet), source="test")


async def test_the_freezer_of_either_cgroup(tmp_path: Path) -> None:
    assert not named(await looked(cgroup=tmp_path), "cgroup").found
    (tmp_path / "freezer").mkdir()
    assert "v1" in named(await looked(cgroup=tmp_path), "cgroup").says
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    assert "v2" in named(await looked(cgroup=tmp_path), "cgroup").says


async def test_what_a_call_raises_is_raised() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await within(1.0, broken, "it")
    assert await within(1.0, lambda: None, "it") is None


async def test_a_call_that_comes_back_too_late_disturbs_nobody() -> None:
    release = threading.Event()
    before = threading.active_count()
    with pytest.raises(CallHangs, match="the thing did not answer"):
        await within(0.05, release.wait, "the thing")
    release.set()
    while threading.active_count() > before:  # noqa: ASYNC110 - a thread sets no event of a loop
        await asyncio.sleep(0.01)
