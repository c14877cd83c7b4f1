"""How long a statement takes as a PDF, beside an empty document by the same typesetter.

    python tests/benchmarks/statement_report.py [RUNS]

The bound is 1 s for a statement as it comes: 3 hours in quarters of an hour, 45 days looked at, 800 caps. A week in
quarters of an hour, which is the longest table, is printed beside it. Each is the median of RUNS (5) after one that
loads and warms up, whose time is printed as well. The script fails where the bound does not hold.
"""

import statistics
import sys
from collections.abc import Callable
from time import perf_counter

from gateway.domain.report.statement import report_of
from gateway.reports import Form, written
from tests.statement_material import material

BOUND_S = 1.0
WEEK_QUARTERS = 7 * 24 * 4


def timed_s(work: Callable[[], object]) -> float:
    begun_s = perf_counter()
    work()
    return perf_counter() - begun_s


def main(runs: int) -> int:
    usual, week = material(actions=800), material(actions=800, quarters=WEEK_QUARTERS)
    first_s = timed_s(lambda: written(report_of(usual), Form.PDF))

    import typst

    def median_s(work: Callable[[], object]) -> float:
        return statistics.median(timed_s(work) for _ in range(runs))

    empty_s = median_s(lambda: typst.compile(b"", format="pdf", ignore_system_fonts=True))
    usual_s = median_s(lambda: written(report_of(usual), Form.PDF))
    week_s = median_s(lambda: written(report_of(week), Form.PDF))
    print(f"first PDF of the process      {first_s:.3f} s (bound {BOUND_S:g} s)")
    print(f"statement of 3 h              {usual_s:.3f} s, {usual_s / empty_s:.0f} times an empty document")
    print(f"statement of a week           {week_s:.3f} s, {week_s / empty_s:.0f} times an empty document")
    for form in (Form.XLSX, Form.CSV, Form.JSON, Form.PARQUET):
        spent_s = median_s(lambda form=form: written(report_of(usual), form))
        print(f"the same as {form.value:<8}          {spent_s:.3f} s, {spent_s / empty_s:.1f} times an empty document")
    return 0 if max(first_s, usual_s) <= BOUND_S else 1


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
