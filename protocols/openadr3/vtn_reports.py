"""What VENs report to a VTN, on its way into the record: as it came, and in neutral form.

3.1 has no answer to an event. What a VEN reports on one says what it does: OPERATING_STATE with a state that has opted
out is *out*, any other report is *in*; the last one counts, and who has reported nothing has not answered.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

import structlog

from protocols.grid import Direction, IntervalReport, Opt, OptDecision, PartyStore, RawMessage, Refusal
from protocols.openadr3 import model
from protocols.openadr3.model import Held
from protocols.openadr3.names import Version
from protocols.openadr3.neutral_event import revision_of
from protocols.openadr3.neutral_report import read_report
from protocols.openadr3.timing import Contradiction
from protocols.openadr3.vtn_access import Caller
from protocols.openadr3.vtn_objects import VtnObjects, id_of

_OPTED_OUT = frozenset({"IDLE_OPTED_OUT", "RUNNING_OPTED_OUT"})

log = structlog.get_logger()


class VtnReports:
    """Reports of one VTN's VENs."""

    def __init__(
        self, *, connection_id: str, store: PartyStore, objects: VtnObjects, now: Callable[[], datetime]
    ) -> None:
        self._connection_id = connection_id
        self._store = store
        self._objects = objects
        self._now = now

    async def record(self, body: bytes) -> None:
        """Keep a report as it came."""
        await self._store.record_message(
            RawMessage(
                connection_id=self._connection_id,
                direction=Direction.IN,
                at=self._now(),
                name="Report",
                body=body,
                sha256=sha256(body).hexdigest(),
            )
        )

    async def take(self, value: Held, caller: Caller) -> None:
        """Keep what a report says in neutral terms; other objects say nothing here."""
        if not isinstance(value, model.Report):
            return
        event = self._objects.one(model.Event, value.event_id)
        party_id = self._party_id(caller)
        for item in self._read(value, event):
            await self._store.save_received_report(party_id, replace(item, report_id=_report_id(value, item)))
        await self._store.save_answer(party_id, await self._answer(value, event))

    def _party_id(self, caller: Caller) -> str:
        """The client's first ven; a client may report before it has one."""
        vens = (ven for ven in self._objects.all(model.Ven) if ven.client_id == caller.client_id)
        return next((id_of(ven) for ven in vens), caller.client_id)

    def _read(self, report: model.Report, event: model.Event | None) -> tuple[IntervalReport, ...]:
        try:
            return read_report(
                report,
                connection_id=self._connection_id,
                event=event,
                version=Version.V3_1,
                received_at=self._now(),
            )
        except Contradiction as fault:
            log.warning("a report that we cannot use", report_id=id_of(report), reason=str(fault))
            return ()

    async def _answer(self, report: model.Report, event: model.Event | None) -> OptDecision:
        issued = await self._store.issued_events(self._connection_id)
        ours = next((item.revision for item in issued if item.event_id == report.event_id), None)
        others = 0 if event is None else revision_of(event)
        states = {
            value
            for resource in report.resources
            for interval in resource.intervals
            for payload in interval.payloads
            if payload.type == "OPERATING_STATE"
            for value in payload.values
        }
        out = not _OPTED_OUT.isdisjoint(states)
        return OptDecision(
            connection_id=self._connection_id,
            event_id=report.event_id,
            revision=others if ours is None else ours,
            opt=Opt.OUT if out else Opt.IN,
            decided_at=self._now(),
            refusal=Refusal.OPERATOR if out else None,
            detail="reported as opted out" if out else "reported on the event",
        )


def _report_id(report: model.Report, item: IntervalReport) -> str:
    """A changed report has an id of its own, since one that is delivered again counts once."""
    held = report.metadata
    changed = held is not None and held.modified_at != held.created_at
    return f"{item.report_id}@{item.created_at.isoformat()}" if changed else item.report_id
