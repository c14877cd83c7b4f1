"""``gridgate statement`` after the figures, on a record with two versions of one statement."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app as commands
from gateway.cli.output import as_json
from gateway.cli.statement_month import is_over
from gateway.domain.settlement import Edition, Run, statement_name
from gateway.storage.sql_ledger import open_ledger
from tests.unit.gateway.domain.test_statement_changes import HOUR, START, inputs, statement_of

LATE = tuple(replace(one, energy_wh=650.0) for one in inputs().measured)
ID = statement_name("phx-1", statement_of(inputs()).verified)
ID_2 = f"{ID}-v2"
FIRST = replace(statement_of(inputs()), statement_id=ID, edition=Edition(dispute_until=START + timedelta(days=36_500)))
SECOND = replace(
    statement_of(inputs(measured=LATE)),
    statement_id=ID_2,
    edition=Edition(
        version=2, run=Run.RECALCULATED, supersedes=ID, shadow=False, dispute_until=START + timedelta(days=36_500)
    ),
)


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite+aiosqlite:///{tmp_path}/record.db"

    async def fill() -> None:
        async with open_ledger(url, migrate=True) as ledger:
            await ledger.record_statement(FIRST, inputs())
            await ledger.record_statement(SECOND, inputs(measured=LATE))

    asyncio.run(fill())
    return url


def run(database: str, *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["statement", *arguments, "--database", database])


def their_file(folder: Path, **changed: object) -> Path:
    content = {
        "reference": "S-7",
        "party": "utility",
        "event_id": "e1",
        "currency": "USD",
        "amount": str(SECOND.amount),
        "delivered_kwh": 0.7,
        "intervals": [
            {"starts_at": (START + index * HOUR).isoformat(), "duration_s": 3600, "measured_kwh": 0.650}
            for index in range(2)
        ],
        **changed,
    }
    path = folder / "theirs.json"
    path.write_text(json.dumps(content))
    return path


def test_versions_are_told_with_what_changed_and_why(database: str) -> None:
    told = run(database, "versions", ID).stdout
    assert "version 1 (initial), a shadow" in told
    assert f"version 2 (recalculated), in place of {ID}" in told
    assert "delivered kWh: 0.600 -> 0.700\n" in told
    # One cause of all that moved: it is told once.
    assert told.count("of the event came late or were edited; it rests on the revenue meter now:\n") == 1
    assert "delivered Wh: 300.0 -> 350.0\n" in told
    by_id = run(database, "versions", ID_2, "--json")
    assert [one["statement"]["statement_id"] for one in json.loads(by_id.stdout)] == [ID, ID_2]
    assert "gridgate statement list" in run(database, "versions", "none").stderr


def test_the_list_says_which_version_stands(database: str) -> None:
    first, second = run(database, "list").stdout.splitlines()
    assert first.endswith(f"initial, shadow, superseded by {ID_2}")
    assert second.endswith("recalculated")


def test_a_difference_is_the_same_whichever_way_it_is_asked(database: str) -> None:
    forth = json.loads(run(database, "diff", ID, ID_2, "--json").stdout)
    back = json.loads(run(database, "diff", ID_2, ID, "--json").stdout)
    assert {(one["figure"], one["starts_at"], one["before"]) for one in forth} == {
        (one["figure"], one["starts_at"], one["after"]) for one in back
    }
    assert run(database, "diff", ID, ID).stdout.strip() == "they say the same"


def test_from_dispute_to_final(database: str, tmp_path: Path) -> None:
    refused = run(database, "finalise", ID_2, "--by", "Ann")
    assert refused.exit_code == 1
    assert "nobody has approved it" in refused.stderr
    assert run(database, "approve", ID_2, "--by", "Ann").exit_code == 0
    assert f"superseded by {ID_2}" in run(database, "approve", ID, "--by", "Ann").stderr

    wrong = their_file(tmp_path, amount="0.40")
    differs = run(database, "reconcile", ID_2, "--file", str(wrong), "--by", "Ben", "--dispute")
    assert differs.exit_code == 1
    assert "4 figures compared, 1 differ" in differs.stdout
    dispute_id = differs.stdout.rpartition("disputed: ")[2].strip()
    assert f"dispute {dispute_id} by Ben is open" in run(database, "finalise", ID_2, "--by", "Ann").stderr
    shown = run(database, "versions", ID).stdout
    assert "disputed of amount USD by Ben" in shown
    assert "utility's statement S-7 differs in 1 figures" in shown

    closed = run(database, "resolve", ID_2, dispute_id, "--reason", "a typing error of theirs", "--by", "Ann")
    assert (closed.exit_code, closed.stdout) == (0, f"dispute {dispute_id} of {ID_2} is resolved by Ann\n")
    assert "may be disputed until" in run(database, "finalise", ID_2, "--by", "Ann").stderr
    agrees = run(database, "reconcile", ID_2, "--file", str(their_file(tmp_path)), "--by", "Ben")
    assert (agrees.exit_code, agrees.stdout.strip()) == (
        0, f"{ID_2} and utility's S-7: 4 figures compared, all the same",
    )  # fmt: skip
    final = run(database, "finalise", ID_2, "--by", "Ann")
    assert final.exit_code == 0, final.stderr
    assert "is final: 0.700 kWh, 0.35 USD" in final.stdout
    listed = json.loads(run(database, "list", "--json").stdout)
    assert [one["edition"]["run"] for one in listed] == ["initial", "recalculated", "final"]
    assert listed[2]["statement_id"] == f"{ID}-v3"
    again = run(database, "finalise", listed[2]["statement_id"], "--by", "Ann")
    assert "final already" in again.stderr


def test_a_csv_file_needs_to_be_told_whose_it_is(database: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text(f"starts_at,duration_s,measured_kwh\n{START.isoformat()},3600,0.65\n")
    bare = run(database, "reconcile", ID_2, "--file", str(path), "--by", "Ben")
    assert bare.exit_code == 2
    assert "give --reference, --party, --amount" in bare.stderr
    named = ["--reference", "S-8", "--party", "utility", "--amount", "0.35 USD"]
    found = run(database, "reconcile", ID_2, "--file", str(path), "--by", "Ben", *named)
    assert "theirs has no interval there" in found.stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("\n", "the file is empty"),
        ("{", "not JSON"),
        ("[]", "an object is wanted"),
        ('{"reference": "r", "party": "p", "event_id": "e1", "currency": "USD"}', "amount: a number such as"),
        ('{"reference": "r", "party": "p", "event_id": "e1", "currency": "USD", "amount": NaN}', "NaN is no number"),
        (
            '{"reference": "r", "party": "p", "event_id": "e1", "currency": "USD", "amount": 1, "intervals": [LOCAL]}',
            "intervals[0]: the interval at 2026-07-15T20:00:00 has no UTC offset",
        ),
        ("starts_at,duration_s,kw\n", "line 1: a header of starts_at, duration_s"),
        ("starts_at,duration_s,measured_kwh\nyesterday,3600,1\n", "line 2: starts_at: an instant such as"),
        ("starts_at,duration_s,measured_kwh\n", "no interval after the header"),
    ],
)
def test_a_file_that_is_no_statement_is_refused_by_its_place_and_nothing_is_kept(
    database: str, tmp_path: Path, content: str, says: str
) -> None:
    path = tmp_path / "theirs"
    path.write_text(content.replace("LOCAL", '{"starts_at": "2026-07-15T20:00:00", "duration_s": 3600}'))
    named = ["--reference", "S-8", "--party", "utility", "--amount", "0.35 USD"] if "starts_at,d" in content else []
    found = run(database, "reconcile", ID_2, "--file", str(path), "--by", "Ben", *named)
    assert found.exit_code == 2
    assert says in found.stderr
    assert json.loads(run(database, "versions", ID_2, "--json").stdout)[1]["received"] == []


def test_another_gridgates_statement_is_taken_as_it_prints_it(database: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(as_json(replace(SECOND, site_id="above"))))
    found = run(database, "reconcile", ID_2, "--file", str(path), "--by", "Ben")
    assert f"above's {ID_2}: 8 figures compared, all the same" in found.stdout


def placebo_days(*errors_wh: float) -> dict[str, object]:
    days = [
        {
            "date": f"2026-06-{number:02d}",
            "errors_w": [],
            "measured_w": [],
            "error_wh": error_wh,
            "measured_wh": 1000.0,
            "baseline_days": 10,
        }
        for number, error_wh in enumerate(errors_wh, 1)
    ]
    return {"placebo": {"days": days, "passed": []}}


def site_file(folder: Path, site: str, amount: str, assurance: dict[str, object] | None = None) -> str:
    path = folder / f"{site}.json"
    statement = replace(SECOND, site_id=site, amount=Decimal(amount))
    path.write_text(json.dumps({**as_json(statement), "assurance": assurance or {"reason": "too few days"}}))
    return str(path)


def added(*words: str) -> Result:
    return CliRunner().invoke(commands, ["statement", "portfolio", *words])


def test_a_portfolio_adds_up_what_show_prints(tmp_path: Path) -> None:
    files = [site_file(tmp_path, "a", "0.10"), site_file(tmp_path, "b", "0.25")]
    found = added(*files)
    assert "together 1.400 kWh, 0.35 USD" in found.stdout
    assert f"cannot be said: printed without --assurance: {ID_2}, {ID_2}" in found.stdout
    twice = added(files[0], files[0])
    assert twice.exit_code == 1
    assert "are of one event of a" in twice.stderr
    (tmp_path / "no.json").write_text("{}")
    bad = added(str(tmp_path / "no.json"))
    assert bad.exit_code == 2
    assert "gridgate statement show --json" in bad.stderr
    broken = site_file(tmp_path, "c", "0.10", {"placebo": {"days": [{}], "passed": []}})
    assert "assurance.placebo.days.0.date" in added(broken).stderr


def test_a_portfolio_is_surer_than_its_sites_where_their_errors_cancel(tmp_path: Path) -> None:
    errors = [10.0 * number for number in range(-5, 5)]
    files = [
        site_file(tmp_path, "a", "0.10", placebo_days(*errors)),
        site_file(tmp_path, "b", "0.25", placebo_days(*(-error for error in errors))),
    ]
    found = json.loads(added(*files, "--json").stdout)
    # On each day that both share the errors add up to nothing, so nothing is taken off.
    assert found["bound"]["days"] == 10
    assert found["bound"]["p50_wh"] == found["bound"]["p90_wh"] == pytest.approx(1400.0)
    assert "at least 1.400 kWh in one of two, 1.400 kWh in nine of ten" in added(*files).stdout
    few = [site_file(tmp_path, "a", "0.10", placebo_days(1.0)), files[1]]
    assert "1 shared days where 9 are needed" in added(*few).stdout


def test_a_portfolio_settled_as_one_is_split_to_the_cent(tmp_path: Path) -> None:
    config = tmp_path / "gridgate.toml"
    config.write_text(CONFIG.format(tariff="flat-energy", currency="USD"))
    files = [site_file(tmp_path, "a", "0.35"), site_file(tmp_path, "b", "0.35")]
    found = json.loads(added(*files, "--pooled", "--program", "peak", "--config", str(config), "--json").stdout)
    shares = {share["site_id"]: Decimal(share["amount"]) for share in found["pooled"]["shares"]}
    assert Decimal(found["pooled"]["amount"]) == sum(shares.values()) == Decimal("0.70")
    assert added(*files, "--pooled").exit_code == 2
    unknown = added(*files, "--pooled", "--program", "none", "--config", str(config))
    assert "declared are peak" in unknown.stderr


CONFIG = """
[site]
id = "phx-1"
timezone = "America/Phoenix"

[[hardware]]
kind = "simulated"
devices_per_host = 2

[[program]]
id = "peak"
price_per_kwh = "0.50"
currency = "{currency}"
tariff = "{tariff}"
agreed = {{ availability = "2.00" }}
"""


def test_a_month_rests_on_the_last_versions(database: str, tmp_path: Path) -> None:
    config = tmp_path / "gridgate.toml"
    config.write_text(CONFIG.format(tariff="flat-energy", currency="USD"))
    found = run(database, "month", "2026-07", "--program", "peak", "--config", str(config), "--json")
    assert found.exit_code == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["statements"] == [ID_2]
    assert told["statement"]["amount"] == "0.35"
    assert "1 of 1 statements are not final." in told["notes"]
    text = run(database, "month", "2026-07", "--program", "peak", "--config", str(config)).stdout
    assert "month 2026-07 of program peak, site phx-1: 0.35 USD under flat-energy 1.0" in text
    for arguments, code, says in (
        (["2026-08", "--program", "peak"], 1, "no statement of an event that began in it"),
        (["July", "--program", "peak"], 2, "2026-11 is wanted"),
        (["2026-07", "--program", "none"], 2, "declared are peak"),
    ):
        wrong = run(database, "month", *arguments, "--config", str(config))
        assert (wrong.exit_code, says in wrong.stderr) == (code, True), wrong.stderr


def test_a_month_is_over_when_the_next_has_begun() -> None:
    assert not is_over("2026-07", datetime(2026, 7, 31, 23, 59, tzinfo=UTC))
    assert is_over("2026-07", datetime(2026, 8, 1, tzinfo=UTC))


def test_what_only_the_month_pays_is_in_the_month_and_in_its_currency(database: str, tmp_path: Path) -> None:
    config = tmp_path / "gridgate.toml"
    declared = CONFIG.format(tariff="availability-and-utilisation", currency="GBP")
    config.write_text(declared + "contract = { committed_kw = 10 }\n")
    asked = ["month", "2026-07", "--program", "peak", "--config", str(config)]
    assert f"{ID_2} is in USD, the month in GBP" in run(database, *asked).stderr

    async def restate() -> None:
        async with open_ledger(database, migrate=True) as ledger:
            edition = replace(SECOND.edition, version=3, supersedes=ID_2)
            third = replace(SECOND, statement_id=f"{ID}-v3", currency="GBP", edition=edition)
            await ledger.record_statement(third)

    asyncio.run(restate())
    assert "availability" in run(database, *asked).stderr
    found = run(database, *asked, "--availability-hours", "100", "--availability-factor", "0.5", "--json")
    assert found.exit_code == 0, found.stderr
    parts = {one["part"]: one["amount"] for one in json.loads(found.stdout)["statement"]["parts"]}
    assert Decimal(parts["availability"]) == 10 * 100 / 2 * 2
