"""Other people's OpenADR 3 clients against our VTN, each in one short conversation over HTTPS."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from protocols.grid import EventInterval, EventStatus, GridEvent, Signal, SignalKind
from protocols.openadr3.model_access import Anonymous, Mqtt
from tests.openadr3_vtn import converse, peer_python, served_vtn

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def an_event() -> GridEvent:
    starts_at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    return GridEvent(
        event_id="from-the-gateway",
        connection_id="program",
        program_id="srp-peak",
        revision=0,
        status=EventStatus.FAR,
        created_at=starts_at - timedelta(hours=2),
        starts_at=starts_at,
        duration_s=3600.0,
        signals=(
            Signal(
                name="SIMPLE",
                kind=SignalKind.LEVEL,
                intervals=(EventInterval(starts_at=starts_at, duration_s=3600.0, value=2.0),),
            ),
        ),
        comment="level two",
    )


async def test_openadr3_client(tmp_path: Path) -> None:
    peer_python("openadr3-client")
    # It cannot read what the notifiers of a VTN without a broker are.
    broker = Mqtt(uris=("mqtts://127.0.0.1:1",), authentication=Anonymous())
    async with served_vtn(tmp_path, broker_for=lambda _: broker) as served:
        said = await converse("openadr3-client", served)
        assert said["unasked"] == []
        assert said["seen"] == [["changed", ["north"]]]
        assert said["own vens"] == ["phx"]
        assert said["resource"] == "ven"
        assert said["reports"] == [True]
        assert said["webhook"] is True
        assert (said["deleted"], said["left"]) == ("peak", 0)
        ((party_id, report),) = await served.vtn.reports(EPOCH)
        (party,) = await served.vtn.parties()
        assert (party.name, party.party_id) == ("phx", party_id)
        assert [round(interval.power_w or 0) for interval in report.intervals] == [12500]


async def test_toadr3(tmp_path: Path) -> None:
    peer_python("toadr3")
    async with served_vtn(tmp_path) as served:
        await served.vtn.publish(an_event())
        said = await converse("toadr3", served)
        assert said == {
            "programs": ["srp-peak"],
            "events": ["level two"],
            "values": ["2"],
            "answer to the report lacks": ["programID"],
            "missing": None,
        }
        ((_, report),) = await served.vtn.reports(EPOCH)
        assert (report.order_id, report.intervals[0].power_w) == ("from-the-gateway", 6000.0)
        ((_, answer),) = await served.vtn.answers("from-the-gateway")
        assert answer.opt == "in"


async def test_python_oa3_client(tmp_path: Path) -> None:
    peer_python("python-oa3-client")
    async with served_vtn(tmp_path) as served:
        said = await converse("python-oa3-client", served)
        assert said == {
            "programs": ["peak"],
            "found": True,
            "polled": ["price"],
            "vens": ["phx"],
            "same": True,
            "forbidden": 403,
            "report": 201,
            "reports": [True],
            "notifiers": {"WEBHOOK": True},
            "mqtt": False,
        }
        ((_, report),) = await served.vtn.reports(EPOCH)
        assert report.intervals[0].power_w == 3000.0
