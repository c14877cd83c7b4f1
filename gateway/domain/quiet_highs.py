"""HiGHS without its greeting. Whoever imports this loads the solver."""

from typing import Any

import highspy


class _Quiet(highspy.Highs):
    """Its callbacks print a banner on standard output, which carries results, before they can be silenced."""

    def enableCallbacks(self) -> None:  # noqa: N802 - the binding's name
        return


def quiet_highs() -> Any:
    """A solver that prints nothing, in one thread. The binding has no annotations.

    All solvers of a process share one scheduler: one that asks for another number of threads than the first would not
    run at all.
    """
    solver = _Quiet()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    return solver
