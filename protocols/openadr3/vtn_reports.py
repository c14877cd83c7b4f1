"""What VENs report to a VTN, on its way into the record: as it came, and in neutral form.

3.1 has no answer to an event. Who has read one, as it is now, takes part in it, until it reports otherwise:
OPERATING_STATE with a state that has opted out is *out*, with any other *in* again. Reports of other things only say
that it was read.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

import structlog

from protocols.grid import Opt, OptDecision, Refusal
from protocols.grid_report import IntervalReport
from protocols.openadr3 import model
from protocols.openadr3.model import Held
from protocols.openadr3.names import Version
from protocols.openadr3.neutral_event import revision_of
from protocols.openadr3.neutral_report import read_report
from protocols.openadr3.timing import Contradiction
from protocols.openadr3.vtn_access import Caller, Role
from protocols.openadr3.vtn_objects import VtnObjects, id_of
from protocols.party_store import Direction, PartyStore, RawMessage

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
        self._heard: set[tuple[str, str, int]] = set()

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
        await self._answered(party_id, value.event_id, event, _opt_in(value))

    async def heard(self, values: Sequence[Held], caller: Caller) -> None:
        """Note which of our own events a VEN has read, and as of which revision: once each."""
        if caller.role is not Role.VEN:
            return
        party_id = self._party_id(caller)
        for value in values:
            if isinstance(value, model.Event):
                key = (party_id, id_of(value), revision_of(value))
                if key not in self._heard:
                    await self._answered(party_id, id_of(value), value, None)
                    self._heard.add(key)

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

    async def _answered(self, party_id: str, event_id: str, event: model.Event | None, opt: Opt | None) -> None:
        """Keep what is known of a party's part in an event; without ``opt`` what it said before stands."""
        if opt is None:
            known = dict(await self._store.answers(self._connection_id, event_id)).get(party_id)
            opt = Opt.IN if known is None else known.opt
        issued = await self._store.issued_events(self._connection_id)
        ours = next((item.revision for item in issued if item.event_id == event_id), None)
        others = 0 if event is None else revision_of(event)
        decision = OptDecision(
            connection_id=self._connection_id,
            event_id=event_id,
            revision=others if ours is None else ours,
            opt=opt,
            decided_at=self._now(),
            refusal=Refusal.OPERATOR if opt is Opt.OUT else None,
            detail="reported as opted out" if opt is Opt.OUT else "read, and not opted out of",
        )
        await self._store.save_answer(party_id, decision)


def _opt_in(report: model.Report) -> Opt | None:
    """What a report says of the part that its VEN takes, ``None`` where it says nothing."""
    states = {
        value
        for resource in report.resources
        for interval in resource.intervals
        for payload in interval.payloads
        if payload.type == "OPERATING_STATE"
        for value in payload.values
    }
    if not states:
        return None
    return Opt.IN if _OPTED_OUT.isdisjoint(states) else Opt.OUT


def _report_id(report: model.Report, item: IntervalReport) -> str:
    """A changed report has an id of its own, since one that is delivered again counts once."""
    held = report.metadata
    changed = held is not None and held.modified_at != held.created_at
    return f"{item.report_id}@{item.created_at.isoformat()}" if changed else item.report_id
