"""Plan a curtailment by optimisation.

Whoever imports this loads the solver.
"""

from collections.abc import Callable

from gateway.domain.curtailment.certainty import certainty
from gateway.domain.curtailment.choice import worth
from gateway.domain.curtailment.heuristic import heuristic
from gateway.domain.curtailment.milp import solve
from gateway.domain.curtailment.planning import GAP
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.curtailment.problem import CurtailmentProblem
from gateway.domain.curtailment.schedule import CurtailmentSchedule, MadeBy, schedule


def plan_by_optimisation(
    problem: CurtailmentProblem, *, left_s: Callable[[], float], gap: float = GAP
) -> CurtailmentSchedule:
    """The best schedule within ``gap``, or the best found by when ``left_s`` gives no more seconds.

    It is never worse than the heuristic's, and the same problem gives the same schedule as long as the time suffices.
    """
    prepared = Prepared(problem)
    start = heuristic(prepared)
    found = solve(prepared, start=start, gap=gap, left_s=left_s)
    proven, of_heuristic = (
        certainty(prepared, worth(prepared, choice), bound=found.bound, prices=found.prices)
        for choice in (found.choice, start.choice)
    )
    return schedule(
        prepared,
        found.choice,
        made_by=MadeBy.MILP if found.improved else MadeBy.HEURISTIC,
        bound=found.bound,
        gap=gap,
        proven=proven,
        of_heuristic=of_heuristic,
    )
