"""opendsm's uncertainty (ASHRAE Guideline 14) as a second opinion on ours, on the building's real event.

Both are given the same errors of the same rule on the same placebo days. They differ, and are meant to:

* opendsm has no baseline of day matching, and its own models need about 365 days and temperatures: this history of 57
  days is disqualified, and its hourly model does not fit to it. Its formula for the uncertainty applies all the same.
* Its formula takes errors as normal and as a chain of lag 1, and hours of different days as neighbours in that chain;
  ours takes whole days and no distribution. At this building its margin at nine in ten is 10.2 kWh, ours 4.2 kWh.
* It is symmetric around the reduction and knows no bias of the rule; ours moves with it.
* Its fraction (FSU) has no value where the reduction is zero or negative. Ours has a bound there as everywhere.
"""

import csv
import json
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.assurance.inputs import AssuranceInputs, answer, reduction_wh
from gateway.domain.assurance.placebo import bound, placebo
from gateway.domain.baseline.result import Baseline
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.measurement import IntervalEnergy
from tests.openadr3_vtn import peer_python

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

PACIFIC = ZoneInfo("America/Los_Angeles")
START = datetime(2013, 9, 23, 14, tzinfo=PACIFIC)


@pytest.fixture(scope="module")
def inputs(shared: Path) -> AssuranceInputs:
    with (shared / "data/load/test_kw.csv").open(newline="") as file:
        history = tuple(
            IntervalEnergy(
                starts_at=datetime.fromisoformat(at).replace(tzinfo=PACIFIC).astimezone(UTC),
                duration_s=900.0,
                energy_wh=float(text) * 250.0,
                coverage_fraction=1.0,
            )
            for at, text in csv.reader(file)
            if text != "nan"
        )
    return AssuranceInputs(
        rule=shipped_rules()["caiso-10-in-10"],
        history=history,
        event_start=START,
        event_end=START + timedelta(hours=2),
        timezone=PACIFIC,
    )


def hours(measured_w: Sequence[float], errors_w: Sequence[float]) -> list[dict[str, float]]:
    """Kilowatt-hours of each hour of four quarters, as opendsm names them."""
    return [
        {
            "observed": sum(measured_w[at : at + 4]) / 4_000,
            "predicted": (sum(measured_w[at : at + 4]) + sum(errors_w[at : at + 4])) / 4_000,
        }
        for at in range(0, len(measured_w), 4)
    ]


def test_opendsm_s_margin_beside_ours(inputs: AssuranceInputs):
    days = placebo(inputs).days
    event = answer(inputs, inputs.rule, inputs.event_start, inputs.event_end)
    assert isinstance(event, Baseline)
    measured_w = [interval.measured_w or 0.0 for interval in event.intervals]
    reductions_w = [interval.reduction_w or 0.0 for interval in event.intervals]
    asked = {
        "placebo": [hour for day in days for hour in hours(day.measured_w, day.errors_w)],
        "events": [hours(measured_w, reductions_w), hours(measured_w, [-power_w for power_w in reductions_w])],
    }
    ran = subprocess.run(
        [peer_python("opendsm"), "-P", Path(__file__).with_name("opendsm_uncertainty.py")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    theirs = json.loads(ran.stdout)
    saved, negative = theirs["events"]
    settled_wh = reduction_wh(event, inputs.event_start, inputs.event_end)
    assert saved["savings"] == pytest.approx(settled_wh / 1000, rel=1e-9)
    # Its formula, worked here from its own statistics: m = 2 hours of the event.
    n, n_prime = theirs["n"], theirs["n_prime"]
    predicted_kwh = sum(hour["predicted"] for hour in asked["events"][0])
    formula = 1.26 * saved["t"] * theirs["cvrmse_adj"] * predicted_kwh * ((n / n_prime) * (1 + 2 / n_prime) / 2) ** 0.5
    assert saved["uncertainty"] == pytest.approx(formula, rel=1e-6)
    assert saved["fsu"] == pytest.approx(saved["uncertainty"] / saved["savings"], rel=1e-9)
    ours = bound(settled_wh, [day.error_wh for day in days], 0.9)
    assert ours.value is not None
    margin_kwh = (settled_wh - ours.value) / 1000
    assert margin_kwh == pytest.approx(4.2, abs=0.05)
    assert saved["uncertainty"] == pytest.approx(10.2, abs=0.05)
    assert negative["fsu"] is None
    assert bound(-settled_wh, [day.error_wh for day in days], 0.9).value is not None
