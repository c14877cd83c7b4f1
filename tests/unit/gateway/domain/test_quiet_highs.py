"""The solver as all of a process share it."""

import highspy
import pytest

from gateway.domain.quiet_highs import quiet_highs


def test_it_runs_in_one_thread_says_nothing_and_leaves_the_next_free_to_run(capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        solver = quiet_highs()
        solver.addVar(0.0, 1.0)
        solver.changeColCost(0, -1.0)
        assert solver.run() == highspy.HighsStatus.kOk
        assert solver.getInfo().objective_function_value == -1.0
        assert solver.getOptionValue("threads")[1] == 1
    assert capfd.readouterr() == ("", "")
