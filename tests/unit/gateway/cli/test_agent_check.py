"""``gridgate agent --check`` over NVML and the simulated fleet: what it tells, and that it changes nothing."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from gateway.cli.agent_check import SYS_ADMIN, check_agent, effective_capabilities
from gateway.cli.agent_found import AgentCheck, Check
from gateway.cli.agent_text import in_words
from gateway.cli.asset_text import WIDTH
from gateway.cli.main import app as commands
from gateway.config import Settings, settings_from
from hardware.agent import Agent
from hardware.device import CapCommand, Lease, OnExpiry, Outcome
from hardware.fleet_ca import FleetCa
from hardware.job import JobAction, Verb
from hardware.journal import Journal, PriorLimit, boot_id
from hardware.nvml.driver import NvmlDriver
from hardware.passport import Membership, Passport
from hardware.simulated import SimulatedFleet
from hardware.wire import Act, Applied, Apply
from tests.nvml_library.control import DRIVER_NOT_LOADED, GPU_IS_LOST, VERSION_MISMATCH, Board

FOUND_W = 380.0
CAPPED = tuple(f"CapEff:\t{mask:016x}" for mask in (0x1FFFFFFFFFF, 0x1FFFFFFFFFF & ~(1 << SYS_ADMIN)))


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def host(nvml_board: Board) -> Board:
    for device in nvml_board.devices:
        device.limit_w = FOUND_W
    return nvml_board


def settings(folder: Path, kind: str = "nvml", **more: Any) -> Settings:
    declared = {
        "gateway": {"state_dir": str(folder)},
        "site": {"id": "a"},
        "hardware": [{"kind": kind, **more}],
    }
    return settings_from(declared, source="test")


def capped_by_a_killed_agent(board: Board, folder: Path, cap_w: float = 200.0, **lease: Any) -> None:
    """An agent caps every GPU and dies as kill -9 leaves it."""
    journal = Journal(folder / "agent.journal", boot_id=boot_id())
    with NvmlDriver(host_id="h") as driver:
        agent = Agent(host_id="h", devices=driver, journal=journal)
        agent.recover()
        terms = Lease(epoch=4, sequence=1, duration_s=60.0, **lease)
        reply = agent.handle(
            Apply(commands=tuple(CapCommand(device_id=key, cap_w=cap_w, lease=terms) for key in board.ids))
        )
        assert isinstance(reply, Applied)
        assert {result.outcome for result in reply.results} == {Outcome.APPLIED}
        agent.close()


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def part(found: AgentCheck, name: str) -> Check:
    (one,) = [check for check in found.checks if check.part == name]
    return one


async def test_a_host_where_all_is_well(host: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.agent_check.effective_capabilities", lambda: 1 << SYS_ADMIN)
    host.devices[0].outside_w = 300.0
    host.devices[1].mig = 1
    found = await check_agent(settings(tmp_path))
    assert found.well
    assert [(one.asked_w, one.limit_w) for one in found.devices[:2]] == [(FOUND_W, 300.0), (FOUND_W, FOUND_W)]
    assert (found.devices[0].min_w, found.devices[0].max_w) == (100.0, 400.0)
    assert [one.mig for one in found.devices[:2]] == [False, True]
    assert "MIG mode has one limit" in part(found, "MIG").says
    assert part(found, "limits").says.startswith("1 held lower than was asked")
    assert part(found, "agent").says == "none runs here now"
    # A path is never broken, however long it is.
    assert max(map(len, in_words(found).replace(str(tmp_path), "/state").splitlines())) <= WIDTH
    assert host.state.inits == host.state.shutdowns, "nothing is kept open"


async def test_what_a_killed_agent_left_would_be_put_back_and_is_not(host: Board, tmp_path: Path) -> None:
    capped_by_a_killed_agent(host, tmp_path)
    host.devices[1].limit_w = 333.0
    host.devices[2].limit_w = FOUND_W
    before = (tmp_path / "agent.journal").read_bytes()
    writes = [device.writes for device in host.devices]
    found = await check_agent(settings(tmp_path))
    says = {entry.name: entry.says for entry in found.journal.at_start}
    assert says[host.ids[0]] == "put back 380 W"
    assert says[host.ids[1]] == "leave it alone: somebody else changed the limit: left as it is"
    assert says[host.ids[2]] == "put back 380 W, which it has already"
    assert found.journal.this_boot is True
    assert found.journal.epoch == 4
    assert (tmp_path / "agent.journal").read_bytes() == before
    assert [device.writes for device in host.devices] == writes
    assert host.limits_w() == [200.0, 333.0, FOUND_W, 200.0]
    Journal(tmp_path / "agent.journal").open()


async def test_what_is_to_be_held_is_held_on(host: Board, tmp_path: Path) -> None:
    capped_by_a_killed_agent(host, tmp_path, on_expiry=OnExpiry.HOLD)
    found = await check_agent(settings(tmp_path))
    assert {entry.says for entry in found.journal.at_start} == {"hold the cap of 200 W on"}
    assert host.limits_w() == [200.0] * 4


async def test_a_journal_from_before_a_restart_of_the_machine(host: Board, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "agent.journal", boot_id="another life")
    journal.open()
    journal.commit(epoch=2, limits={host.ids[0]: PriorLimit(found_w=390.0, written_w=FOUND_W, before_w=390.0)})
    journal.close()
    found = await check_agent(settings(tmp_path))
    assert found.journal.this_boot is False
    assert "from before a restart of the machine" in part(found, "journal").says
    (entry,) = found.journal.at_start
    assert entry.says.startswith("leave it alone")


async def test_it_runs_while_another_process_has_the_journal(host: Board, tmp_path: Path) -> None:
    capped_by_a_killed_agent(host, tmp_path)
    holder = Journal(tmp_path / "agent.journal", boot_id=boot_id())
    holder.open()
    found = await check_agent(settings(tmp_path))
    assert part(found, "journal").well
    holder.commit(epoch=9)
    assert (await check_agent(settings(tmp_path))).journal.epoch == 9
    holder.close()


async def test_a_journal_that_cannot_be_read_has_a_cure(host: Board, tmp_path: Path) -> None:
    (tmp_path / "agent.journal").write_text("{half")
    found = await check_agent(settings(tmp_path))
    assert not found.well
    assert not part(found, "journal").well
    assert part(found, "journal").cure


async def test_permission_is_told_by_capability_and_never_by_writing(
    host: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.agent_check.effective_capabilities", lambda: 0)
    found = await check_agent(settings(tmp_path))
    assert not found.well
    assert "lacks CAP_SYS_ADMIN" in part(found, "permission").says
    assert "--cap-add SYS_ADMIN" in part(found, "permission").cure
    assert [device.writes for device in host.devices] == [0] * 4


@pytest.mark.parametrize(("line", "may"), [(CAPPED[0], 1), (CAPPED[1], 0)])
def test_capabilities_are_read_from_the_kernel(tmp_path: Path, line: str, may: int) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tgridgate\nCapPrm:\t0000000000000000\n{line}\nCapBnd:\t000001ffffffffff\n")
    assert effective_capabilities(status) >> SYS_ADMIN & 1 == may
    assert effective_capabilities(tmp_path / "none") == 0


@pytest.mark.parametrize(
    ("code", "cure"), [(DRIVER_NOT_LOADED, "modprobe nvidia"), (VERSION_MISMATCH, "restart the agent")]
)
async def test_without_a_driver_the_rest_is_told_all_the_same(
    host: Board, tmp_path: Path, code: int, cure: str
) -> None:
    capped_by_a_killed_agent(host, tmp_path)
    host.unload_driver(code)
    found = await check_agent(settings(tmp_path))
    assert not found.well
    assert cure in part(found, "devices").cure
    assert found.journal.epoch == 4


async def test_a_device_that_is_lost_is_named_with_its_cure(host: Board, tmp_path: Path) -> None:
    capped_by_a_killed_agent(host, tmp_path)
    host.devices[3].lost = GPU_IS_LOST
    found = await check_agent(settings(tmp_path))
    assert not found.well
    assert part(found, "GPUs").says == "1 of 4 cannot be read"
    assert "reset" in part(found, "GPUs").cure
    journal = part(found, "journal")
    assert not journal.well
    assert journal.cure


async def test_a_driver_that_hangs_is_given_up(host: Board, tmp_path: Path) -> None:
    hanging = host.fail("nvmlDeviceGetEnforcedPowerLimit", 0, works=True, delay_ms=60_000)
    try:
        found = await check_agent(settings(tmp_path), driver_s=0.2)
    finally:
        hanging.taken_back()
    assert "did not answer in 0.2 s" in part(found, "devices").says
    assert not found.well


async def test_a_simulated_host_is_looked_at_in_a_copy(tmp_path: Path) -> None:
    declared = settings(tmp_path, "simulated", hosts=1, devices_per_host=4, seed=5)
    state = tmp_path / "devices.state"
    fleet = SimulatedFleet(hosts=1, devices_per_host=4, seed=5, now=lambda: datetime.now(UTC), state_path=state)
    journal = Journal(tmp_path / "agent.journal", boot_id=boot_id())
    agent = Agent(host_id="local", devices=fleet, jobs=fleet, journal=journal)
    agent.recover()
    job_id = next(job.job_id for job in fleet.jobs() if job.max_pause_s > 0.0)
    lease = Lease(epoch=1, sequence=1, duration_s=60.0)
    agent.handle(Act(actions=(JobAction(job_id=job_id, verb=Verb.PAUSE, lease=lease),)))
    agent.handle(Apply(commands=(CapCommand(device_id="h00-d1", cap_w=200.0, lease=lease),)))
    agent.close()
    before = content(tmp_path)
    found = await check_agent(declared)
    assert found.well
    assert {entry.name: entry.says for entry in found.journal.at_start} == {
        "h00-d1": "put back 400 W",
        job_id: "resume it",
    }
    assert {job.job_id: job.state for job in found.jobs}[job_id] == "paused"
    assert content(tmp_path) == before


async def test_a_socket_that_nobody_serves_and_one_whose_agent_hangs(
    host: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind("agent.sock")
    assert part(await check_agent(settings(tmp_path)), "agent").well
    path.unlink()
    monkeypatch.setattr("gateway.asking.AGENT_ANSWER_S", 0.2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind("agent.sock")
        silent.listen()
        agent = part(await check_agent(settings(tmp_path)), "agent")
    assert not agent.well
    assert "did not answer" in agent.says
    assert "restart it" in agent.cure


def config(folder: Path, kind: str) -> str:
    file = folder / "gridgate.toml"
    file.write_text(f'[gateway]\nstate_dir = "{folder}"\n[site]\nid = "a"\n[[hardware]]\nkind = "{kind}"\n')
    return str(file)


def test_exit_codes_and_json(host: Board, tmp_path: Path) -> None:
    run = CliRunner().invoke
    done = run(commands, ["agent", "--check", "--json", "--config", config(tmp_path, "simulated")])
    assert (done.exit_code, json.loads(done.stdout)["well"]) == (0, True)
    host.unload_driver()
    done = run(commands, ["agent", "--check", "--json", "--config", config(tmp_path, "nvml")])
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["well"]) == (1, False)
    assert all(check["cure"] for check in answer["checks"] if not check["well"])
    done = run(commands, ["agent", "--check", "--config", config(tmp_path, "none such")])
    assert done.exit_code == 2
    done = run(commands, ["agent", "--json", "--config", config(tmp_path, "nvml")])
    assert done.exit_code == 2
    assert "--json goes with --check" in done.stderr


def enrolled(folder: Path, *, at: datetime, days: int) -> Path:
    """A host's certificates, issued at an instant for so many days."""
    passport = Passport(folder / "agent")
    authority = FleetCa(folder / "ca", site_id="phx-1", now=at)
    key_pem, csr_pem = passport.request("node-1")
    certificate_pem = authority.sign_agent(csr_pem, host_id="node-1", generation=1, now=at, days=days)
    membership = Membership(host_id="node-1", site_id="phx-1", servers=("tls://nats:4222",), url="https://gw:8443")
    passport.keep(key_pem=key_pem, certificate_pem=certificate_pem, ca_pem=certificate_pem, membership=membership)
    return passport.folder


async def test_the_certificate_of_this_host_is_held_against_the_clock(tmp_path: Path) -> None:
    declared = settings(tmp_path, "simulated", hosts=1)
    assert "certificate" not in {check.part for check in (await check_agent(declared)).checks}, "it needs none"
    enrolled(tmp_path, at=datetime.now(UTC), days=30)
    certificate = part(await check_agent(declared), "certificate")
    assert certificate.well
    assert certificate.says.startswith("node-1 of phx-1, for tls://nats:4222: valid until ")
    folder = enrolled(tmp_path, at=datetime.now(UTC) - timedelta(days=60), days=30)
    found = await check_agent(declared)
    assert not found.well
    assert "valid only from" in part(found, "certificate").says
    assert "enrol this host again" in part(found, "certificate").cure
    (folder / "agent.pem").write_text("not a certificate")
    assert "cannot be read" in part(await check_agent(declared), "certificate").says


async def test_a_ceiling_counts_in_what_would_be_put_back(host: Board, tmp_path: Path) -> None:
    capped_by_a_killed_agent(host, tmp_path)
    declared = settings_from(
        {
            "gateway": {"state_dir": str(tmp_path)},
            "site": {"id": "a"},
            "hardware": [{"kind": "nvml"}],
            "agent": {"ceiling_w": 350.0},
        },
        source="test",
    )
    found = await check_agent(declared)
    assert {entry.says.partition(" (")[0] for entry in found.journal.at_start} == {"put back 350 W"}


async def test_a_host_that_has_only_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid_file = tmp_path / "train.pid"
    declared = settings(
        tmp_path / "state", "process", job=[{"id": "train", "pid_file": str(pid_file), "tier": "flex2"}]
    )
    monkeypatch.setattr("gateway.cli.agent_check.effective_capabilities", lambda: 0)
    found = await check_agent(declared)
    assert "lacks CAP_KILL" in part(found, "permission for jobs").says
    assert found.devices == ()
    assert not (tmp_path / "state").exists()
