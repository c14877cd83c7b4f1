"""Planning in this very process: virtual time waits for it, and a busy machine plays no other event."""

from gateway.domain.curtailment.planning import GAP
from gateway.domain.curtailment.problem import CurtailmentProblem
from gateway.domain.curtailment.schedule import CurtailmentSchedule

PATIENCE_S = 60.0
"""The solver may take so long; it is never told of the time that has passed, so that it does the same each time."""


class PlanHere:
    """The best schedule, by the same optimisation that the gateway has done in a process of its own."""

    async def plan(self, problem: CurtailmentProblem) -> CurtailmentSchedule:
        """The schedule for a problem."""
        from gateway.domain.curtailment.optimising import plan_by_optimisation  # noqa: PLC0415 - loads the solver

        return plan_by_optimisation(problem, left_s=lambda: PATIENCE_S, gap=GAP)
