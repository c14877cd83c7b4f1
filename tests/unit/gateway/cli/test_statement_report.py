"""``gridgate statement report``: a file for people from what is on record."""

import asyncio
import json
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app as commands
from gateway.storage.sql_ledger import open_ledger
from tests.assured_record import BUILDING_ID, building_file
from tests.statement_material import material

STATEMENT = material().statement


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A record with a statement and nothing around it."""
    url = f"sqlite+aiosqlite:///{tmp_path}/record.db"

    async def fill() -> None:
        async with open_ledger(url, migrate=True) as ledger:
            await ledger.record_statement(STATEMENT)

    asyncio.run(fill())
    return url


def asked(database: str, out: Path, form: str, *more: str, statement_id: str = STATEMENT.statement_id) -> Result:
    arguments = ["statement", "report", statement_id, "--format", form, "--out", str(out), "--database", database]
    return CliRunner().invoke(commands, [*arguments, *more])


@pytest.mark.parametrize("form", ["pdf", "xlsx", "csv", "json", "parquet"])
def test_the_file_is_written_and_its_fingerprint_said(database: str, tmp_path: Path, form: str) -> None:
    out = tmp_path / f"report.{form}"
    result = asked(database, out, form, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["sha256"] == sha256(out.read_bytes()).hexdigest()


def test_a_file_that_is_there_is_left_as_it_is(database: str, tmp_path: Path) -> None:
    out = tmp_path / "report.csv"
    out.write_text("mine")
    result = asked(database, out, "csv")
    assert result.exit_code == 2
    assert "cannot write" in result.stderr
    assert out.read_text() == "mine"


def test_an_unknown_form_and_an_unknown_statement_say_what_there_is(database: str, tmp_path: Path) -> None:
    out = tmp_path / "report.doc"
    wrong = asked(database, out, "doc")
    assert wrong.exit_code == 2
    assert "pdf, xlsx, csv, json, parquet" in wrong.stderr
    unknown = asked(database, out, "pdf", statement_id="none")
    assert unknown.exit_code == 1
    assert "gridgate statement list" in unknown.stderr
    assert not out.exists()


@pytest.fixture(scope="module")
def building(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file over the record of a real building."""
    folder = tmp_path_factory.mktemp("building")
    config = folder / "gridgate.toml"
    config.write_text(
        f'[gateway]\ndatabase = "sqlite+aiosqlite:///{building_file(folder, shared)}"\n'
        '[site]\nid = "building"\ntimezone = "America/Los_Angeles"\ninterval_s = 900\n'
        '[[program]]\nid = "peak"\nbaseline = "caiso-10-in-10"\nprice_per_kwh = "0.75"\n'
    )
    return config


def test_a_report_with_a_config_has_the_assurance(building: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    arguments = ["statement", "report", BUILDING_ID, "--format", "json", "--out", str(out), "--config", str(building)]
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 0, result.stderr
    tables = {table["name"]: table for one in json.loads(out.read_text())["sections"] for table in one["tables"]}
    assert {"accuracy", "placebo", "other_rules", "gaming", "rebound", "devices"} <= set(tables)
    assert len(tables["placebo"]["rows"]) == 23


def test_a_statement_is_shown_with_how_sure_it_is_in_three_lines(building: Path) -> None:
    call = ["statement", "show", BUILDING_ID, "--config", str(building)]
    plain = CliRunner().invoke(commands, call)
    sure = CliRunner().invoke(commands, [*call, "--assurance"])
    assert sure.exit_code == 0, sure.stderr
    more = sure.stdout.removeprefix(plain.stdout.rstrip("\n")).strip("\n").splitlines()
    assert len(more) == 3
    assert "at least -0.858 kWh in nine of ten events, 4.153 kWh in one of two" in more[0]
    assert "23 days without an event: RRMSE 16.0%, bias -3.3%" in more[0]
    assert "None of 7 tests" in more[1]
    told = json.loads(CliRunner().invoke(commands, [*call, "--assurance", "--json"]).stdout)
    assert told["assurance"]["p90"]["rank"] == 22
    assert told["statement_id"] == BUILDING_ID
    assert "assurance" not in json.loads(CliRunner().invoke(commands, [*call, "--json"]).stdout)


def test_assurance_without_a_config_says_what_it_needs(database: str) -> None:
    call = ["statement", "show", STATEMENT.statement_id, "--assurance", "--database", database]
    result = CliRunner().invoke(commands, call)
    assert result.exit_code == 2
    assert "--assurance needs --config" in result.stderr
