"""Plan a curtailment without the solver."""

from gateway.domain.curtailment.certainty import certainty
from gateway.domain.curtailment.choice import worth
from gateway.domain.curtailment.heuristic import heuristic
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.curtailment.problem import CurtailmentProblem
from gateway.domain.curtailment.schedule import CurtailmentSchedule, MadeBy, schedule

GAP = 0.005
"""How far from the best a schedule may be and still be called so."""


def plan_by_heuristic(problem: CurtailmentProblem, *, gap: float = GAP) -> CurtailmentSchedule:
    """The schedule of the heuristic, with a bound from its own prices."""
    prepared = Prepared(problem)
    found = heuristic(prepared)
    proven = certainty(prepared, worth(prepared, found.choice), bound=found.bound, prices=found.prices)
    return schedule(
        prepared,
        found.choice,
        made_by=MadeBy.HEURISTIC,
        bound=found.bound,
        gap=gap,
        proven=proven,
        of_heuristic=proven,
    )
