"""The whole life of one statement beside running gateways: called, settled, corrected, disputed, final, proven."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.app import open_record
from gateway.bundle_file import read_bundle, write_bundle
from gateway.cli.main import app
from gateway.domain.measurement import IntervalEnergy
from hardware.device import PowerReading
from tests.lab import Gateway, eventually, free_port, rows

pytestmark = pytest.mark.timeout(240)

UTILITY = """
[gateway]
database = "sqlite+aiosqlite:///{{folder}}/gridgate.db"
listen = "127.0.0.1:{{port}}"
state_dir = "{{folder}}/state"
[site]
id = "utility"
[[connection]]
kind = "openadr2b"
role = "vtn"
name = "below"
listen = "127.0.0.1:{vtn_port}"
poll_s = 1
[[connection.party]]
name = "site-1"
"""

SITE = """
[gateway]
database = "sqlite+aiosqlite:///{folder}/gridgate.db"
listen = "127.0.0.1:{port}"
state_dir = "{folder}/state"
[site]
id = "phx-1"
timezone = "America/Phoenix"
interval_s = 60
[evidence]
heads_dir = "{folder}/heads"
[[connection]]
kind = "openadr2b"
url = "http://127.0.0.1:{vtn_port}/OpenADR2/Simple/2.0b"
name = "site-1"
poll_s = 1
[[program]]
id = "peak"
levels = {{ 2 = 0.25 }}
price_per_kwh = "1000"
[[hardware]]
kind = "simulated"
hosts = 1
devices_per_host = 8
seed = 3
"""

USUAL_W = 3500.0
"""About what the simulated site draws, and what is on record of the minutes before it was started."""

NAME = "phx-1-site-1-peak-1-r0"


class Site(Gateway):
    """The site's gateway, and a terminal beside it."""

    def say(self, *words: str, offline: bool = False) -> tuple[int, Any]:
        """Exit code and answer of a command that may well fail; ``offline`` for one that takes no config."""
        where = () if offline else ("--config", str(self.config))
        done = CliRunner().invoke(app, [*words, *where, "--json"])
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.exit_code, json.loads(done.stdout)

    def ask(self, *command: str) -> Any:
        """The answer of a command that is to succeed."""
        code, answer = self.say(*command)
        assert code == 0, answer
        return answer

    def newest(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = self.ask("statement", "list")
        return max(found, key=lambda one: int(one["edition"]["version"]), default={})

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)


async def before_it_was_started(folder: Path) -> None:
    """Ten minutes of the site's meter, so that the minutes of the event are known as a whole."""
    now = datetime.now(UTC)
    async with open_record(f"sqlite+aiosqlite:///{folder}/gridgate.db", migrate=True) as record:
        record.ledger.publish(
            [
                PowerReading(meter_id="site", power_w=USUAL_W, measured_at=now - timedelta(seconds=second))
                for second in range(600, 0, -5)
            ]
        )
        await record.ledger.flush()
        # The first minute is closed; the gateway goes on from there.
        first = now.replace(second=0, microsecond=0) - timedelta(minutes=9)
        closed = IntervalEnergy(starts_at=first, duration_s=60.0, energy_wh=USUAL_W / 60, coverage_fraction=1.0)
        await record.ledger.record_energy("site", [closed])


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Gateway, Site]]:
    port = free_port()
    for name in ("utility", "site"):
        (tmp_path / name).mkdir()
    utility = Gateway(tmp_path / "utility", vtn_port=0, config=UTILITY.format(vtn_port=port))
    site = Site(tmp_path / "site", vtn_port=port, config=SITE)
    try:
        yield utility, site
    finally:
        for gateway in (utility, site):
            gateway.end()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def revenue_meter(statement: dict[str, Any], *, factor: float) -> str:
    """What the revenue meter says of the event's minutes and the four before, as CSV in kWh times ``factor``.

    Of the event it says so much less than ours that the settled watt-hours are others, however they are rounded.
    """
    intervals = statement["verified"]["intervals"]
    mean_w = sum(one["measured_wh"] for one in intervals) * 3600 / sum(one["duration_s"] for one in intervals)
    end = at(intervals[-1]["starts_at"]) + timedelta(seconds=intervals[-1]["duration_s"])
    event = at(intervals[0]["starts_at"]).replace(second=0, microsecond=0)
    minute = event - timedelta(minutes=4)
    lines = ["start,kWh"]
    while minute < end:
        power_w = USUAL_W if minute < event else 0.8 * mean_w
        lines.append(f"{minute:%Y-%m-%dT%H:%M:%SZ},{power_w / 60000 * factor:.6f}")
        minute += timedelta(minutes=1)
    return "\n".join(lines) + "\n"


def theirs(statement: dict[str, Any], reference: str, *, factor: float) -> str:
    """The counterparty's statement, by another reading where ``factor`` is not 1."""
    return json.dumps(
        {
            "reference": reference,
            "party": "utility",
            "event_id": "peak-1",
            "currency": "USD",
            "amount": str(round(float(statement["amount"]) * factor, 2)),
            "intervals": [
                {
                    "starts_at": one["starts_at"],
                    "duration_s": one["duration_s"],
                    "measured_kwh": one["measured_wh"] / 1000 + (1 - factor),
                }
                for one in statement["verified"]["intervals"]
            ],
        }
    )


def call_and_settle(utility: Gateway, site: Site) -> dict[str, Any]:
    """An event of ten seconds within one minute; its first statement."""
    utility.start()
    asyncio.run(before_it_was_started(site.folder))
    site.start()
    eventually("the site is registered", lambda: rows(utility.folder, "SELECT 1 FROM party"), within_s=30)
    if (second := datetime.now(UTC).second) > 42:
        time.sleep(61 - second)
    utility.ask(
        "vtn", "event", "create", "--connection", "below", "--by", "bob", "--id", "peak-1", "--program", "peak",
        "--signal", "level", "--value", "2", "--duration", "10s", "--starts", "+3s",
    )  # fmt: skip
    eventually("the event is settled", lambda: rows(site.folder, "SELECT 1 FROM statement"), within_s=90)
    return site.newest()


def test_a_statement_from_the_call_to_the_proof(pair: tuple[Gateway, Site], tmp_path: Path) -> None:
    utility, site = pair
    first = call_and_settle(utility, site)
    assert (first["statement_id"], first["edition"]["run"], first["edition"]["shadow"]) == (NAME, "initial", True)

    # The revenue meter's data come late: with kW for kWh, in local time, with rows that overlap, and right.
    for name, text, says in (
        ("kw.csv", revenue_meter(first, factor=61.2), "looks like mean power taken for energy"),
        ("local.csv", revenue_meter(first, factor=1.02).replace("Z", ""), "has no UTC offset"),
        (
            "over.csv",
            "start,end,kWh\n2026-07-01T12:00Z,2026-07-01T12:02Z,1\n2026-07-01T12:01Z,2026-07-01T12:03Z,1\n",
            "must not overlap",
        ),
    ):
        code, answer = site.say("meter", "import", site.file(name, text), "--meter", "site", "--by", "ann")
        assert (code, says in answer["error"]) == (2, True), answer
    assert site.ask("meter", "imports") == []
    right = site.file("right.csv", revenue_meter(first, factor=1.02))
    assert site.ask("meter", "import", right, "--meter", "site", "--by", "ann")["recorded"]

    eventually("version 2", lambda: len(rows(site.folder, "SELECT 1 FROM statement")) == 2, within_s=20)
    second = site.newest()
    assert (second["statement_id"], second["edition"]["shadow"]) == (f"{NAME}-v2", False)
    assert second["amount"] != first["amount"]
    moved = {one["figure"]: one for one in site.ask("statement", "versions", NAME)[1]["changes"]}
    # Of the minutes before the event the revenue meter's file says nothing.
    by_both = "the revenue meter, its baseline in part on our own"
    assert (moved["meter"]["before"], moved["meter"]["after"]) == ("our own metering", by_both)
    assert f"it rests on {by_both} now" in moved["amount USD"]["cause"]

    # The counterparty has read another meter, and then ours.
    other = site.file("theirs-1.json", theirs(second, "inv-1", factor=0.9))
    reconciled = ("statement", "reconcile", second["statement_id"], "--by", "ann", "--file")
    code, found = site.say(*reconciled, other, "--dispute")
    assert (code, {one["figure"] for one in found["differences"]}) == (1, {"amount USD", "measured kWh"})
    ((dispute,),) = [one["open_disputes"] for one in site.ask("statement", "versions", NAME)[1:]]
    site.ask("statement", "approve", second["statement_id"], "--by", "ann")
    code, answer = site.say("statement", "finalise", second["statement_id"], "--by", "ann")
    assert (code, f"dispute {dispute} by ann is open" in answer["error"]) == (1, True)
    assert "no statement of the counterparty agrees with it" in answer["error"]
    site.ask("statement", "resolve", second["statement_id"], dispute, "--reason", "they took our readings")
    # A head that its reader keeps, from before the statement was final.
    (own_head,) = site.ask("evidence", "head")["given_to"]
    kept = tmp_path / "kept.json"
    kept.write_bytes(max(Path(own_head).glob("*.json")).read_bytes())
    site.ask(*reconciled, site.file("theirs-2.json", theirs(second, "inv-2", factor=1.0)))
    final = site.ask("statement", "finalise", second["statement_id"], "--by", "ann")
    assert (final["edition"]["run"], final["amount"]) == ("final", second["amount"])

    # What comes now changes nothing, and is said.
    late = site.file("late.csv", revenue_meter(first, factor=1.05))
    assert site.ask("meter", "import", late, "--meter", "site", "--by", "ann")["replaces"] > 0
    query = "SELECT detail FROM event_log WHERE what = 'final stands'"
    ((said,),) = eventually("it is said", lambda: rows(site.folder, query), within_s=20)
    assert said.startswith(f"{final['statement_id']} stays at {final['delivered_kwh']} kWh, {final['amount']} USD")
    assert site.newest() == final

    check_the_proof(site, final["statement_id"], kept, tmp_path)
    assert site.stop() == 0
    assert utility.stop() == 0


def check_the_proof(site: Site, statement_id: str, kept: Path, folder: Path) -> None:
    """A bundle made while the gateway runs, verified offline by the reader's own head and key."""
    bundle = folder / "bundle.zip"
    code, made = site.say("statement", "bundle", statement_id, "--out", str(bundle))
    assert code == 0, made
    key = folder / "key.pem"
    key.write_text(site.ask("evidence", "key")["pem"])
    pinned = ("--head", str(kept), "--key", str(key))
    code, found = site.say("verify", str(bundle), *pinned, offline=True)
    assert (code, found["holds"], found["statement_id"]) == (0, True, statement_id), found["checks"]

    whole = read_bundle(bundle.read_bytes())
    name = "records/reading.txt"
    changed = re.sub(rb",(\d)(\d*\.\d+),", lambda one: b",9" + one[2] + b",", whole.files[name], count=1)
    assert changed != whole.files[name]
    bundle.write_bytes(write_bundle(replace(whole, files={**whole.files, name: changed})))
    code, found = site.say("verify", str(bundle), *pinned, offline=True)
    (records,) = [one for one in found["checks"] if one["name"] == "records"]
    assert (code, found["holds"]) == (1, False)
    assert "of meter site" in records["faults"][0]
