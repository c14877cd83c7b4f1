import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lxml import etree

from gateway.domain.tree import Node, NodeKind
from gateway.simulation.figures import figures
from gateway.simulation.picture import scenario_picture
from gateway.simulation.play import Played
from gateway.simulation.writing import FILES, write
from tests.unit.gateway.simulation.small_scenario import small
from tests.unit.gateway.simulation.test_figures import event, played, recording


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def folder(small_played: Played, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("written") / "new"
    write(out, small_played, figures(small_played))
    return out


def test_every_file_is_there(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == set(FILES)


def test_power_is_a_row_a_control_step_from_zero_in_numbers_or_nothing(folder: Path) -> None:
    head, *rows = rows_of(folder / "power.csv")
    assert head == ["time_s", "site_w", "target_w", "baseline_w", "counterfactual_w", "mode"]
    assert [float(row[0]) for row in rows] == list(range(240))
    assert all(cell == "" or float(cell) > 0.0 for row in rows for cell in row[1:5])
    assert all(row[1] and row[4] for row in rows)
    assert [bool(row[2]) for row in rows] == [bool(row[3]) for row in rows]
    assert [row[5] for row in rows[65:70]] == ["follow"] * 5
    assert {row[5] for row in rows} == {"idle", "follow"}


def test_jobs_keep_the_mean_throughput_of_every_ten_seconds(folder: Path, small_played: Played) -> None:
    head, *rows = rows_of(folder / "jobs.csv")
    assert head == ["time_s", "job_id", "tier", "throughput", "cap_w", "state"]
    assert {(row[1], row[2]) for row in rows} == {("chat", "flex1"), ("train", "flex3")}
    trained = [float(row[3]) for row in rows if row[1] == "train"]
    assert len(trained) == 24
    assert sum(trained) * 10 == pytest.approx(small_played.recording.work_s[:, 1].sum(), abs=0.01)
    assert min(float(row[4]) for row in rows) < 400.0


def test_the_summary_has_each_reference_and_the_optimum(folder: Path) -> None:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    (found,) = summary["events"]
    assert summary["starts_at"] == "2026-07-15T22:00:00Z"
    for reference in ("live_baseline", "counterfactual"):
        assert found[reference]["delivered_fraction"] == pytest.approx(0.25, abs=0.01)
    assert found["settlement"]["rule"] == "meter-before-after"
    assert float(found["settlement"]["delivered_kwh"]) == pytest.approx(found["settlement"]["asked_kwh"], rel=0.1)
    # Nobody does better than one who knows all; the first seconds over the target count for us.
    assert found["throughput"]["weighted"] <= found["throughput"]["optimum"] + 0.005
    assert found["throughput"]["tier_violations"] == []
    assert summary["writes"]["cap_commands"] > 0
    assert found["oscillation"]["amplitude_fraction"] < 0.01
    assert summary["contract"] is None
    assert (summary["nodes"], summary["meter_faults"]) == ([], [])


def test_the_picture_is_svg_and_names_the_event(folder: Path) -> None:
    root = etree.parse(folder / "power.svg").getroot()
    text = "".join(root.itertext())
    assert etree.QName(root).localname == "svg"
    assert "A quarter less for a minute and a half" in text
    assert "now: asked 25.00%" in text
    assert "flex3" in text


def test_where_the_clock_jumped_a_row_is_empty(tmp_path: Path) -> None:
    time_s = recording().time_s.copy()
    time_s[600:] += 5000.0
    one = played(recording(time_s=time_s), event(ends_s=600.0, recovered_s=600.0, hold=(300.0, 600.0)))
    write(tmp_path, one, figures(one, with_optimum=False))
    rows = rows_of(tmp_path / "power.csv")[1:]
    assert rows[600] == ["600", "", "", "", "", ""]
    assert [row[0] for row in rows[599:602]] == ["599", "600", "5600"]


CONTRACT = {"calls_per_season": 3, "hours_per_season": 2.0, "rest_s": 3600}


def test_a_contract_is_held_against_what_was_delivered_and_says_what_is_left(tmp_path: Path) -> None:
    for committed_kw, met in ((0.19, 1), (0.21, 0)):
        committed = replace(
            played(recording()),
            scenario=small(program={"contract": {"committed_kw": committed_kw, **CONTRACT}}),
            refused=(("sooner", "outside the contract: it rests"),),
            unanswered=("never",),
        )
        written = write(tmp_path, committed, figures(committed, with_optimum=False))
        contract = written.summary["contract"]
        assert (contract["events"], contract["events_met"], contract["paid"]) == (3, met, "0")
        assert (contract["calls_made"], contract["hours_used"]) == (1, pytest.approx(1 / 6))
        (call,) = contract["calls"]
        assert (call["calls_left"], call["hours_left"]) == (2, pytest.approx(2.0 - 1 / 6))
        assert (call["rested_h"], call["rests_until"]) == (None, "2026-07-15T23:15:00Z")
        assert contract["refused"] == written.summary["events_refused"] == {"sooner": "outside the contract: it rests"}
        assert "nothing came of it" in written.in_words()
        assert "event sooner: refused, outside the contract: it rests" in written.in_words()


def drawn(one: Played) -> str:
    return scenario_picture(one, figures(one, with_optimum=False))


def test_the_picture_shows_what_control_stood_on_where_it_was_not_the_meter() -> None:
    modes = ("follow",) * 400 + ("coast",) * 30 + ("hold",) * 100 + ("",) * 20 + ("follow",) * 650
    svg = drawn(played(recording(modes=modes)))
    for words in ("coast: no meter for a moment", "hold: the last caps stay", "no gateway runs"):
        assert words in svg
    assert "blind" not in svg
    assert "coast" not in drawn(played(recording()))


def test_the_picture_tells_of_the_tree_and_of_what_was_refused() -> None:
    rack = Node(node_id="r1", kind=NodeKind.RACK, parent_id="site", limit_w=500.0)
    feed = Node(node_id="f1", kind=NodeKind.FEED, parent_id="site", limit_w=2000.0)
    drawn_w = np.full((1200, 2), 480.0)
    one = played(recording(nodes=(rack, feed), node_w=drawn_w, node_most_w=drawn_w))
    svg = drawn(replace(one, refused=(("sooner", "outside the contract"),)))
    assert "2 nodes of the electrical tree have a limit, and 0 s were over one." in svg
    assert "Nearest to it came rack r1: 0.48 of 0.5 kW." in svg
    assert "sooner: refused, outside the contract." in svg
