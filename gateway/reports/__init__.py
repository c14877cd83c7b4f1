"""Reports as files: PDF, XLSX, CSV, JSON and Parquet. Each form is a module that loads what it needs when it is asked.

Every form is the same to the byte for the same report and the same versions of what writes it. Nothing is fetched.
"""

from collections.abc import Callable
from enum import StrEnum
from importlib import import_module

from gateway.domain.report.document import Report

__all__ = ["Form", "ReportsMissing", "written"]


class Form(StrEnum):
    """What a report can be written as."""

    PDF = "pdf"
    XLSX = "xlsx"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class ReportsMissing(Exception):
    """What writes this form is not installed; the text says how to get it."""


def written(report: Report, form: Form) -> bytes:
    """The report in that form. Raises ``ReportsMissing``, and ``ValueError`` where the form cannot hold it."""
    try:
        module = import_module(f"gateway.reports.{_MODULES[form]}")
    except ModuleNotFoundError as cause:
        raise ReportsMissing(
            f"{cause.name} is not installed, a report as {form.value} needs it: pip install gridgate[reports]"
        ) from cause
    write: Callable[[Report], bytes] = module.write
    return write(report)


_MODULES = {
    Form.PDF: "pdf",
    Form.XLSX: "workbook",
    Form.CSV: "comma_separated",
    Form.JSON: "canonical",
    Form.PARQUET: "columns",
}
