"""The planner's process: what it answers, and what stands in when it hangs or dies."""

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.domain.curtailment.optimising import plan_by_optimisation
from gateway.domain.curtailment.planning import plan_by_heuristic
from gateway.domain.curtailment.problem import CurtailmentInterval, CurtailmentJob, CurtailmentProblem
from gateway.domain.curtailment.schedule import MadeBy, Status
from gateway.services.planner import Planner
from hardware.job import CurvePoint

CURVE = (
    CurvePoint(cap_w=100.0, power_w=100.0, throughput=0.2),
    CurvePoint(cap_w=200.0, power_w=200.0, throughput=0.8),
    CurvePoint(cap_w=400.0, power_w=400.0, throughput=1.0),
)
# Each mean can only be kept by giving more in the intervals in which more may be drawn.
PROBLEM = CurtailmentProblem(
    starts_at=datetime(2026, 7, 1, 16, tzinfo=UTC),
    intervals=tuple(CurtailmentInterval(duration_s=600.0, target_w=watts) for watts in (5000.0, 2700.0, 4600.0)),
    jobs=tuple(
        CurtailmentJob(job_id=name, tier="flex1", weight=weight, devices=8, curve=CURVE, tier_mean=0.8)
        for name, weight in (("a", 1.0), ("b", 2.0))
    ),
)


async def test_the_process_answers_as_the_solver_does_here() -> None:
    found = await Planner(limit_s=60.0, gap=1e-4).plan(PROBLEM)
    assert found == plan_by_optimisation(PROBLEM, gap=1e-4, left_s=lambda: 60.0)
    assert found.status is Status.OPTIMAL
    assert found.gap <= 1e-4


async def test_a_hung_solver_is_killed_and_the_heuristic_stands_in(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    hangs = f"import os, pathlib, time; pathlib.Path({str(told)!r}).write_text(str(os.getpid())); time.sleep(600)"
    began = time.monotonic()
    found = await Planner(limit_s=3.0, command=(sys.executable, "-c", hangs)).plan(PROBLEM)
    assert time.monotonic() - began < 60.0
    assert found == plan_by_heuristic(PROBLEM)
    assert found.made_by is MadeBy.HEURISTIC
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


@pytest.mark.parametrize("command", [(sys.executable, "-c", "import os; os.abort()"), ("/nowhere/at/all",)])
async def test_a_solver_that_dies_or_is_not_there_is_stood_in_for(command: tuple[str, ...]) -> None:
    assert (await Planner(command=command).plan(PROBLEM)).made_by is MadeBy.HEURISTIC
