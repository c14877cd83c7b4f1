"""The process that ``Planner`` starts: one problem in, one schedule out. Only here is the solver loaded."""

import os
import pickle
import sys
import time

from gateway.domain.curtailment.optimising import plan_by_optimisation


def main() -> None:
    """Read a pickled ``(problem, gap, limit_s)``, plan, and write the pickled schedule."""
    # What a library prints belongs to nobody: only the schedule goes where it is read.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    problem, gap, limit_s = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started us, by a pipe
    until_s = time.monotonic() + limit_s
    schedule = plan_by_optimisation(problem, left_s=lambda: until_s - time.monotonic(), gap=gap)
    with answers:
        pickle.dump(schedule, answers)


if __name__ == "__main__":
    main()
