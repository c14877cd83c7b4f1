"""The site over real HTTP: status codes, headers, and what stands on the page in each state of things."""

import gzip
import html
import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from gateway.domain.operator import CommandKind, CommandOutcome, OperatorCommand, judge
from gateway.domain.plan import PowerPlan
from gateway.domain.settlement import SettlementStatement
from gateway.domain.verification import VerifiedReport
from gateway.ledger import LedgerUnavailable, Quarantined
from hardware.device import DeviceView
from protocols.grid import GridEvent, Opt, Refusal

Stage = Any
"""Of this folder's conftest; its type cannot be imported from there."""

QUIET = "Nothing is going on: no event is running or announced."


async def test_live_is_always_well(stage: Stage) -> None:
    stage.ready = False
    response = await stage.get("/health/live")
    assert (response.status, await response.json()) == (200, {"live": True})


async def test_ready_names_each_part(stage: Stage) -> None:
    response = await stage.get("/health/ready")
    assert (response.status, await response.json()) == (200, {"ready": True, "parts": {"meter": None, "ledger": None}})
    stage.ready = False
    stage.parts["meter"] = "no reading of the site meter 'site'"
    response = await stage.get("/health/ready")
    assert response.status == 503
    assert (await response.json())["parts"]["meter"] == "no reading of the site meter 'site'"


@pytest.mark.parametrize("path", ["/", "/health/live", "/api/now", "/static/site.css", "/nowhere"])
async def test_every_answer_carries_the_policy(stage: Stage, path: str) -> None:
    headers = (await stage.get(path)).headers
    policy = headers["Content-Security-Policy"]
    for rule in (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "frame-ancestors 'none'",
    ):
        assert rule in policy.split("; ")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "aiohttp" not in headers["Server"]


async def test_the_page_runs_no_inline_script_and_asks_nobody_else(stage: Stage) -> None:
    page = await stage.page()
    assert page.count("<script") == page.count('<script defer src="/static/')
    assert "http://" not in page
    assert "https://" not in page
    assert '<html lang="en">' in page
    assert '<noscript><meta http-equiv="refresh"' in page


async def test_every_file_that_the_page_names_is_there_for_good(stage: Stage) -> None:
    page = await stage.page()
    names = {part.split('"')[0] for part in page.split('"/static/')[1:]}
    assert {name.split("?")[0] for name in names} == {"plotly.min.js", "now.js", "site.css", "icon.svg"}
    for name in names:
        response = await stage.get(f"/static/{name}")
        assert response.status == 200
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_another_version_of_a_file_is_not_kept(stage: Stage) -> None:
    response = await stage.get("/static/site.css?v=old")
    assert (response.status, response.headers["Cache-Control"]) == (200, "no-cache")


async def test_the_chart_script_is_compressed_once_for_those_who_take_it(stage: Stage) -> None:
    url = stage.client.make_url("/static/plotly.min.js")
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.get(url, headers={"Accept-Encoding": "br;q=1.0, gzip;q=0.8"}) as response:
            compressed = await response.read()
            assert response.headers["Content-Encoding"] == "gzip"
            assert response.headers["Vary"] == "Accept-Encoding"
        for refused in ("identity", "gzip;q=0", "gzip;q=0.0, br"):
            async with session.get(url, headers={"Accept-Encoding": refused}) as response:
                plain = await response.read()
                assert "Content-Encoding" not in response.headers
    assert gzip.decompress(compressed) == plain
    assert len(compressed) < len(plain) / 3
    assert b"Plotly" in plain


@pytest.mark.parametrize("path", ["/nowhere", "/static/nothing.js", "/static/..%2fsite.py"])
async def test_an_unknown_address_has_a_short_page(stage: Stage, path: str) -> None:
    response = await stage.get(path)
    assert (response.status, response.content_type) == (404, "text/html")
    assert "There is nothing at this address." in await response.text()


async def test_an_unknown_address_of_the_api_is_told_in_json(stage: Stage) -> None:
    response = await stage.get("/api/nowhere")
    assert (response.status, await response.json()) == (404, {"error": "There is nothing at this address."})


async def test_nothing_can_be_posted(stage: Stage) -> None:
    response = await stage.client.post("/")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


async def test_a_bug_is_a_page_without_its_traceback(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(stage.ledger, "latest_readings", broken)
    response = await stage.get("/")
    text = await response.text()
    assert response.status == 500
    assert "Something went wrong here." in text
    assert "secret" not in text
    assert "Traceback" not in text
    assert (await (await stage.get("/api/now")).json()) == {
        "error": "Something went wrong here. The log of the gateway says what."
    }


async def test_a_ledger_that_was_never_read_is_said_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def locked(*_: object, **__: object) -> None:
        raise LedgerUnavailable("locked")

    monkeypatch.setattr(stage.ledger, "events", locked)
    response = await stage.get("/")
    assert response.status == 503
    assert "The record cannot be read just now." in await response.text()


async def test_the_page_stands_on_what_was_read_before_the_ledger_failed(
    stage: Stage, make_event: Callable[..., GridEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.receive(make_event())
    assert "hold the site" in (await stage.now())["headline"]

    async def locked(*_: object, **__: object) -> None:
        raise LedgerUnavailable("locked")

    for verb in ("events", "readings_between"):
        monkeypatch.setattr(stage.ledger, verb, locked)
    stage.at += timedelta(minutes=1)
    stage.parts["ledger"] = "database is locked"
    page = await stage.page()
    assert "hold the site at or under 75.0 kW" in page
    assert "database is locked" in page
    monkeypatch.undo()
    await stage.receive(make_event(revision=1, values=(60_000.0,)))
    assert "60.0 kW" in (await stage.now())["headline"]


async def test_nothing_going_on_is_said(stage: Stage) -> None:
    stage.measure(98_765.0)
    now = await stage.now()
    assert (now["headline"], now["countdown"], now["mood"], now["events"]) == (QUIET, "", "quiet", [])
    assert now["power"]["power"] == "98.8 kW"
    assert (now["power"]["target_w"], now["power"]["baseline_w"]) == (None, None)
    assert now["clock"] == "12:00:00"
    assert now["zone"] == "America/Phoenix (MST)"
    page = await stage.page()
    assert f'class="told">{QUIET}' in page
    assert "No device is known yet." in page
    assert "There is no statement yet." in page


async def test_an_event_to_come_counts_down(stage: Stage, make_event: Callable[..., GridEvent]) -> None:
    event = make_event()
    await stage.receive(event)
    stage.at = event.starts_at - timedelta(minutes=4, seconds=10)
    now = await stage.now()
    assert now["mood"] == "coming"
    assert now["headline"] == "Grid event srp-peak: hold the site at or under 75.0 kW from 16:00 to 17:00"
    assert now["countdown"] == "starts in 4 min 10 s"
    assert now["events"][0]["starts_at"] == "2026-07-14T23:00:00Z"
    assert "starts in 4 min 10 s" in await stage.page()


async def test_an_active_event_is_held_against_its_target(
    stage: Stage, make_event: Callable[..., GridEvent], make_plan: Callable[..., PowerPlan]
) -> None:
    event = make_event()
    await stage.receive(event)
    await stage.ledger.record_plan(make_plan(event, 75_000.0, 100_000.0, shortfall_w=2_000.0))
    stage.at = event.starts_at + timedelta(minutes=15)
    stage.measure(74_200.0, age_s=1.0)
    now = await stage.now()
    assert now["mood"] == "active"
    assert now["countdown"] == "ends in 45 min"
    power = now["power"]
    assert (power["power_w"], power["target_w"], power["baseline_w"]) == (74_200.0, 75_000.0, 100_000.0)
    assert power["age_s"] == pytest.approx(1.0)
    assert power["target_note"] == "The site is 0.8 kW under it."
    assert now["events"][0]["note"] == "We expect to stay 2.0 kW short of what it asks."


async def test_an_old_reading_is_not_shown_as_live(stage: Stage) -> None:
    stage.measure(74_200.0, age_s=5.0)
    assert (await stage.now())["power"]["power_w"] == 74_200.0
    stage.at += timedelta(seconds=1)
    power = (await stage.now())["power"]
    assert (power["power_w"], power["power"]) == (None, "no reading")
    assert power["power_note"] == "No reading for 6 s. The last one was 74.2 kW at 11:59:55."
    assert 'data-live="no"' in await stage.page()


async def test_a_meter_that_never_spoke_is_named(stage: Stage) -> None:
    assert (await stage.now())["power"]["power_note"] == "No reading of the site meter (site) yet."


async def test_power_over_the_import_limit_is_said(stage: Stage) -> None:
    stage.measure(121_000.0)
    assert (await stage.now())["power"]["power_note"] == "Over the import limit of 120.0 kW."


async def test_a_cancelled_event_leaves_the_headline(
    stage: Stage, make_event: Callable[..., GridEvent], make_plan: Callable[..., PowerPlan]
) -> None:
    event = make_event()
    await stage.receive(event)
    await stage.ledger.record_plan(make_plan(event, 75_000.0, 100_000.0))
    stage.at = event.starts_at + timedelta(minutes=10)
    assert (await stage.now())["power"]["target_w"] == 75_000.0
    await stage.ledger.end_event("ven-1", "evt-1", stage.at, "cancelled by the sender")
    stage.at += timedelta(minutes=1)
    now = await stage.now()
    assert now["headline"] == QUIET
    assert now["power"]["target_w"] is None
    line = now["events"][0]
    assert line["state"] == "cancelled"
    assert line["words"].startswith("Grid event srp-peak was cancelled at 16:10.")
    assert line["note"] == "Why: cancelled by the sender."


async def test_opting_out_is_said_with_its_reason(stage: Stage, make_event: Callable[..., GridEvent]) -> None:
    await stage.receive(make_event(), Opt.OUT, refusal=Refusal.OPERATOR, detail="maintenance")
    line = (await stage.now())["events"][0]
    assert line["words"].startswith("Grid event srp-peak asks to hold the site")
    assert line["answer"].endswith("the grid has our answer. Reason: operator: maintenance.")
    assert line["note"] == "Nothing is done for it."
    assert not line["acting"]


async def test_an_operators_opt_out_in_the_middle_is_shown_with_who_and_why(
    stage: Stage, make_event: Callable[..., GridEvent], make_plan: Callable[..., PowerPlan]
) -> None:
    event = make_event()
    await stage.receive(event)
    await stage.ledger.record_plan(make_plan(event, 75_000.0, 100_000.0))
    stage.at = event.starts_at + timedelta(minutes=10)
    command = OperatorCommand(
        command_id="c1",
        at=stage.at,
        by="ann",
        kind=CommandKind.OPT_OUT,
        connection_id=event.connection_id,
        event_id=event.event_id,
        reason="chiller down",
    )
    await stage.ledger.record_command(command)
    record = await stage.ledger.event(event.connection_id, event.event_id)
    decision = judge(command, record, stage.program, None, stage.at).decision
    outcome = CommandOutcome(command_id="c1", at=stage.at, done=True, detail="")
    await stage.ledger.record_acted(outcome, decision)

    now = await stage.now()
    line = now["events"][0]
    said = "We opted out at 16:10; {}. Reason: operator: opted out by ann: chiller down."
    assert line["answer"] == said.format("the grid has not been told yet")
    assert (line["acting"], line["note"]) == (False, "Nothing is done for it.")
    assert now["power"]["target_w"] is None
    assert "opted out by ann: chiller down" in await stage.page()

    await stage.ledger.record_told("c1", stage.at)
    line = (await stage.now())["events"][0]
    assert line["answer"] == said.format("the grid has our answer")


async def test_a_test_event_is_told_as_one(stage: Stage, make_event: Callable[..., GridEvent]) -> None:
    await stage.receive(make_event(test=True), told=False)
    line = (await stage.now())["events"][0]
    assert line["words"].startswith("Test event srp-peak asks to")
    assert line["note"] == "A test: it is answered, and nothing is capped for it."
    assert line["answer"] == "We opted in at 12:00; the grid has not been told yet."


async def test_what_is_acted_on_comes_before_what_is_not(stage: Stage, make_event: Callable[..., GridEvent]) -> None:
    starts_at = make_event().starts_at
    await stage.receive(make_event(event_id="later", starts_at=starts_at + timedelta(hours=2)))
    await stage.receive(make_event(event_id="a-test", test=True))
    await stage.receive(make_event(event_id="first"))
    await stage.receive(make_event(event_id="gone", starts_at=stage.at - timedelta(hours=3)))
    stage.at = starts_at + timedelta(minutes=1)
    assert [line["event_id"] for line in (await stage.now())["events"]] == ["first", "a-test", "later", "gone"]


async def test_a_modified_event_is_seen_at_once(stage: Stage, make_event: Callable[..., GridEvent]) -> None:
    await stage.receive(make_event())
    await stage.now()
    await stage.receive(make_event(revision=1, values=(60_000.0,)), None)
    line = (await stage.now())["events"][0]
    assert "60.0 kW" in line["words"]
    assert line["answer"] == "Not answered yet."


async def test_hostile_words_stay_words(stage: Stage, make_event: Callable[..., GridEvent]) -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    await stage.receive(make_event(program_id=evil, event_id=f"{evil}-id", comment=evil))
    stage.parts[evil] = evil
    page = await stage.page()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert page.count(html.escape("<script>alert(1)</script>")) >= 4
    assert page.count("<script") == page.count('<script defer src="/static/')
    response = await stage.get("/api/now")
    assert response.content_type == "application/json"
    assert (await response.json())["events"][0]["comment"] == evil


async def test_a_comment_without_end_is_cut(stage: Stage, make_event: Callable[..., GridEvent]) -> None:
    await stage.receive(make_event(comment="x" * 100_000))
    assert len(await stage.page()) < 50_000


async def test_faults_come_with_what_to_do(stage: Stage, make_device: Callable[..., DeviceView]) -> None:
    stage.parts["connection ven-1"] = "connection refused"
    stage.parts["something new"] = "it broke"
    stage.devices = {"gpu-0": make_device("gpu-0", present=False), "gpu-1": make_device("gpu-1")}
    for age in (timedelta(minutes=1), timedelta(days=3)):
        await stage.ledger.quarantine(
            Quarantined(connection_id="ven-1", raw_sha256="a" * 64, at=stage.at - age, reason=f"line 3, {age}")
        )
    faults = {fault["part"]: fault for fault in (await stage.now())["faults"]}
    assert set(faults) == {"connection ven-1", "something new", "devices", "messages"}
    assert "can be reached" in faults["connection ven-1"]["advice"]
    lost = "1 device needs attention: lost: gpu-0 on node-1 (its host does not find it any more)"
    assert faults["devices"]["reason"] == lost
    assert faults["devices"]["advice"].startswith("What to do: check on its host")
    assert faults["messages"]["reason"].startswith("1 message set aside in the last day")
    assert all(fault["advice"] for fault in faults.values())
    page = await stage.page()
    assert "What needs attention" in page
    assert "connection refused" in page


async def test_all_well_shows_no_fault(stage: Stage) -> None:
    assert (await stage.now())["faults"] == []
    assert 'aria-labelledby="faults-title" hidden>' in await stage.page()


async def test_not_ready_without_a_fault_is_said_too(stage: Stage) -> None:
    stage.ready = False
    assert [fault["part"] for fault in (await stage.now())["faults"]] == ["gateway"]


async def test_devices_are_counted_and_listed(stage: Stage, make_device: Callable[..., DeviceView]) -> None:
    stage.devices = {
        "gpu-0": make_device("gpu-0", limit_w=430.0),
        "gpu-1": make_device("gpu-1", limit_w=500.0),
        "gpu-2": make_device("gpu-2", host_id="node-2"),
        "gpu-3": make_device("gpu-3", host_id="node-2", present=False),
    }
    stage.measure(410.0, meter_id="gpu-0")
    stage.measure(690.0, age_s=1.0, meter_id="gpu-2")
    stage.measure(490.0, age_s=60.0, meter_id="gpu-1")
    devices = (await stage.now())["devices"]
    assert (devices["total"], devices["capped"], devices["absent"]) == (4, 2, 1)
    assert devices["words"] == "4 devices on 2 hosts: 2 capped, 1 free, 1 absent."
    assert [(line["device_id"], line["state"], line["power"], line["limit"]) for line in devices["devices"]] == [
        ("gpu-0", "capped", "410 W", "430 W"),
        ("gpu-1", "capped", "no reading", "500 W"),
        ("gpu-2", "free", "690 W", "700 W"),
        ("gpu-3", "absent", "no reading", "unknown"),
    ]
    assert [(line["host_id"], line["words"], line["power"], line["limit"]) for line in devices["hosts"]] == [
        ("node-1", "all capped, 1 without a reading", "draws 0.4 kW", "limits 0.9 kW of 1.4 kW"),
        ("node-2", "1 free, 1 absent", "draws 0.7 kW", "limits 0.7 kW of 0.7 kW"),
    ]


async def test_statements_are_listed_newest_first(stage: Stage) -> None:
    for number, (kwh, amount) in enumerate((("12.500", "3.12"), ("-0.312", "-0.08"))):
        verified = VerifiedReport(
            connection_id="ven-1",
            event_id=f"evt-{number}",
            revision=0,
            rule="meter-before-after",
            rule_version="1",
            verified_at=stage.at,
            intervals=(),
            days=(),
            adjustment_kind="none",
            adjustment_raw=None,
            adjustment_applied=None,
        )
        await stage.ledger.record_statement(
            SettlementStatement(
                statement_id=f"st-{number}",
                site_id="phx-1",
                program_id="srp-peak",
                verified=verified,
                price_per_kwh=Decimal("0.25"),
                currency="USD",
                delivered_kwh=Decimal(kwh),
                amount=Decimal(amount),
                issued_at=stage.at + timedelta(minutes=number),
                capability_test=False,
                raw_sha256="",
                inputs_sha256="",
            )
        )
    lines = (await stage.now())["statements"]
    assert [(line["event_id"], line["delivered"], line["amount"]) for line in lines] == [
        ("evt-1", "\N{MINUS SIGN}0.312 kWh", "\N{MINUS SIGN}0.08 USD"),
        ("evt-0", "12.500 kWh", "3.12 USD"),
    ]
    assert "By the rule meter-before-after." in await stage.page()


@pytest.mark.parametrize("minutes", ["0", "241", "-5", "1.5", "abc", "", "1e2", "9" * 5000])
async def test_minutes_are_bounded(stage: Stage, minutes: str) -> None:
    response = await stage.get("/api/series", params={"minutes": minutes})
    assert (response.status, await response.json()) == (400, {"error": "minutes is a whole number from 1 to 240"})


async def test_the_series_hold_power_target_and_baseline(
    stage: Stage, make_event: Callable[..., GridEvent], make_plan: Callable[..., PowerPlan]
) -> None:
    event = make_event()
    await stage.receive(event)
    await stage.ledger.record_plan(make_plan(event, 75_000.0, 100_000.0))
    stage.at = event.starts_at + timedelta(minutes=10)
    for age_s in range(1800, 0, -1):
        stage.measure(75_000.0 if age_s <= 600 else 100_000.0, age_s=age_s)
    response = await stage.get("/api/series", params={"minutes": "30"})
    series = json.loads(await response.text())
    lengths = {len(series[name]) for name in ("time_s", "site_w", "target_w", "baseline_w")}
    assert lengths == {600}
    before, during = series["time_s"].index(1197), series["time_s"].index(1200)
    assert (series["site_w"][before], series["target_w"][before], series["baseline_w"][before]) == (1e5, None, None)
    assert (series["site_w"][during], series["target_w"][during], series["baseline_w"][during]) == (75e3, 75e3, 1e5)
    assert series["events"] == [
        {"event_id": "evt-1", "starts_at": "2026-07-14T23:00:00Z", "ends_at": "2026-07-15T00:00:00Z"}
    ]
    assert [row["at"] for row in series["rows"]][:3] == ["16:09", "16:06", "16:03"]
    assert series["rows"][1] == {"at": "16:06", "power": "75.0 kW", "target": "75.0 kW", "baseline": "100.0 kW"}
    assert series["rows"][-1]["target"] == "none"


async def test_without_readings_the_series_are_empty_and_the_table_says_so(stage: Stage) -> None:
    series = await (await stage.get("/api/series?minutes=240")).json()
    assert series["time_s"] == []
    assert {row["power"] for row in series["rows"]} == {"no reading"}
