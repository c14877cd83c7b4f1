"""``gridgate simulate`` as a user types it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

SCENARIO = """
title = "A fifth less for a minute"
starts_at = 2026-07-15T15:00:00-07:00
duration_s = 150
interval_s = 60

[fleet]
hosts = 1

[[fleet.job]]
id = "train"
workload = "pretrain-13b"
tier = "flex3"
devices = 8

[[event]]
id = "now"
starts_s = 40
duration_s = 60
values = [[60, 0.2]]
"""


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "simulate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_scenario_of_ones_own_is_played(tmp_path: Path) -> None:
    file, out = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text(SCENARIO)

    done = simulate(str(file), "--out", str(out), "--seed", "9", "--json")

    assert done.returncode == 0, done.stderr
    # Nothing but the result, not even the solver's greeting.
    summary = json.loads(done.stdout)
    assert done.stderr == ""
    assert summary == json.loads((out / "summary.json").read_text())
    assert (summary["scenario"], summary["seed"]) == ("mine", 9)
    assert abs(summary["events"][0]["live_baseline"]["delivered_fraction"] - 0.2) < 0.01
    assert {path.name for path in out.iterdir()} == {"power.csv", "jobs.csv", "summary.json", "power.svg"}
    with (out / "power.csv").open(newline="") as csv_file:
        assert next(csv.reader(csv_file)) == ["time_s", "site_w", "target_w", "baseline_w", "counterfactual_w", "mode"]


def test_a_scenario_that_cannot_be_leaves_nothing_behind(tmp_path: Path) -> None:
    file, out = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text(SCENARIO.replace("tier", "teir"))

    done = simulate(str(file), "--out", str(out))

    assert done.returncode == 2
    assert "fleet.job.0.teir: unknown key; did you mean 'tier'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not out.exists()


def test_a_folder_that_cannot_be_made_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")

    done = simulate("phoenix", "--out", str(tmp_path / "taken"))

    assert done.returncode == 2
    assert "cannot write to" in done.stderr
