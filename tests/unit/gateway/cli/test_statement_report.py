"""``gridgate statement report``: a file for people from what is on record."""

import asyncio
import json
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app as commands
from gateway.storage.sql_ledger import open_ledger
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
