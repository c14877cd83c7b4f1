"""``demo --once`` with a short event: what it leaves behind is whole, adds up, and is the same each time."""

import asyncio
import csv
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from gateway.demo.once import STARTS_AT, Shown, run_once
from gateway.demo.utility import Schedule

SHORT = Schedule(first_s=5.0, notice_s=60.0, duration_s=180.0, again_after_s=None)

Row = tuple[float, float, float | None, float | None]


@dataclass(frozen=True)
class Played:
    """A run: what it returned, and its folder."""

    shown: Shown
    folder: Path

    @property
    def statement(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "statement.json").read_text())
        return found

    @property
    def rows(self) -> list[Row]:
        with (self.folder / "power.csv").open(newline="") as file:
            head, *cells = csv.reader(file)
        assert head == ["time_s", "site_w", "target_w", "baseline_w"]
        numbers = [[None if cell == "" else float(cell) for cell in row] for row in cells]
        for row in numbers:
            assert len(row) == 4
            assert None not in row[:2]
        return [(row[0], row[1], row[2], row[3]) for row in numbers]  # type: ignore[misc]  # not None, as just seen


def play(folder: Path) -> Played:
    return Played(asyncio.run(run_once(folder, schedule=SHORT, afterwards_s=30.0)), folder)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(tmp_path_factory.mktemp("demo"))


def bounds_s(interval: dict[str, Any]) -> tuple[float, float]:
    starts_at = datetime.fromisoformat(interval["starts_at"])
    begins_s = (starts_at - STARTS_AT).total_seconds()
    return begins_s, begins_s + interval["duration_s"]


def test_there_is_one_row_a_control_step_from_zero(played: Played) -> None:
    times_s = [row[0] for row in played.rows]

    assert times_s == [float(step) for step in range(len(times_s))]
    assert times_s[-1] > bounds_s(played.statement["intervals"][-1])[1]


def test_target_and_baseline_stand_exactly_in_the_settled_intervals(played: Played) -> None:
    settled = [bounds_s(interval) for interval in played.statement["intervals"]]

    for time_s, _, target_w, baseline_w in played.rows:
        inside = any(begins_s <= time_s < ends_s for begins_s, ends_s in settled)
        assert (target_w is not None) == inside
        assert (baseline_w is not None) == inside


def test_the_baseline_column_is_the_settlement_baseline(played: Played) -> None:
    for interval in played.statement["intervals"]:
        begins_s, ends_s = bounds_s(interval)
        (baseline_w,) = {row[3] for row in played.rows if begins_s <= row[0] < ends_s}
        assert baseline_w == pytest.approx(3600.0 * interval["baseline_wh"] / interval["duration_s"], abs=0.001)


def test_measured_energy_follows_from_the_rows_each_valid_until_the_next(played: Played) -> None:
    rows = played.rows
    for interval in played.statement["intervals"]:
        begins_s, ends_s = bounds_s(interval)
        energy_ws = 0.0
        for row, following in pairwise(rows):
            energy_ws += row[1] * max(0.0, min(following[0], ends_s) - max(row[0], begins_s))
        # A reading in the file is rounded to a milliwatt.
        assert interval["measured_wh"] == pytest.approx(energy_ws / 3600.0, rel=1e-6)
        assert interval["coverage_fraction"] == 1.0


def test_every_figure_of_the_statement_follows_from_its_intervals(played: Played) -> None:
    statement = played.statement
    intervals = statement["intervals"]

    assert {"statement_id", "event_id", "rule", "currency", "amount", "delivered_kwh", "intervals"} <= set(statement)
    assert statement["rule"] == "caiso-10-in-10"
    assert statement["currency"] == "USD"
    for interval in intervals:
        assert {"starts_at", "duration_s", "baseline_wh", "measured_wh", "delivered_wh"} <= set(interval)
        assert interval["starts_at"].endswith("Z")
        assert interval["delivered_wh"] == pytest.approx(interval["baseline_wh"] - interval["measured_wh"])
    delivered_kwh = Decimal(statement["delivered_kwh"])
    total_kwh = sum(interval["delivered_wh"] for interval in intervals) / 1000
    assert float(delivered_kwh) == pytest.approx(total_kwh, abs=0.0005 + 1e-9)
    cents = (delivered_kwh * Decimal(statement["price_per_kwh"])).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
    assert abs(Decimal(statement["amount"]) - cents) <= Decimal("0.01")
    assert delivered_kwh > 0


def test_the_settled_intervals_are_the_event_without_a_gap(played: Played) -> None:
    bounds = [bounds_s(interval) for interval in played.statement["intervals"]]

    assert bounds[-1][1] - bounds[0][0] == SHORT.duration_s
    assert [ends_s for _, ends_s in bounds[:-1]] == [begins_s for begins_s, _ in bounds[1:]]


def test_the_site_is_at_or_under_its_target_on_average_and_within_one_per_cent(played: Played) -> None:
    # The first five seconds are the caps' way down.
    begins_s = bounds_s(played.statement["intervals"][0])[0] + 5.0
    inside = [row for row in played.rows if row[2] is not None and row[0] >= begins_s]
    mean_w = sum(row[1] for row in inside) / len(inside)
    target_w = sum(row[2] or 0.0 for row in inside) / len(inside)

    assert len(inside) > 100
    assert 0.99 * target_w <= mean_w <= target_w
    assert played.shown.asked_w == pytest.approx(target_w, abs=0.001)


def test_the_way_back_ends_where_the_site_was(played: Played) -> None:
    rows = played.rows
    begins_s, ends_s = bounds_s(played.statement["intervals"][0])[0], bounds_s(played.statement["intervals"][-1])[1]
    before_w = [row[1] for row in rows if row[0] < begins_s]
    after_w = [row[1] for row in rows if row[0] >= ends_s + 5.0]

    assert sum(after_w) / len(after_w) == pytest.approx(sum(before_w) / len(before_w), rel=0.03)


def test_the_picture_is_svg(played: Played) -> None:
    root = etree.parse(played.folder / "power.svg").getroot()

    assert etree.QName(root) == etree.QName("http://www.w3.org/2000/svg", "svg")
    assert played.statement["event_id"] in "".join(root.itertext())


def test_every_file_it_names_is_there_and_its_words_name_the_money(played: Played) -> None:
    words = played.shown.in_words()

    assert all(Path(name).is_file() for name in played.shown.files)
    assert f"{played.statement['amount']} USD" in words


def test_another_run_over_the_first_gives_the_same_figures(played: Played, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(played.folder, again)
    mine = again / "gridgate.db"
    mine.write_text("the user's own record")

    play(again)

    for name in ("power.csv", "statement.json", "power.svg"):
        assert (again / name).read_bytes() == (played.folder / name).read_bytes()
    assert mine.read_text() == "the user's own record"


def test_the_event_starts_when_the_utility_said(played: Played) -> None:
    earliest = STARTS_AT + timedelta(seconds=SHORT.first_s + SHORT.notice_s)
    begins_at = datetime.fromisoformat(played.statement["intervals"][0]["starts_at"])

    assert earliest <= begins_at <= earliest + timedelta(seconds=60)
    assert begins_at.tzinfo == UTC
