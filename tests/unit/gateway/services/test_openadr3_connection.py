"""The services over a VEN of OpenADR 3: events in, opts and reports out, whatever is down in between."""

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.event import EventState, state
from gateway.domain.operator import CommandKind
from protocols.errors import Unreachable
from protocols.grid import Opt
from protocols.grid_report import ReportOffer
from protocols.openadr3.client_http import Request, Response
from protocols.openadr3.ven import Ven
from tests.openadr3_definition import Definition
from tests.openadr3_server import Json, SmallVtn
from tests.unit.gateway.services.rig import CONNECTION_ID, PROGRAM_ID, STARTS_AT, Rig
from tests.unit.protocols.openadr3.joined import CANCELLED

TELEMETRY = {"payloadType": "DEMAND", "units": "KW", "frequency": 1, "repeat": -1}
STATE = {"payloadType": "OPERATING_STATE"}


@pytest.fixture
def vtn(shared: Path) -> SmallVtn:
    found = SmallVtn(Definition(shared / "data" / "openadr3", "3.1.1"))
    found.now = STARTS_AT - timedelta(minutes=1)
    found.put("programs", {"programName": PROGRAM_ID})
    return found


def ven(rig: Rig, vtn: SmallVtn) -> Ven:
    return Ven(
        connection_id=CONNECTION_ID,
        ven_name="gateway",
        exchange=vtn.exchange,
        store=rig.parties,
        offers=(ReportOffer(resource_id="lab-1", min_sampling_s=1, max_sampling_s=3600),),
        poll_s=2.0,
    )


def event(vtn: SmallVtn, **fields: Any) -> Json:
    """Level 2 for ten minutes, from a minute on."""
    usual = {
        "programID": next(iter(vtn.objects["programs"])),
        "intervalPeriod": {"start": (STARTS_AT + timedelta(minutes=1)).isoformat(), "duration": "PT10M"},
        "intervals": [{"id": 0, "payloads": [{"type": "SIMPLE", "values": [2]}]}],
    }
    return usual | fields


def telemetry(vtn: SmallVtn) -> None:
    """Five seconds' means, for an hour from now on."""
    period = {"start": STARTS_AT.isoformat(), "duration": "PT5S"}
    descriptor = TELEMETRY | {"numIntervals": 2, "frequency": 2}
    vtn.put("events", event(vtn, intervalPeriod=period, intervals=[], reportDescriptors=[descriptor]))


def reported_s(vtn: SmallVtn) -> list[float]:
    """When each interval that was reported begins, in seconds."""
    starts = [
        interval["intervalPeriod"]["start"]
        for report in vtn.held("reports")
        for interval in report["resources"][0]["intervals"]
    ]
    return [(datetime.fromisoformat(start) - STARTS_AT).total_seconds() for start in starts]


def down(_: Request) -> Response:
    raise Unreachable("nobody there")


async def test_an_event_comes_is_answered_and_is_cancelled_with_its_times(rig: Rig, vtn: SmallVtn) -> None:
    event_id = vtn.put("events", event(vtn))

    def cancel() -> None:
        vtn.put("events", event(vtn, **CANCELLED), event_id)

    await rig.run(rig.intake(ven(rig, vtn)), for_s=100, script={90: cancel})
    record = await rig.ledger.event(CONNECTION_ID, event_id)
    assert record is not None
    assert record.decision is not None
    assert record.decision.opt is Opt.IN
    assert record.event.starts_at == STARTS_AT + timedelta(minutes=1)
    assert state(record, rig.clock.now()) is EventState.CANCELLED
    assert record.ended_at is not None
    assert 90 <= (record.ended_at - STARTS_AT).total_seconds() <= 92
    assert await rig.words(event_id) == ["new", "cancelled"]


async def test_an_outage_and_a_restart_act_on_nothing_twice(rig: Rig, vtn: SmallVtn) -> None:
    kept, gone = vtn.put("events", event(vtn)), vtn.put("events", event(vtn))
    await rig.run(rig.intake(ven(rig, vtn)), for_s=10, script={5: lambda: setattr(vtn, "before", down)})
    del vtn.objects["events"][gone]
    vtn.forget()
    await rig.run(rig.intake(ven(rig, vtn)), for_s=60, script={20: lambda: setattr(vtn, "before", lambda _: None)})
    assert await rig.words(kept) == ["new"]
    assert await rig.words(gone) == ["new", "implied cancel"]
    assert len(vtn.held("vens")) == 1


async def test_an_outage_leaves_no_gap_in_the_telemetry_and_nothing_goes_out_twice(rig: Rig, vtn: SmallVtn) -> None:
    telemetry(vtn)
    connection = ven(rig, vtn)
    answers = 0

    def lose_some(request: Request, _: Response) -> None:
        nonlocal answers
        if request.method == "POST" and request.path == "/reports":
            answers += 1
            if answers in {2, 6}:
                raise Unreachable("the answer was lost")

    vtn.after = lose_some
    await rig.run(
        rig.metering(),
        rig.intake(connection),
        rig.reporting(connection),
        for_s=300,
        script={40: lambda: setattr(vtn, "before", down), 160: lambda: setattr(vtn, "before", lambda _: None)},
    )
    found = reported_s(vtn)
    assert found == sorted(set(found))
    assert {later - earlier for earlier, later in pairwise(found)} == {5.0}
    assert (found[0], found[-1] >= 280.0) == (0.0, True)
    payloads = [
        interval["payloads"][1]["values"]
        for report in vtn.held("reports")
        for interval in report["resources"][0]["intervals"]
    ]
    assert set(map(tuple, payloads)) == {("OK",)}


async def test_an_operators_opt_out_is_said_to_an_event_that_asks_for_it(rig: Rig, vtn: SmallVtn) -> None:
    event_id = vtn.put("events", event(vtn, reportDescriptors=[STATE]))

    async def opt_out() -> None:
        await rig.ask(CommandKind.OPT_OUT, event_id=event_id)

    await rig.run(rig.operating(), rig.intake(ven(rig, vtn)), for_s=30, script={10: opt_out})
    (report,) = vtn.held("reports")
    assert report["resources"][0]["intervals"][0]["payloads"] == [
        {"type": "OPERATING_STATE", "values": ["RUNNING_OPTED_OUT"]}
    ]
