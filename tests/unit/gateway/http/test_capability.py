"""What the site can give, on the page, as JSON, and as a command asks for it."""

import json
import re
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import pytest

from gateway.cli.asset_text import WIDTH
from gateway.cli.capability_text import in_words
from gateway.domain.allocate import AllocationJob
from gateway.domain.capability import CapableJob, capability
from gateway.domain.load_kind import LoadKind
from gateway.http.capability_lines import NOTHING_YET, capability_lines
from gateway.http.client import ask_gateway
from hardware.job import CurvePoint
from tests.unit.gateway.http.conftest import NOON, Stage

CURVE = (
    CurvePoint(cap_w=200.0, power_w=200.0, throughput=0.6),
    CurvePoint(cap_w=700.0, power_w=700.0, throughput=1.0),
)


def able(job_id: str, devices: int, **more: Any) -> CapableJob:
    job = AllocationJob(
        job_id=job_id, weight=1.0, devices=devices, min_throughput=0.8, can_pause=True, curve=CURVE, idle_w=200.0
    )
    return CapableJob(job=job, **more)


JOBS = [able("train", 40), able("short", 8, ends_at=NOON + timedelta(minutes=90)), able("pause", 2, max_pause_s=1800.0)]


async def test_nothing_is_known_at_first(stage: Stage) -> None:
    found = (await stage.now())["capability"]
    assert (found["at"], found["held"], found["hours"], found["words"]) == (None, [], [], NOTHING_YET)
    assert found["kinds"] == {"steady": 0, "bursty": 0, "idle": 0, "unknown": 0}
    page = await stage.page()
    assert NOTHING_YET in page
    assert re.search(r'<div id="capability" hidden>', page)
    assert in_words(found) == NOTHING_YET


async def test_watts_and_words_of_each_length(stage: Stage) -> None:
    stage.capability = capability(JOBS, at=NOON + timedelta(seconds=3))
    hours = [row["span"] for row in (await stage.now())["capability"]["hours"]]
    assert (hours[0], hours[5]) == ("12:00 to 13:00", "17:00 to 18:00")
    stage.capability = capability(JOBS, at=NOON)
    found = (await stage.now())["capability"]
    assert found == await (await stage.get("/api/capability")).json()
    assert found["at"] == "2026-07-14T19:00:00Z"
    assert found["kinds"] == {"steady": 50, "bursty": 0, "idle": 0, "unknown": 0}
    assert found["words"] == "Of 50 devices with a job 50 work steadily."
    assert [row["span"] for row in found["held"]] == ["15 min", "1 h", "2 h", "3 h", "4 h"]
    first, *_, last = found["held"]
    assert first["expected_w"] == pytest.approx(50 * 250.0)
    assert (first["expected"], first["lower"], first["with_pauses"]) == ("12.5 kW", "12.5 kW", "13.0 kW")
    assert last["expected"] == "10.5 kW"
    assert last["reason"].startswith("The floors of 2 jobs bind; 1 job will have ended")
    assert [row["span"] for row in found["hours"]][:2] == ["12:00 to 13:00", "13:00 to 14:00"]
    assert found["hours"][0]["starts_at"] == "2026-07-14T19:00:00Z"


async def test_page_has_a_row_for_each_length_and_hour(stage: Stage) -> None:
    stage.capability = capability(JOBS, at=NOON)
    page = await stage.page()
    assert "What the site can give" in page
    assert '<div id="capability">' in page
    (held,) = re.findall(r'<tbody id="capability-list">(.*?)</tbody>', page, re.DOTALL)
    (hours,) = re.findall(r'<tbody id="hour-list">(.*?)</tbody>', page, re.DOTALL)
    assert (held.count("<tr"), hours.count("<tr")) == (5, 6)
    assert "10.5 kW" in held


def test_kinds_are_told_in_words() -> None:
    nothing = capability([], at=NOON)
    assert capability_lines(nothing, UTC).words.startswith("No device has a job")
    some = replace(nothing, jobs={"a": {LoadKind.IDLE: 1}, "b": {LoadKind.BURSTY: 2, LoadKind.STEADY: 1_000}})
    told = capability_lines(some, UTC).words
    assert told == "Of 1,003 devices with a job 1,000 work steadily, 2 work in bursts, 1 is idle."


async def test_a_command_tells_it_in_a_table_of_a_terminals_width(stage: Stage) -> None:
    stage.capability = capability(JOBS, at=NOON)
    server = stage.client.server
    found = await ask_gateway(f"0.0.0.0:{server.port}", "/api/capability")
    text = in_words(found)
    assert json.loads(json.dumps(found)) == found
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[0] == "Of 50 devices with a job 50 work steadily."
    assert lines[3].split() == ["15", "min", "12.5", "kW", "12.5", "kW", "13.0", "kW"]
    assert text.count("The floors of 3 jobs bind") == 1
    assert "2 h, 3 h, 4 h, 13:00 to 14:00" in " ".join(text.split())


async def test_no_gateway_and_a_wrong_answer_are_told(stage: Stage) -> None:
    server = stage.client.server
    with pytest.raises(ConnectionError, match="answers with status 404"):
        await ask_gateway(f"{server.host}:{server.port}", "/nowhere")
    with pytest.raises(ConnectionError, match="no gateway answers"):
        await ask_gateway(f"{server.host}:{server.port}", "/")
    with pytest.raises(ConnectionError, match=r"no gateway answers at http://127\.0\.0\.1:1/"):
        await ask_gateway("127.0.0.1:1", "/api/capability")
