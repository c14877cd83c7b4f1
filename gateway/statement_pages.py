"""Pages of statements, joined: what is read from the record, and what writes the reports behind their links."""

from gateway.domain.report.document import Report
from gateway.domain.report.material import StatementMaterial
from gateway.domain.settlement import SettlementStatement
from gateway.evidence_store import EvidenceStore
from gateway.http.statements import CHART, NothingToWrite, NotInstalled, StatementPages
from gateway.reports import Form, ReportsMissing, written
from gateway.reports.chart import chart_svg
from gateway.services.assuring import AssuranceSources
from gateway.services.statement_material import material_of


def statement_pages(sources: AssuranceSources, evidence: EvidenceStore | None = None) -> StatementPages:
    """Pages of the site's statements."""

    async def gather(statement: SettlementStatement) -> StatementMaterial:
        return await material_of(sources.ledger, statement, sources, evidence)

    return StatementPages(gather=gather, write=written_report)


def written_report(report: Report, form: str) -> bytes:
    """A report, or its chart alone as ``svg``. Raises ``NotInstalled`` and ``NothingToWrite``."""
    if form == CHART:
        drawn = chart_svg(report)
        if drawn is None:
            raise NothingToWrite("There is nothing to draw: no interval is settled.")
        return drawn.encode()
    try:
        return written(report, Form(form))
    except ReportsMissing as cause:
        raise NotInstalled(str(cause)) from cause
    except ValueError as cause:
        raise NothingToWrite(str(cause)) from cause
