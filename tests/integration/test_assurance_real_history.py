"""An assessment over real history: a building's event and its placebo days, and a 256-GPU cluster in a real event."""

import csv
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.domain.assurance.assure import Assurance, assure
from gateway.domain.assurance.certificate import certify
from gateway.domain.assurance.inputs import AssuranceInputs, WorkKept
from gateway.domain.assurance.placebo import placebo
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.measurement import IntervalEnergy

PACIFIC = ZoneInfo("America/Los_Angeles")
START = datetime(2013, 9, 23, 14, tzinfo=PACIFIC)
END = START + timedelta(hours=2)


@pytest.fixture(scope="module")
def building(shared: Path) -> tuple[IntervalEnergy, ...]:
    with (shared / "data/load/test_kw.csv").open(newline="") as file:
        return tuple(
            IntervalEnergy(
                starts_at=datetime.fromisoformat(at).replace(tzinfo=PACIFIC).astimezone(UTC),
                duration_s=900.0,
                energy_wh=float(text) * 250.0,
                coverage_fraction=1.0,
            )
            for at, text in csv.reader(file)
            if text != "nan"
        )


@pytest.fixture(scope="module")
def cluster(shared: Path) -> tuple[IntervalEnergy, ...]:
    with (shared / "data/gpu/emerald/SRP_total_power.csv").open(newline="") as file:
        return tuple(
            IntervalEnergy(
                starts_at=datetime.fromisoformat(row["timestamp"]).astimezone(UTC),
                duration_s=60.0,
                energy_wh=float(row["total"]) / 60.0,
                coverage_fraction=1.0,
            )
            for row in csv.DictReader(file)
        )


def of(history: tuple[IntervalEnergy, ...], rule: str) -> AssuranceInputs:
    return AssuranceInputs(
        rule=shipped_rules()[rule],
        history=history,
        event_start=START,
        event_end=END,
        timezone=PACIFIC,
        other_rules=tuple(shipped_rules().values()),
    )


# The worked figures were made before this product existed, over 19 days of which only the number is known. Held against
# them are all days of the history on which the rule finds all the days that it wants (none, for a meter before), so
# that the figures differ: by 0.1 points for CAISO's, by up to 2.5 where a rule can be asked on many more days.
@pytest.mark.parametrize(
    ("rule", "full_days", "days", "worked"),
    [
        ("caiso-10-in-10", 10, 21, (-0.019, 0.138)),
        ("10-of-10", 10, 22, (-0.013, 0.191)),
        ("pjm-3-day-types-saa", 4, 27, (0.013, 0.151)),
        ("meter-before-after", 0, 33, (-0.026, 0.148)),
    ],
)
def test_the_placebo_figures_of_the_building(
    building: tuple[IntervalEnergy, ...], rule: str, full_days: int, days: int, worked: tuple[float, float]
):
    wanted = [date(2013, 8, 1) + timedelta(days=n) for n in range(57)]
    found = [day for day in placebo(of(building, rule), wanted).days if day.baseline_days >= full_days]
    certificate = certify(found)
    assert len(found) == days
    assert (certificate.bias_fraction, certificate.rrmse_fraction) == pytest.approx(worked, abs=0.025)
    if rule == "caiso-10-in-10":
        assert certificate.bias_fraction == pytest.approx(-0.0181, abs=5e-5)
        assert certificate.rrmse_fraction == pytest.approx(0.1389, abs=5e-5)


def test_the_building_s_event_is_worth_less_than_it_looks(building: tuple[IntervalEnergy, ...]):
    found = assure(of(building, "caiso-10-in-10"))
    assert isinstance(found, Assurance)
    assert found.reduction_wh == pytest.approx(3_347, abs=0.5)
    assert (found.p90.days, found.p90.rank) == (23, 22)
    assert found.p90.value is not None
    assert found.p90.value < 0 < found.reduction_wh  # one event at this site proves no reduction at nine in ten
    assert found.certificate.within_pjm is True
    # The range of the worked example: Same Day 3+2 credits -5.22 kWh there, here -7.28, its hours being read otherwise.
    assert found.sensitivity.lowest_wh is not None
    assert found.sensitivity.lowest_wh < -5_000
    assert found.sensitivity.highest_wh == pytest.approx(7_700, abs=20)


@pytest.mark.parametrize(
    # Against the hour before the ramp: with the 20 minutes of its recovery, and from half an hour after the end on.
    ("ended_min", "after_h", "of_before"),
    [(0, 2.0, 0.913), (30, 1.0, 0.965)],
)
def test_the_cluster_s_power_did_not_overshoot(
    cluster: tuple[IntervalEnergy, ...], ended_min: int, after_h: float, of_before: float
):
    start = datetime.fromisoformat("2025-05-04T16:15-07:00")
    found = assure(
        AssuranceInputs(
            rule=shipped_rules()["meter-before-after"],
            history=cluster,
            event_start=start,
            event_end=start + timedelta(hours=3, minutes=ended_min),
            ramp_start=start - timedelta(minutes=15),
            timezone=ZoneInfo("America/Phoenix"),
            work=(WorkKept(job_id="finetune", gpus=256, lost_s=900.0),),
            after_h=after_h,
        )
    )
    assert isinstance(found, Assurance)
    assert found.rebound.finding == "power did not overshoot, 64.0 GPU-hours of work were deferred"
    assert found.rebound.of_before_fraction == pytest.approx(of_before, abs=5e-4)
    assert (found.p90.value, found.p90.days, found.p90.days_needed) == (None, 0, 9)


def test_the_command_tells_it_on_one_screen(shared: Path, tmp_path: Path):
    readings = tmp_path / "building.csv"
    readings.write_text("timestamp,kw\n" + (shared / "data/load/test_kw.csv").read_text())
    call = (
        *("verification", "assess", "caiso-10-in-10", "--readings", str(readings)),
        *("--event", "2013-09-23T14:00/2013-09-23T16:00", "--timezone", "America/Los_Angeles"),
    )
    told = CliRunner().invoke(app, list(call))
    assert told.exit_code == 0
    assert "reduction +3.347 kWh (signed)" in told.stdout
    assert "error 22 of 23" in told.stdout
    assert len(told.stdout.splitlines()) <= 24
    found = json.loads(CliRunner().invoke(app, [*call, "--json"]).stdout)
    assert found["certificate"]["days"] == 23
    early = CliRunner().invoke(app, [*call[:6], "2013-08-05T14:00/2013-08-05T16:00", *call[7:], "--json"])
    assert early.exit_code == 1
    assert "the rule needs at least 5" in json.loads(early.stdout)["insufficient"]
    assert CliRunner().invoke(app, ["verification", "assess", "caiso", *call[3:]]).exit_code == 2
