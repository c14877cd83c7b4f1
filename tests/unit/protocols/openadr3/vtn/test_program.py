"""The VTN as the gateway's ``GridProgram``."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protocols.grid import EventInterval, EventStatus, GridEvent, Opt, Refusal, Signal, SignalKind, Target
from protocols.openadr3 import model
from protocols.openadr3.codec import decode
from protocols.openadr3.names import Version
from protocols.openadr3.neutral_event import read_event
from tests.openadr3_lab import NOON

HOUR = timedelta(hours=1)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
EVENT = GridEvent(
    event_id="e1",
    connection_id="elsewhere",
    program_id="srp-peak",
    revision=0,
    status=EventStatus.FAR,
    created_at=NOON,
    starts_at=NOON + HOUR,
    duration_s=3600.0,
    signals=(
        Signal(
            name="DISPATCH_SETPOINT_RELATIVE",
            kind=SignalKind.ADJUST,
            intervals=(EventInterval(starts_at=NOON + HOUR, duration_s=3600.0, value=-50_000.0),),
        ),
    ),
    rank=1,
)


async def as_read(lab: Any, who: str, **query: Any) -> list[GridEvent | None]:
    """The events that a client reads, in neutral form."""
    answer = await lab.raw(who, "GET", "/events", **query)
    _, said = await lab.ask(who, "GET", "/events", **query)
    assert answer.status == 200
    return [
        read_event(
            decode(json.dumps(item).encode(), model.Event, Version.V3_1),
            connection_id="program",
            version=Version.V3_1,
            received_at=lab.now,
        )
        for item in said
    ]


async def test_a_published_event_is_read_as_it_was_meant(lab: Any) -> None:
    await lab.vtn.publish(EVENT)
    (read,) = await as_read(lab, "ven-a")
    assert read is not None
    assert (read.event_id, read.rank, read.starts_at, read.duration_s) == ("e1", 1, EVENT.starts_at, 3600.0)
    assert [(item.kind, item.intervals) for item in read.signals] == [(SignalKind.ADJUST, EVENT.signals[0].intervals)]
    assert await lab.names("ven-a", "/programs") == ["srp-peak"]
    _, (event,) = await lab.ask("ven-a", "GET", "/events")
    assert [item["payloadType"] for item in event["reportDescriptors"]] == ["DEMAND", "OPERATING_STATE"]


async def test_who_has_read_an_event_takes_part_until_it_reports_otherwise(lab: Any) -> None:
    await lab.vtn.publish(EVENT)
    assert await lab.vtn.answers("e1") == ()
    ven = await lab.grant("ven-a")
    await lab.ask("ven-a", "GET", "/events")
    ((party_id, answer),) = await lab.vtn.answers("e1")
    assert (party_id, answer.opt, answer.revision) == (ven["id"], Opt.IN, 0)

    await lab.made("ven-a", "/reports", **a_report("OPERATING_STATE", "RUNNING_OPTED_OUT"))
    await lab.made("ven-a", "/reports", **a_report("DEMAND", 12.5, units="KW"))
    await lab.vtn.publish(replace(EVENT, revision=1, comment="later"))
    await lab.ask("ven-a", "GET", "/events")
    ((_, answer),) = await lab.vtn.answers("e1")
    assert (answer.opt, answer.revision) == (Opt.OUT, 1)


async def test_a_later_revision_takes_the_place_of_an_earlier_one(lab: Any) -> None:
    await lab.vtn.publish(EVENT)
    (first,) = await as_read(lab, "ven-a")
    for again in (0, -1):
        with pytest.raises(ValueError, match="revision 0 already"):
            await lab.vtn.publish(replace(EVENT, revision=again))
    # The clock has not moved on, but the revision that a VEN sees has.
    await lab.vtn.publish(replace(EVENT, revision=1, rank=0))
    (second,) = await as_read(lab, "ven-a")
    assert first is not None
    assert second is not None
    assert (second.rank, second.event_id) == (0, "e1")
    assert second.revision > first.revision
    lab.start()
    with pytest.raises(ValueError, match="revision 1 already"):
        await lab.vtn.publish(replace(EVENT, revision=1))
    assert await lab.names("ven-a", "/programs") == ["srp-peak"]


async def test_a_cancelled_event_is_read_as_cancelled(lab: Any) -> None:
    with pytest.raises(KeyError):
        await lab.vtn.cancel("e1")
    await lab.vtn.publish(EVENT)
    await lab.vtn.cancel("e1")
    (read,) = await as_read(lab, "ven-a")
    assert read is not None
    assert read.status is EventStatus.CANCELLED
    revision = read.revision
    await lab.vtn.cancel("e1")
    (again,) = await as_read(lab, "ven-a")
    assert again is not None
    assert again.revision == revision
    assert await as_read(lab, "ven-a", active="true") == []


async def test_what_3_1_cannot_say_leaves_nothing_behind(lab: Any) -> None:
    for bad in (
        replace(EVENT, ramp_up_s=60.0),
        replace(EVENT, event_id="no id/"),
        replace(EVENT, program_id="x" * 200),
    ):
        with pytest.raises(ValueError, match=r"ramp|id|200 characters"):
            await lab.vtn.publish(bad)
    assert await lab.ask("bl", "GET", "/programs") == (200, [])
    assert await lab.ask("bl", "GET", "/events") == (200, [])
    with pytest.raises(KeyError):
        await lab.vtn.cancel("no id/")


async def test_an_event_for_a_party_or_a_resource_is_read_by_that_one_only(lab: Any) -> None:
    for who in ("ven-a", "ven-b"):
        ven = await lab.grant(who)
        await lab.made(who, "/resources", objectType="VEN_RESOURCE_REQUEST", resourceName=who + "-r", venID=ven["id"])
    a, _ = await lab.vtn.parties()
    assert (a.name, a.registered_at, a.connection_id) == ("name of ven-a", NOON, "program")
    await lab.vtn.publish(replace(EVENT, targets=(Target(kind="ven", value=a.party_id),)))
    other = Target(kind="resource", value="ven-b-r")
    await lab.vtn.publish(replace(EVENT, event_id="e2", targets=(other,)))
    for who, requested, found in (
        ("ven-a", a.party_id, ["e1"]),
        ("ven-b", a.party_id, []),
        ("ven-b", "ven-b-r", ["e2"]),
        ("ven-a", "ven-b-r", []),
    ):
        _, events = await lab.ask(who, "GET", "/events", targets=requested)
        assert [event["id"] for event in events] == found
    # The ven itself says which targets it may ask for.
    _, (own,) = await lab.ask("ven-a", "GET", "/vens")
    assert own["targets"] == [a.party_id]


def a_report(kind: str, *values: Any, units: str | None = None, **more: Any) -> dict[str, Any]:
    period = {"start": "2030-01-31T13:00:00Z", "duration": "PT30M"}
    interval = {"id": 0, "intervalPeriod": period, "payloads": [{"type": kind, "values": list(values)}]}
    descriptor = {"objectType": "REPORT_PAYLOAD_DESCRIPTOR", "payloadType": kind}
    return {
        "eventID": "e1",
        "clientName": "a",
        "payloadDescriptors": [descriptor | ({} if units is None else {"units": units})],
        "resources": [{"resourceName": "site", "intervals": [interval]}],
        **more,
    }


async def test_reports_come_out_in_watts_once_each(lab: Any) -> None:
    await lab.vtn.publish(EVENT)
    ven = await lab.grant("ven-a")
    made = await lab.made("ven-a", "/reports", **a_report("DEMAND", 12.5, units="KW"))
    await lab.made("ven-a", "/reports", **a_report("DEMAND", 12.5, units="KW"))
    ((party_id, report),) = await lab.vtn.reports(EPOCH)
    assert (party_id, report.report_id, report.order_id, report.resource_id) == (ven["id"], made["id"], "e1", "site")
    assert [(item.power_w, item.duration_s) for item in report.intervals] == [(12_500.0, 1800.0)]
    assert await lab.vtn.reports(report.created_at) == ()

    lab.later(seconds=1)
    changed = a_report("DEMAND", 13.0, units="KW")
    assert (await lab.ask("ven-a", "PUT", f"/reports/{made['id']}", changed))[0] == 200
    ((_, second),) = await lab.vtn.reports(report.created_at)
    assert second.report_id != report.report_id
    assert second.intervals[0].power_w == 13_000.0


async def test_a_report_that_says_nothing_of_power_is_kept_all_the_same(lab: Any) -> None:
    await lab.vtn.publish(EVENT)
    await lab.made("ven-b", "/reports", **a_report("STORAGE_CHARGE_LEVEL", 50))
    no_end = a_report("DEMAND", 1)
    del no_end["resources"][0]["intervals"][0]["intervalPeriod"]["duration"]
    await lab.made("ven-b", "/reports", **no_end)
    assert await lab.vtn.reports(EPOCH) == ()
    assert len((await lab.ask("bl", "GET", "/reports"))[1]) == 2
    # A client without a ven reports under its own id.
    assert [party_id for party_id, _ in await lab.vtn.answers("e1")] == ["ven-b"]


@pytest.mark.parametrize(
    ("state", "opt", "refusal"),
    [
        ("RUNNING_CURTAILED", Opt.IN, None),
        ("RUNNING_OPTED_OUT", Opt.OUT, Refusal.OPERATOR),
        ("IDLE_OPTED_OUT", Opt.OUT, Refusal.OPERATOR),
    ],
)
async def test_an_answer_is_what_the_last_report_says(lab: Any, state: str, opt: Opt, refusal: Refusal | None) -> None:
    await lab.vtn.publish(replace(EVENT, revision=3))
    assert await lab.vtn.answers("e1") == ()
    await lab.made("ven-a", "/reports", **a_report("USAGE", 1))
    ((_, first),) = await lab.vtn.answers("e1")
    assert (first.opt, first.revision) == (Opt.IN, 3)
    await lab.made("ven-a", "/reports", **a_report("OPERATING_STATE", state))
    ((party_id, answer),) = await lab.vtn.answers("e1")
    assert (party_id, answer.opt, answer.refusal, answer.decided_at) == ("ven-a", opt, refusal, NOON)


async def test_a_report_on_another_ones_event_comes_out_too(lab: Any) -> None:
    program = await lab.made("bl", "/programs", programName="theirs")
    event = await lab.made("bl", "/events", programID=program["id"])
    await lab.made("ven-a", "/reports", **a_report("DEMAND", 1, units="KW", eventID=event["id"]))
    ((_, report),) = await lab.vtn.reports(EPOCH)
    assert report.order_id == event["id"]
    ((_, answer),) = await lab.vtn.answers(event["id"])
    assert answer.revision == 1_896_091_200_000_001
