"""A statement as a page, with how far it can be trusted, and its reports made when they are asked for."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from aiohttp import web

from gateway.domain.assurance.assure import Assurance, NotAssured
from gateway.domain.report.assured import range_words, verdict_words
from gateway.domain.report.document import Column, Kind, Report, Section, Table, cell_text
from gateway.domain.report.material import StatementMaterial, Topic
from gateway.domain.report.reviewed import meter_words
from gateway.domain.report.statement import report_of
from gateway.domain.settlement import SettlementStatement
from gateway.http.pages import page
from gateway.http.sources import SOURCES, Sources
from gateway.http.words import statement_address

DOWNLOADS = {
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
"""What a statement can be had as, and how each is told to a browser."""

CHART = "svg"

_KEPT = timedelta(minutes=1)
"""A page and the reports behind it are asked for one after another, and rest on one reading of the record."""

_MOST_KEPT = 4


class NotInstalled(Exception):
    """What writes this form is not installed; the text says how to get it."""


class NothingToWrite(Exception):
    """The statement has nothing that this form could hold; the text says what has."""


class StatementPages:
    """What statements are told from, one at a time, since each takes seconds; the last ones are kept for a minute.

    ``gather`` reads all that a report shows. ``write`` makes the file of a form and is called in a thread; it raises
    ``NotInstalled`` and ``NothingToWrite``.
    """

    def __init__(
        self,
        *,
        gather: Callable[[SettlementStatement], Awaitable[StatementMaterial]],
        write: Callable[[Report, str], bytes],
    ) -> None:
        self.write = write
        self._gather = gather
        self._one = asyncio.Lock()
        self._kept: OrderedDict[str, tuple[datetime, StatementMaterial]] = OrderedDict()

    async def material(self, statement: SettlementStatement, now: datetime) -> StatementMaterial:
        """Read anew, or what was read within the last minute. Raises ``LedgerUnavailable``."""
        async with self._one:
            known = self._kept.get(statement.statement_id)
            if known is not None and timedelta() <= now - known[0] < _KEPT:
                return known[1]
            found = await self._gather(statement)
            self._kept[statement.statement_id] = (now, found)
            self._kept.move_to_end(statement.statement_id)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
            return found


PAGES = web.AppKey("STATEMENTS", StatementPages)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TableText:
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int


async def one_statement(request: web.Request) -> web.Response:
    """``GET /statements/{id}``: figures, range, verdict, chart and every section of the report."""
    statement, material = await _asked(request)
    report = report_of(material)
    assured = material.assurance
    return page(
        request,
        "statement.html",
        statement=statement,
        report=report,
        told=_told(material.assurance),
        range=range_words(assured) if isinstance(assured, Assurance) else "not stated",
        verdict=verdict_words(assured) if isinstance(assured, Assurance) else "not taken",
        chart=report.chart,
        intervals=Topic.INTERVALS.value,
        # What stands at the top of the page already.
        passed_over={Topic.RESULT.value, Topic.CHART.value},
        sections=[(section, _tables(section, report)) for section in report.sections],
        number=Kind.NUMBER,
        here=statement_address(statement.statement_id),
        rests_on=meter_words(statement.edition),
        others=[
            (line.statement, statement_address(line.statement.statement_id))
            for line in material.versions
            if line.statement.statement_id != statement.statement_id
        ],
        downloads=tuple(DOWNLOADS),
    )


async def one_report(request: web.Request) -> web.Response:
    """``GET /statements/{id}.{form}``: the report, made now; 501 where what writes it is not installed."""
    form = request.match_info["form"]
    statement, material = await _asked(request)
    report = await asyncio.to_thread(report_of, material)
    try:
        body = await asyncio.to_thread(request.app[PAGES].write, report, form)
    except NotInstalled as missing:
        return page(request, "wrong.html", status=501, code=501, text=str(missing))
    except NothingToWrite as empty:
        return page(request, "wrong.html", status=404, code=404, text=str(empty))
    headers = {"Cache-Control": "no-store"}
    if form == CHART:
        headers["Content-Type"] = "image/svg+xml"
        return web.Response(body=body, headers=headers)
    headers["Content-Type"] = DOWNLOADS[form]
    shown = "inline" if form == "pdf" else "attachment"
    headers["Content-Disposition"] = f"{shown}; filename*=UTF-8''{quote(statement.statement_id, safe='')}.{form}"
    return web.Response(body=body, headers=headers)


async def _asked(request: web.Request) -> tuple[SettlementStatement, StatementMaterial]:
    sources: Sources = request.app[SOURCES]
    if PAGES not in request.app:
        raise web.HTTPNotFound
    statement = await sources.ledger.statement(request.match_info["statement_id"])
    if statement is None:
        raise web.HTTPNotFound
    return statement, await request.app[PAGES].material(statement, sources.now())


def _told(assured: Assurance | NotAssured | None) -> str:
    match assured:
        case Assurance():
            back = assured.rebound
            return f"In the {back.hours:g} hours after: {back.finding}."
        case NotAssured(reason=reason):
            return f"How far it can be trusted cannot be said: {reason}."
        case None:
            return "How far it can be trusted was not worked out."


def _tables(section: Section, report: Report) -> list[_TableText]:
    return [_as_text(table, report) for table in section.tables if table.rows]


def _as_text(table: Table, report: Report) -> _TableText:
    shown = table.rows[: table.most_on_pages]
    return _TableText(
        caption=table.caption,
        columns=table.columns,
        rows=tuple(
            tuple(cell_text(cell, column, report.timezone) for cell, column in zip(row, table.columns, strict=True))
            for row in shown
        ),
        left_out=len(table.rows) - len(shown),
    )
