"""``gridgate allocate``: JSON in and out, and one clear line for whatever is wrong with the file."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from gateway.cli.allocate import allocate

APP = typer.Typer()
APP.command()(allocate)

TRAIN: dict[str, Any] = {
    "job_id": "train-7",
    "weight": 1.0,
    "devices": 8,
    "min_throughput": 0.75,
    "can_pause": False,
    "curve": [[200, 190, 0.7], [300, 290, 0.9], [400, 390, 1.0]],
}
SERVE = {**TRAIN, "job_id": "serve", "weight": 3, "min_throughput": 0.9}


def run(folder: Path, fleet: object, *, target_w: str = "5000", json_wanted: bool = True) -> Result:
    file = folder / "fleet.json"
    file.write_text(fleet if isinstance(fleet, str) else json.dumps(fleet))
    words = ["--fleet", str(file), "--target-w", target_w]
    return CliRunner().invoke(APP, [*words, "--json"] if json_wanted else words)


def changed(**fields: object) -> dict[str, object]:
    return {"fixed_w": 100, "jobs": [copy.deepcopy(SERVE), {**copy.deepcopy(TRAIN), **fields}]}


def test_the_shapes_that_others_rely_on(tmp_path: Path) -> None:
    done = run(tmp_path, {"fixed_w": 100, "jobs": [TRAIN, SERVE]})
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["target_w"] == 5000.0
    assert found["expected_w"] == pytest.approx(5000.0)
    assert found["shortfall_w"] == 0.0
    # Over the floors 860 W are left: 800 W take serve to the top, 60 W are worth 0.015 to train.
    assert found["weighted_throughput"] == pytest.approx((0.765 + 3 * 1.0) / 4)
    assert [set(job) >= {"job_id", "cap_w", "paused", "power_w", "throughput"} for job in found["jobs"]] == [True, True]
    assert sum(job["power_w"] for job in found["jobs"]) == pytest.approx(4900.0)
    train, serve = found["jobs"]
    assert (train["job_id"], train["paused"]) == ("train-7", False)
    assert (train["throughput"], serve["throughput"]) == (pytest.approx(0.765), pytest.approx(1.0))
    assert (train["cap_w"], serve["cap_w"]) == (pytest.approx(232.5), 400.0)


def test_a_shortfall_is_an_answer(tmp_path: Path) -> None:
    done = run(tmp_path, changed(), target_w="1000")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["shortfall_w"] == pytest.approx(found["expected_w"] - 1000.0)


def test_jobs_that_may_pause_only_do_where_caps_do_not_reach(tmp_path: Path) -> None:
    fleet = changed(can_pause=True, idle_w=20)
    assert [job["paused"] for job in json.loads(run(tmp_path, fleet).stdout)["jobs"]] == [False, False]
    found = json.loads(run(tmp_path, fleet, target_w="4000").stdout)
    assert [job["paused"] for job in found["jobs"]] == [False, True]
    assert found["jobs"][1]["power_w"] == 160.0
    assert found["jobs"][1]["throughput"] == 0.0
    assert found["shortfall_w"] == 0.0


def test_keys_that_are_not_ours_are_passed_over(tmp_path: Path) -> None:
    assert run(tmp_path, {**changed(tier="flex2"), "made_by": "us"}).exit_code == 0


def test_fixed_power_may_be_left_out(tmp_path: Path) -> None:
    assert json.loads(run(tmp_path, {"jobs": [TRAIN]}, target_w="9e9").stdout)["expected_w"] == pytest.approx(3120.0)


def test_people_get_a_table(tmp_path: Path) -> None:
    done = run(tmp_path, changed(curve=[[200, 190, 0.7], [300, 290, 0.75], [400, 390, 1.0]]), json_wanted=False)
    assert done.exit_code == 0
    assert "train-7" in done.stdout
    assert "kW" in done.stdout
    assert "at most 0.100 less" in done.stdout
    assert "short of the target" in run(tmp_path, changed(), target_w="0", json_wanted=False).stdout


CURVE = TRAIN["curve"]


@pytest.mark.parametrize(
    ("fleet", "words"),
    [
        ("", "not JSON"),
        ('{"jobs": [', "not JSON"),
        ("[]", "the file must be an object"),
        ("[" * 5000, "not JSON"),
        ({"fixed_w": 0}, "jobs: is missing"),
        ({"fixed_w": -1, "jobs": []}, "fixed_w: must be 0 or more, not -1"),
        ('{"fixed_w": NaN, "jobs": []}', "fixed_w: must be a finite number"),
        ('{"fixed_w": 1e999, "jobs": []}', "fixed_w: must be a finite number"),
        ({"jobs": [TRAIN, TRAIN]}, "job 'train-7': job_id: there are two"),
        ({"jobs": [{**TRAIN, "job_id": None}]}, "job 1 in the list: job_id: must be a text"),
        ({"jobs": [TRAIN, 7]}, "job 2 in the list: must be an object"),
        (changed(job_id=""), "job 2 in the list: job_id: must not be empty"),
        (changed(weight=-1), "job 'train-7': weight: must be 0 or more, not -1"),
        (changed(weight="1"), "job 'train-7': weight: must be a number"),
        (changed(weight=True), "job 'train-7': weight: must be a number"),
        (changed(devices=0), "job 'train-7': devices: must be 1 or more, not 0"),
        (changed(devices=1.5), "job 'train-7': devices: must be a whole number"),
        (changed(min_throughput=1.1), "job 'train-7': min_throughput: must be 1 or less, not 1.1"),
        (changed(can_pause="yes"), "job 'train-7': can_pause: must be true or false"),
        (changed(curve=[]), "job 'train-7': curve: must not be empty"),
        (changed(curve={}), "job 'train-7': curve: must be a list"),
        (changed(curve=[CURVE[0], [300, 290]]), "job 'train-7': curve: point 2: throughput: is missing"),
        (
            changed(curve=[CURVE[0], [300, -5, 0.9]]),
            "job 'train-7': curve: point 2: power_w: must be 0 or more, not -5",
        ),
        (changed(curve=[[0, 190, 0.7]]), "job 'train-7': curve: point 1: cap_w: must be over 0, not 0"),
        (changed(curve=CURVE[::-1]), "job 'train-7': curve: point 2 has a cap of 300 W, not over the 400 W before it"),
        (changed(curve=[CURVE[0], CURVE[0]]), "caps must rise"),
        (changed(idle_w=-1), "job 'train-7': idle_w: must be 0 or more"),
        (json.dumps(changed()).replace("0.75", "NaN"), "job 'train-7': min_throughput: must be a finite number"),
        (json.dumps(changed()).replace("190", "Infinity"), "curve: point 1: power_w: must be a finite number"),
    ],
)
def test_a_bad_file_ends_with_one_clear_line(tmp_path: Path, fleet: object, words: str) -> None:
    done = run(tmp_path, fleet)
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert words in json.loads(done.stdout)["error"]


def test_a_field_left_out_is_named(tmp_path: Path) -> None:
    for field in TRAIN:
        fleet = {"jobs": [{key: value for key, value in TRAIN.items() if key != field}]}
        done = run(tmp_path, fleet)
        assert done.exit_code == 2
        assert f"{field}: is missing" in done.stderr


@pytest.mark.parametrize("target_w", ["-1", "nan", "inf"])
def test_a_target_that_is_none(tmp_path: Path, target_w: str) -> None:
    done = run(tmp_path, changed(), target_w=target_w)
    assert done.exit_code == 2
    assert "--target-w must be 0 or more watts" in done.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(APP, ["--fleet", str(tmp_path / "none.json"), "--target-w", "1"])
    assert done.exit_code == 2
    assert "cannot read" in done.stderr
    done = CliRunner().invoke(APP, ["--fleet", str(tmp_path), "--target-w", "1"])
    assert done.exit_code == 2


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "fleet.json"
    file.write_bytes(b'{"jobs": [{"job_id": "\xff"}]}')
    done = CliRunner().invoke(APP, ["--fleet", str(file), "--target-w", "1"])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
