"""Plans a curtailment in a process of its own, within a time that holds whatever the solver does.

A solver may hang, crash or eat all memory: it is native code. Its process is killed at the deadline, and the heuristic
stands in.
"""

import asyncio
import pickle
import sys
from collections.abc import Sequence

import structlog

from gateway.domain.curtailment.planning import GAP, plan_by_heuristic
from gateway.domain.curtailment.problem import CurtailmentProblem
from gateway.domain.curtailment.schedule import CurtailmentSchedule

log = structlog.get_logger()

LIMIT_S = 8.0
"""How long a plan may take."""

START_S = 1.5
"""Of that the process keeps so much for its start, for what the solver takes over its limit, and for its answer."""

WORKER = (sys.executable, "-m", "gateway.services.planning_worker")


class Planner:
    """``command`` starts a process that reads a pickled ``(problem, gap, limit_s)`` and writes a pickled schedule."""

    def __init__(self, *, limit_s: float = LIMIT_S, gap: float = GAP, command: Sequence[str] = WORKER) -> None:
        self._limit_s = limit_s
        self._gap = gap
        self._command = tuple(command)

    async def plan(self, problem: CurtailmentProblem) -> CurtailmentSchedule:
        """The best schedule that is found in time, else the heuristic's."""
        try:
            answer = await asyncio.wait_for(self._ask(problem), self._limit_s)
        except (TimeoutError, OSError) as fault:
            answer = None
            trouble = "it did not answer in time" if isinstance(fault, TimeoutError) else str(fault)
            log.warning("planned_by_heuristic", reason=trouble, limit_s=self._limit_s)
        if answer is None:
            return await asyncio.to_thread(plan_by_heuristic, problem, gap=self._gap)
        return answer

    async def _ask(self, problem: CurtailmentProblem) -> CurtailmentSchedule | None:
        request = pickle.dumps((problem, self._gap, max(0.0, self._limit_s - START_S)))
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            answered, said = await process.communicate(request)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            log.warning("planned_by_heuristic", reason=last or f"the solver ended with {process.returncode}")
            return None
        schedule: CurtailmentSchedule = pickle.loads(answered)  # noqa: S301 - from our own child, by a pipe
        return schedule
