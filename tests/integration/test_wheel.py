"""The wheel, built from the checkout and installed into a bare environment, does its work from any directory."""

import csv
import fcntl
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

# One build and one installation of everything in the lock, over a network, perhaps with a cold cache.
pytestmark = pytest.mark.timeout(420)

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Installed:
    """The wheel, the environment it was installed into, and a working directory that is not the checkout."""

    wheel: Path
    scripts: Path
    elsewhere: Path

    def run(self, *arguments: str, within_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.scripts / "gridgate"), *arguments],
            cwd=self.elsewhere,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
        )


def environment() -> Mapping[str, str]:
    """This process's, without what would let the checkout be found."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GRIDGATE_", "COV_"))}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def must(*command: str | Path) -> None:
    done = subprocess.run(
        [str(word) for word in command], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built and installed once, whatever number of test processes share the tests out."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheel"
    folder.mkdir(exist_ok=True)
    with (folder / "building").open("w") as building:
        fcntl.flock(building, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            build_and_install(folder)
            (folder / "done").touch()
    (wheel,) = (folder / "dist").iterdir()
    return Installed(wheel=wheel, scripts=folder / "bare" / "bin", elsewhere=tmp_path_factory.mktemp("elsewhere"))


def build_and_install(folder: Path) -> None:
    dist = folder / "dist"
    must(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "-w", dist, ROOT)
    (wheel,) = dist.iterdir()
    must(sys.executable, "-m", "venv", folder / "bare")
    python = folder / "bare" / "bin" / "python"
    must(python, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", ROOT / "requirements.lock")
    must(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel)


def test_the_wheel_carries_our_four_packages_with_their_data_and_no_tests(installed: Installed) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    roots = {name.split("/")[0] for name in names}

    assert {root for root in roots if not root.endswith(".dist-info")} == {
        "gateway",
        "protocols",
        "hardware",
        "migrations",
    }
    assert not [name for name in names if "test" in name.lower()]
    assert not [name for name in names if name.endswith((".pyc", ".db", ".log"))]


@pytest.mark.parametrize(
    "pattern",
    [
        "gateway/domain/baseline/rules/*.toml",
        "gateway/domain/tariff/sheets/*.toml",
        "gateway/http/templates/*.html",
        "gateway/http/static/*",
        "migrations/env.py",
        "migrations/script.py.mako",
        "migrations/versions/*.py",
        "gateway/py.typed",
        "protocols/py.typed",
        "hardware/py.typed",
        "gateway/**/*.py",
        "protocols/**/*.py",
        "hardware/**/*.py",
    ],
)
def test_every_file_of_a_kind_is_inside(installed: Installed, pattern: str) -> None:
    wanted = {
        file.relative_to(ROOT).as_posix()
        for file in ROOT.glob(pattern)
        if file.is_file() and not file.name.startswith((".", "__pycache__"))
    }

    assert wanted
    assert wanted <= set(zipfile.ZipFile(installed.wheel).namelist())


def test_the_lock_satisfies_what_the_wheel_asks_for(installed: Installed) -> None:
    must(installed.scripts / "python", "-m", "pip", "check")


def test_it_says_what_it_is(installed: Installed) -> None:
    shown = installed.run("--help")
    version = installed.run("--version")

    assert shown.returncode == 0
    assert {"demo", "serve", "agent", "allocate", "baseline", "decode", "event", "statement", "db"} <= set(
        shown.stdout.replace("│", " ").split()
    )
    assert version.returncode == 0
    assert version.stdout == f"gridgate {installed.wheel.name.split('-')[1]}\n"


def test_it_makes_and_checks_a_database(installed: Installed) -> None:
    upgraded = installed.run("db", "upgrade")
    checked = installed.run("db", "check", "--json")

    assert upgraded.returncode == 0, upgraded.stderr
    assert (installed.elsewhere / "gridgate.db").is_file()
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["up_to_date"] is True


def test_it_finds_its_rule_sheets(installed: Installed) -> None:
    listed = installed.run("baseline", "--list", "--json")

    assert listed.returncode == 0, listed.stderr
    assert {"caiso-10-in-10", "meter-before-after"} <= {rule["rule"] for rule in json.loads(listed.stdout)["rules"]}


def test_it_plays_a_whole_event(installed: Installed) -> None:
    began = time.monotonic()
    played = installed.run("demo", "--once", "--out", "out", within_s=300.0)
    sys.stdout.write(f"gridgate demo --once took {time.monotonic() - began:.1f} s\n")

    assert played.returncode == 0, played.stderr
    out = installed.elsewhere / "out"
    assert {"power.csv", "power.svg", "statement.json", "site.db"} <= {file.name for file in out.iterdir()}
    statement = json.loads((out / "statement.json").read_text())
    assert float(statement["delivered_kwh"]) > 0
    with (out / "power.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["target_w"] != "" for row in rows) == sum(row["duration_s"] for row in statement["intervals"])
