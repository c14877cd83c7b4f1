"""``gridgate temperature import``: a series into the record."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app as commands
from gateway.storage.sql_ledger import open_ledger
from gateway.storage.upgrade import upgrade

FIRST = datetime(2026, 7, 1, 0, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite+aiosqlite:///{tmp_path}/record.db"
    asyncio.run(upgrade(url))
    return url


def imported(database: str, tmp_path: Path, text: str, *more: str) -> Result:
    file = tmp_path / "weather.csv"
    file.write_text(text)
    return CliRunner().invoke(commands, ["temperature", "import", str(file), "--database", database, *more])


def on_record(database: str) -> tuple[tuple[datetime, float], ...]:
    async def read() -> tuple[tuple[datetime, float], ...]:
        async with open_ledger(database, migrate=False) as ledger:
            return await ledger.temperatures_between(FIRST, FIRST + timedelta(days=2), known_by=datetime.now(UTC))

    return asyncio.run(read())


def test_a_series_is_kept_and_said(database: str, tmp_path: Path) -> None:
    text = "start,temperature_c\n2026-07-01T00:00Z,21.5\n2026-07-01T01:00Z,\n2026-07-01T02:00Z,-3\n"
    result = imported(database, tmp_path, text, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["temperatures"] == 2
    assert on_record(database) == ((FIRST, 21.5), (FIRST + timedelta(hours=2), -3.0))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("start,temperature_c\n", "no temperature in it"),
        ("start,temperature_c\n2026-07-01T00:00Z,99\n", "99 is no temperature"),
        ("start,temperature_c\n2026-07-01 00:00,20\n", "--timezone"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_kept(
    database: str, tmp_path: Path, text: str, says: str
) -> None:
    result = imported(database, tmp_path, text)
    assert result.exit_code == 2
    assert says in result.stderr
    assert on_record(database) == ()
