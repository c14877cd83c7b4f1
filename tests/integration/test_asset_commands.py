"""``gridgate asset`` and ``gridgate agent --check`` as a user runs them, beside real agent processes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hardware.journal import boot_id
from tests.lab import eventually
from tests.nvml_library.control import DRIVER_NOT_LOADED, STATE_VARIABLE, Board

ROOT = Path(__file__).parents[2]
START_S = 30.0

CONFIG = """
[gateway]
state_dir = "{folder}/state"
[site]
id = "lab-1"
[[hardware]]
{hardware}
"""
SIMULATED = 'kind = "simulated"\nhosts = 2\ndevices_per_host = 4\nseed = 3'


class Host:
    """One host's config, and the commands and the agent that are run on it."""

    def __init__(self, folder: Path, hardware: str, **environment: str) -> None:
        self.folder = folder
        self.environment = os.environ | environment
        self.config = folder / "agent.toml"
        self.config.write_text(CONFIG.format(folder=folder, hardware=hardware))
        self.agent: subprocess.Popen[bytes] | None = None

    def run(self, *command: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*before, sys.executable, "-m", "gateway", *command, "--config", str(self.config)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def told(self, *command: str, code: int = 0, before: tuple[str, ...] = ()) -> Any:
        done = self.run(*command, "--json", before=before)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.agent = subprocess.Popen(
                [sys.executable, "-m", "gateway", "agent", "--config", str(self.config)],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        eventually("the agent answers", lambda: self.run("asset", "list").returncode == 0, within_s=START_S)

    def stop(self) -> None:
        if self.agent is not None:
            self.agent.terminate()
            try:
                self.agent.wait(15.0)
            except subprocess.TimeoutExpired:
                self.agent.kill()
                self.agent.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short: a socket's path may be no longer than about a hundred characters.
    with tempfile.TemporaryDirectory(prefix="gg-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@pytest.fixture
def simulated(folder: Path) -> Iterator[Host]:
    host = Host(folder, SIMULATED)
    yield host
    host.stop()


@pytest.fixture
def nvidia(folder: Path, nvml_library: Path) -> Iterator[tuple[Host, Board]]:
    board = Board(folder / "gpus", manual=False)
    library = {"LD_LIBRARY_PATH": str(nvml_library.parent), STATE_VARIABLE: str(board.path)}
    host = Host(folder, 'kind = "nvml"', **library)
    yield host, board
    host.stop()


def checks(found: Any) -> dict[str, Any]:
    return {check["part"]: check for check in found["checks"]}


def test_a_running_agent_is_listed_shown_and_checked(simulated: Host) -> None:
    nobody = simulated.run("asset", "list")
    assert nobody.returncode == 1
    assert "gridgate agent --config" in nobody.stderr, "it says what to do"
    simulated.start()
    found = simulated.told("asset", "list")
    assert [host["host_id"] for host in found["hosts"]] == ["h00", "h01"]
    assert [device["state"] for device in found["devices"]] == ["free"] * 8
    faults = simulated.folder / "state/devices.state.faults.json"
    faults.with_suffix(".new").write_text(json.dumps({"lost": ["h01-d0"], "limits_w": {"h00-d0": 250.0}}))
    faults.with_suffix(".new").replace(faults)

    def states() -> dict[str, str] | None:
        listed = {one["device_id"]: one["state"] for one in simulated.told("asset", "list")["devices"]}
        return listed if listed["h01-d0"] == "absent" else None

    assert eventually("the fault shows", states, within_s=10.0)["h00-d0"] == "capped"
    shown = simulated.told("asset", "show", "h01-d0")
    assert (shown["kind"], shown["state"], shown["fault"]["condition"]) == ("device", "absent", "lost")
    assert shown["fault"]["cure"]
    assert simulated.told("asset", "show", "h00")["kind"] == "host"
    unknown = simulated.run("asset", "show", "h77")
    assert (unknown.returncode, "gridgate asset list" in unknown.stderr) == (1, True)
    text = simulated.run("asset", "list").stdout
    assert "Needs attention:" in text
    assert max(map(len, text.splitlines())) <= 80
    found = simulated.told("agent", "--check", code=1)
    assert "one runs here" in checks(found)["agent"]["says"]
    assert simulated.agent is not None
    assert simulated.agent.poll() is None, "the running agent goes on"


def test_capability_without_a_gateway_says_what_to_do(folder: Path) -> None:
    host = Host(folder, SIMULATED, GRIDGATE_GATEWAY__LISTEN="127.0.0.1:1")
    assert "no gateway answers at http://127.0.0.1:1/" in host.told("asset", "capability", code=1)["error"]
    nobody = host.run("asset", "capability")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "gridgate serve --config" in nobody.stderr


def test_the_check_changes_nothing_beside_a_killed_agent(nvidia: tuple[Host, Board]) -> None:
    host, board = nvidia
    state = host.folder / "state"
    state.mkdir()
    journal = state / "agent.journal"
    entry = {board.ids[0]: [380.0, 200.0, 380.0, False]}
    document = {"version": 2, "epoch": 7, "limits": entry, "paused": [], "held": [], "drained": []}
    journal.write_text(json.dumps(document | {"boot_id": boot_id()}))
    board.devices[0].limit_w = 200.0
    before = journal.read_bytes(), board.limits_w(), sorted(file.name for file in state.iterdir())
    found = host.told("agent", "--check")
    assert found["journal"]["at_start"] == [{"name": board.ids[0], "says": "put back 380 W", "done": True}]
    assert (journal.read_bytes(), board.limits_w(), sorted(file.name for file in state.iterdir())) == before
    assert [device.writes for device in board.devices] == [0] * 4

    journal.write_text(json.dumps(document | {"boot_id": "0f5e1f0e-another-life"}))
    found = host.told("agent", "--check")
    assert found["journal"]["this_boot"] is False
    assert found["journal"]["at_start"][0]["says"].startswith("leave it alone")


def test_without_the_capability_the_check_says_so_and_does_not_try(nvidia: tuple[Host, Board]) -> None:
    host, board = nvidia
    drop = ("setpriv", "--bounding-set", "-sys_admin") if os.geteuid() == 0 else ()
    assert not drop or shutil.which("setpriv"), "install util-linux"
    found = host.told("agent", "--check", code=1, before=drop)
    permission = checks(found)["permission"]
    assert not permission["well"]
    assert "CAP_SYS_ADMIN" in permission["cure"]
    assert [device.writes for device in board.devices] == [0] * 4


def test_a_missing_driver_is_found_by_the_check_and_by_discovery(nvidia: tuple[Host, Board]) -> None:
    host, board = nvidia
    found = host.told("asset", "discover")
    (gpus,) = [one for one in found["findings"] if one["what"].startswith("NVIDIA")]
    assert (gpus["found"], gpus["declared"]) == (True, True)
    board.unload_driver(DRIVER_NOT_LOADED)
    found = host.told("agent", "--check", code=1)
    assert "modprobe nvidia" in checks(found)["devices"]["cure"]
    found = host.told("asset", "discover")
    (gpus,) = [one for one in found["findings"] if one["what"].startswith("NVIDIA")]
    assert not gpus["found"]
    assert "modprobe nvidia" in gpus["cure"]


def test_bad_config_is_exit_code_two(folder: Path) -> None:
    host = Host(folder, 'kind = "modbus"')
    for command in (("asset", "list"), ("agent", "--check"), ("asset", "discover")):
        done = host.run(*command)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert done.stderr.startswith("gridgate: ")
