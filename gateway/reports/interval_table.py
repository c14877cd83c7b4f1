"""The table of intervals of a report, for forms that hold one table."""

from gateway.domain.report.document import Report, Table

NAME = "intervals"


def interval_table(report: Report) -> Table:
    """Raises ``ValueError`` where the report has no interval."""
    found = next((table for table in report.tables if table.name == NAME), None)
    if found is None:
        raise ValueError(
            f"{report.report_id} has no settled interval, there is nothing to put into rows: take pdf, xlsx or json"
        )
    return found
