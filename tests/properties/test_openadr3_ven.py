"""Whatever is lost, late or garbled between a VEN and its VTN of OpenADR 3: in the end both hold the same to be true.

The VTN is the small one of the tests, the ledger a dictionary that takes changes as the gateway's does. Old answers are
given again only within one life of the VEN: an answer belongs to its request, so that only a cache could do it at all.
"""

from dataclasses import replace
from datetime import timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.domain.event import ChangeKind, EventRecord, EventState, changes, state
from protocols.errors import ProtocolError, Unreachable
from protocols.grid import EventBatch
from protocols.grid_report import IntervalReport, ReportInterval
from protocols.openadr3.client_http import Request, Response
from protocols.openadr3.names import Version
from tests.openadr3_server import NOON, SmallVtn, problem
from tests.unit.protocols.openadr3.joined import CANCELLED, HOUR, Pair, event, program

DEMAND = {"payloadType": "DEMAND", "units": "KW", "frequency": 1, "repeat": -1}
FAULTS = ["none", "request lost", "answer lost", "garbled", "refused", "done and refused", "busy", "old answer"]
STEPS = ["create", "change", "cancel", "delete", "delete program", "poll", "poll", "restart", "report", "send"]


class Line:
    """Between the two; each exchange meets the next of ``faults``, and none when these are used up."""

    def __init__(self, vtn: SmallVtn, faults: list[str]) -> None:
        self.vtn = vtn
        self.faults = faults
        self.heard: dict[tuple[str, tuple[tuple[str, str], ...]], list[Response]] = {}

    async def __call__(self, request: Request, _: object) -> Response:
        fault = self.faults.pop(0) if self.faults else "none"
        key = (request.path, request.query)
        if fault == "request lost":
            raise Unreachable("lost")
        if fault == "refused":
            return problem(503, "Not now")
        if fault == "busy":
            return replace(problem(429, "Slowly"), retry_after_s=5.0)
        # Which of our own objects a VTN holds is asked for to tell what was lost: an old answer would say the opposite.
        if fault == "old answer" and request.method == "GET" and request.path != "/reports" and key in self.heard:
            return self.heard[key][-3:][0]
        answer = self.vtn.answer(request)
        if request.method == "GET" and answer.status == 200:
            self.heard.setdefault(key, []).append(answer)
        if fault == "answer lost":
            raise Unreachable("lost")
        if fault == "done and refused":
            return problem(500, "Internal Server Error")
        return replace(answer, body=answer.body[: len(answer.body) // 2]) if fault == "garbled" else answer


class World:
    """Both sides, the ledger and the outbox of ours."""

    def __init__(self, version: Version, faults: list[str]) -> None:
        self.vtn = SmallVtn(None, version)
        self.line = Line(self.vtn, faults)
        self.pair = Pair(self.vtn, exchange=self.line)
        self.program_id = self.vtn.put("programs", program())
        self.known: dict[str, EventRecord] = {}
        self.began: list[tuple[str, int]] = []
        self.outbox: list[IntervalReport] = []
        self.accepted: set[str] = set()

    async def step(self, name: str, which: int) -> None:
        ids = list(self.vtn.objects["events"])
        chosen = ids[which % len(ids)] if ids else None
        self.pair.now += timedelta(seconds=10)
        if name == "create":
            self.vtn.put("events", event(self.program_id, reportDescriptors=[DEMAND]))
        elif name == "restart":
            self.line.heard.clear()
            self.pair.new_ven()
        elif name == "delete program":
            self.vtn.objects["programs"].pop(self.program_id)
            for event_id in ids:
                self.vtn.objects["events"].pop(event_id)
            self.program_id = self.vtn.put("programs", program())
        elif name == "poll":
            await self.poll()
        elif name == "report":
            await self.report()
        elif name == "send":
            await self.send()
        elif chosen is not None:
            self.change(name, chosen, which)

    def change(self, name: str, chosen: str, which: int) -> None:
        if name == "delete":
            self.vtn.objects["events"].pop(chosen)
            return
        more = {"priority": which} if name == "change" else CANCELLED
        self.vtn.put("events", event(self.program_id, reportDescriptors=[DEMAND], **more), chosen)

    async def poll(self) -> None:
        try:
            batch = await self.pair.ven.receive(self.pair.now)
            if batch is not None:
                self.take(batch)
                await self.pair.ven.respond(batch, (), self.pair.now)
        except ProtocolError:
            pass

    def take(self, batch: EventBatch) -> None:
        """As the gateway's ledger does."""
        for change in changes(self.known, batch):
            found, event_id = change.event, change.event.event_id
            before = self.known.get(event_id)
            if change.kind in {ChangeKind.NEW, ChangeKind.MODIFIED}:
                self.began.append((event_id, found.revision))
            if before is None or found.revision > before.event.revision:
                self.known[event_id] = EventRecord(
                    event=found, first_received_at=batch.received_at, received_at=batch.received_at
                )
            if change.kind in {ChangeKind.CANCELLED, ChangeKind.IMPLIED_CANCEL}:
                self.known[event_id] = replace(self.known[event_id], ended_at=batch.received_at)

    async def report(self) -> None:
        for order in await self.pair.ven.orders():
            interval = ReportInterval(
                starts_at=NOON + HOUR, duration_s=3600.0, power_w=1000.0 * len(self.outbox), coverage_fraction=1.0
            )
            self.outbox.append(
                IntervalReport(
                    report_id=f"{order.order_id}-{len(self.accepted) + len(self.outbox)}",
                    order_id=order.order_id,
                    connection_id="utility",
                    resource_id=order.resource_id,
                    created_at=self.pair.now,
                    intervals=(interval,),
                )
            )

    async def send(self) -> None:
        while self.outbox:
            try:
                receipt = await self.pair.ven.send_report(self.outbox[0], self.pair.now)
            except ProtocolError:
                return
            if receipt.accepted:
                self.accepted.add(receipt.report_id)
            self.outbox.pop(0)

    async def settle(self) -> None:
        """The line is good from now on, and the VEN has time to look after its own objects."""
        self.line.faults.clear()
        for after in (HOUR / 30, HOUR / 60, HOUR / 60):
            self.pair.now += after
            await self.poll()
            await self.send()

    def stands(self) -> dict[str, int]:
        """Events that the ledger holds to stand, with their revisions."""
        over = (EventState.CANCELLED, EventState.COMPLETED)
        return {
            event_id: record.event.revision
            for event_id, record in self.known.items()
            if state(record, self.pair.now) not in over
        }


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(Version),
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), max_size=25),
    st.lists(st.sampled_from(FAULTS), max_size=60),
)
@example(Version.V3_1, [("poll", 0), ("create", 0), ("poll", 0), ("poll", 0)], ["none"] * 8 + ["old answer"] * 2)
@example(Version.V3_1, [("create", 0), ("poll", 0), ("report", 0), ("send", 0)], ["none"] * 7 + ["answer lost"])
async def test_both_sides_agree_in_the_end(version: Version, steps: list[tuple[str, int]], faults: list[str]) -> None:
    world = World(version, faults)
    for name, which in steps:
        await world.step(name, which)
    await world.settle()
    asked = {
        held["id"]: held
        for held in world.vtn.held("events")
        if held["intervalPeriod"]["duration"] != CANCELLED["intervalPeriod"]["duration"]
    }
    assert world.stands().keys() == asked.keys()
    assert all(world.known[key].event.rank == held.get("priority") for key, held in asked.items())
    assert len(world.began) == len(set(world.began)), "each revision begins once"
    assert [ven["venName"] for ven in world.vtn.held("vens")] == ["gateway"]
    assert [resource["resourceName"] for resource in world.vtn.held("resources")] == ["site-1"]
    orders = {order.order_id for order in await world.pair.ven.orders()}
    assert orders == {f"{event_id}.0" for event_id in asked}
    assert orders == {order.order_id for order in await world.pair.store.orders("utility")}
    names = [report["reportName"] for report in world.vtn.held("reports")]
    assert not world.outbox
    assert len(names) == len(set(names)), "each report is held once"
    assert world.accepted <= set(names)
