"""``gridgate opt``, ``vtn party``, ``vtn report`` and ``vtn opt`` at the terminal, without a gateway that listens."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway import app
from gateway.__main__ import main
from protocols.grid import Party
from protocols.grid_report import IntervalReport, ReportInterval, ReportOrder
from protocols.object_store import StoredObject
from protocols.party_store import PlacedOrder

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
OUT = ("opt", "create", "--connection", "utility", "--out", "--by", "ann", "--wait", "0")
BELOW = ("--connection", "below")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite+aiosqlite:///{tmp_path}/gridgate.db"
    asyncio.run(app.upgrade_database(url))
    monkeypatch.setenv("GRIDGATE_GATEWAY__DATABASE", url)
    return url


@pytest.fixture
def typed(url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def typed(*words: str) -> Done:
        monkeypatch.setattr("sys.argv", ["gridgate", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        assert "internal error" not in captured.err
        return Done(code=ended.value.code, out=captured.out, err=captured.err)

    return typed


def test_a_schedule_on_record_is_listed_and_a_wrong_id_names_the_nearest(typed: Callable[..., Done]) -> None:
    assert typed("opt", "list").out == "no schedules on record\n"
    made = typed(*OUT, "--start", "+1h", "--duration", "2h", "--period", "+24h for 30m", "--json")
    opt_id = made.json["command"]["schedule"]["opt_id"]
    (line,) = typed("opt", "list", "--json").json
    assert (line["state"], [length for _, length in line["schedule"]["periods"]]) == (
        "not acted on yet",
        [7200.0, 1800.0],
    )
    assert opt_id in typed("opt", "list").out
    wrong = typed("opt", "cancel", opt_id[:-1] + "x", "--wait", "0")
    assert (wrong.code, f"did you mean {opt_id}?" in wrong.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "a schedule needs a time"),
        (("--start", "now"), "--start and --duration belong together"),
        (("--start", "soon", "--duration", "1h"), "'soon' is no start"),
        (("--period", "now"), "'' is no length of time"),
        (("--start", "2020-01-01T00:00:00Z", "--duration", "1h"), "is past"),
        (("--start", "now", "--duration", "0s"), "a period lasts a second at least"),
    ],
)
def test_a_schedule_that_cannot_be_is_bad_usage_and_not_on_record(
    typed: Callable[..., Done], words: tuple[str, ...], why: str
) -> None:
    done = typed(*OUT, *words)
    assert (done.code, why in done.err) == (2, True), done.err
    assert typed("opt", "list", "--json").json == []


def test_parties_their_reports_and_data_are_read_from_the_record(url: str, typed: Callable[..., Done]) -> None:
    async def fill() -> None:
        party = Party(connection_id="below", party_id="ven-1", registration_id="r1", name="site-1", registered_at=NOON)
        order = ReportOrder(
            order_id="o1",
            connection_id="below",
            resource_id="lab",
            granularity_s=60.0,
            report_back_s=60.0,
            starts_at=NOON,
            ends_at=None,
        )
        said = [ReportInterval(starts_at=NOON, duration_s=60.0, power_w=w, coverage_fraction=1.0) for w in (5.0, 7.25)]
        async with app.open_record(url, migrate=False) as record:
            await record.parties.save_party(party)
            await record.parties.save_placed_order(PlacedOrder(party_id="ven-1", order=order))
            for number, interval in enumerate(said):
                report = IntervalReport(
                    report_id=f"r{number}",
                    order_id="o1",
                    connection_id="below",
                    resource_id="lab",
                    created_at=NOON,
                    intervals=(interval,),
                )
                await record.parties.save_received_report("ven-1", report)

    asyncio.run(fill())
    assert typed("vtn", "party", "list", *BELOW).out == "ven-1  site-1  since 2026-07-01T12:00:00Z  pull\n"
    assert typed("vtn", "party", "show", "site-1", *BELOW, "--json").json["orders"][0]["order"]["order_id"] == "o1"
    assert "power of lab in intervals of 60 s, every 60 s: stands" in typed("vtn", "report", "list", *BELOW).out
    assert typed("vtn", "report", "show", "o1", *BELOW, "--csv").out.splitlines()[1:] == [
        "2026-07-01T12:00:00Z,60,7.2,,,,,,no"
    ]
    nobody = typed("vtn", "party", "show", "site-2", *BELOW)
    assert (nobody.code, "no party 'site-2' is registered: there is site-1" in nobody.err) == (1, True)
    nothing = typed("vtn", "report", "show", "o2", *BELOW)
    assert (nothing.code, "there is o1" in nothing.err or "vtn report list" in nothing.err) == (1, True)
    wrong = typed("vtn", "report", "order", *BELOW, "--party", "site-1", "--quantity", "watts")
    assert (wrong.code, "'watts' is no quantity: choose of power" in wrong.err) == (2, True)
    assert typed("vtn", "opt", "list", *BELOW).out == "no party has told of an opt\n"


VTNS = """
[site]
id = "utility"
[[connection]]
kind = "openadr2b"
role = "vtn"
name = "below"
listen = "127.0.0.1:8081"
[[connection.party]]
name = "site-1"
[[connection]]
kind = "openadr3"
role = "vtn"
name = "below-3"
listen = "127.0.0.1:8082"
url = "http://127.0.0.1:8082"
[[connection.client]]
client_id = "c"
role = "ven"
secret_hash = "{secret_hash}"
"""


def test_the_parties_to_every_vtn_of_a_config_are_listed_those_of_both_dialects(
    url: str, typed: Callable[..., Done], tmp_path: Path
) -> None:
    ven = StoredObject(
        kind="VEN",
        object_id="v1",
        created_at=NOON,
        modified_at=NOON,
        body=f"""{{"id": "v1", "objectType": "VEN", "venName": "site-3", "clientID": "c", "targets": ["west"],
            "createdDateTime": "{NOON:%Y-%m-%dT%H:%M:%SZ}", "modificationDateTime": "{NOON:%Y-%m-%dT%H:%M:%SZ}"}}""",
    )

    async def fill() -> None:
        async with app.open_record(url, migrate=False) as record:
            await record.objects.change("below-3", kept=[ven])

    asyncio.run(fill())
    file = tmp_path / "utility.toml"
    file.write_text(VTNS.format(secret_hash=app.new_secret()[1]))
    listed = typed("vtn", "party", "list", "--config", str(file))
    assert listed.out.splitlines() == [
        "below:",
        "nobody has registered with a VTN called 'below'",
        "below-3:",
        "v1  site-3  since 2026-07-01T12:00:00Z  pull  targets west",
    ], listed.err
    assert (
        typed("vtn", "party", "show", "site-3", "--connection", "below-3", "--json").json["party"]["party_id"] == "v1"
    )
    unsaid = typed("vtn", "party", "list")
    assert (unsaid.code, "say --connection NAME, or --config FILE" in unsaid.err) == (2, True)
