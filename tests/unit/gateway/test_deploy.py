"""The files in deploy/: configs that load, and units that say what the code relies on."""

import configparser
import re
import shlex
from pathlib import Path

import pytest

from gateway.config import load_config
from hardware.keeper import LEAVE_S
from hardware.keeper_turn import RESTORE_S
from hardware.privileges import Capability

DEPLOY = Path(__file__).parents[3] / "deploy"
CONFIGS = sorted(DEPLOY.glob("*.toml"))
UNITS = sorted(DEPLOY.glob("*.service"))
COMMENTED = re.compile(r"^# (?=\[|[a-z_]+ = )")


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser


def named(path: Path) -> str:
    return path.name


def test_the_files_are_there():
    assert [path.name for path in CONFIGS] == ["agent.toml", "gridgate.toml"]
    assert [path.name for path in UNITS] == ["gridgate-agent.service", "gridgate.service"]


@pytest.mark.parametrize("path", CONFIGS, ids=named)
def test_config_loads_as_it_is(path):
    assert load_config(path).site.id == "phx-1"


@pytest.mark.parametrize("path", CONFIGS, ids=named)
def test_config_loads_with_all_that_is_commented_out(path, tmp_path):
    every = tmp_path / path.name
    lines = path.read_text(encoding="utf-8").splitlines()
    every.write_text("\n".join(COMMENTED.sub("", line) for line in lines), encoding="utf-8")
    settings = load_config(every)
    if path.name == "agent.toml":
        assert [job.id for job in settings.process_jobs] == ["train"]
        assert settings.agent.worker_user == "gridgate"


@pytest.mark.parametrize("path", UNITS, ids=named)
def test_unit_is_restarted_for_ever_and_has_the_time_to_put_back(path):
    service = unit(path)["Service"]
    assert service["Restart"] == "always"
    assert unit(path)["Unit"]["StartLimitIntervalSec"] == "0"
    assert float(service["TimeoutStopSec"]) > max(15.0, LEAVE_S + 2.0 + RESTORE_S)
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert unit(path)["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.parametrize("path", UNITS, ids=named)
def test_unit_runs_a_command_that_there_is_with_a_state_that_it_may_write(path):
    service = unit(path)["Service"]
    program, command, option, config = shlex.split(service["ExecStart"])
    assert (Path(program).name, option) == ("gridgate", "--config")
    assert command in {"agent", "serve"}
    assert config.startswith("/etc/gridgate/")
    assert service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"


def test_the_agent_may_do_what_its_drivers_need_and_its_worker_outlives_the_signal():
    service = unit(DEPLOY / "gridgate-agent.service")["Service"]
    bounding = set(service["CapabilityBoundingSet"].split())
    assert {f"CAP_{capability.name}" for capability in Capability} < bounding
    assert {"CAP_SETPCAP", "CAP_SETUID", "CAP_SETGID"} < bounding, "to give its worker less"
    assert service["KillMode"] == "control-group"
    state = load_config(DEPLOY / "agent.toml").gateway.state_dir
    assert str(state) == f"/var/lib/{service['StateDirectory']}"
    assert "User" not in service, "only root's keeper may hold what its worker gave up"


def test_the_gateway_has_no_capability_at_all():
    service = unit(DEPLOY / "gridgate.service")["Service"]
    assert (service["CapabilityBoundingSet"], service["User"], service["PrivateDevices"]) == ("", "gridgate", "yes")
