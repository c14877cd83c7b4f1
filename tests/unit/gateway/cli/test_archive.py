"""``gridgate archive``: what is there, whether it is as it was written, and what every event delivered."""

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app as commands
from gateway.domain.measurement import IntervalEnergy
from gateway.storage.sql_ledger import open_ledger

CONFIG = """
[gateway]
database = "{database}"
[site]
id = "a"
timezone = "UTC"
[[hardware]]
kind = "simulated"
[archive]
folder = "{folder}/closed"
"""
NIGHT = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A record with an hour of one day."""
    database = f"sqlite+aiosqlite:///{tmp_path}/record.db"

    async def fill() -> None:
        async with open_ledger(database, migrate=True) as ledger:
            hours = [
                IntervalEnergy(
                    starts_at=NIGHT + index * timedelta(hours=1),
                    duration_s=3600.0,
                    energy_wh=1.0,
                    coverage_fraction=1.0,
                )
                for index in range(3)
            ]
            await ledger.record_energy("site", hours)

    asyncio.run(fill())
    path = tmp_path / "gridgate.toml"
    path.write_text(CONFIG.format(database=database, folder=tmp_path))
    return path


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["archive", *arguments, "--config", str(config)])


def test_a_day_is_written_listed_and_checked(config: Path, tmp_path: Path) -> None:
    assert run(config, "list").stdout == "no day is archived yet\n"
    assert run(config, "write", "2026-07-01").stdout == "2026-07-01 is archived, version 1\n"
    assert run(config, "write", "2026-07-01").stdout == "2026-07-01 is archived, version 1\n"
    (day,) = json.loads(run(config, "list", "--json").stdout)
    assert (day["day"], day["version"], sum(file["rows"] for file in day["files"])) == ("2026-07-01", 1, 3)
    assert run(config, "check").stdout == "every file is as it was written\n"
    (tmp_path / "closed/2026-07-01/v1/energy.parquet").unlink()
    broken = run(config, "check")
    assert (broken.exit_code, broken.stdout) == (1, "2026-07-01/v1/energy.parquet: is missing\n")


def test_totals_of_days_without_an_event_say_so(config: Path) -> None:
    run(config, "write", "2026-07-01")
    found = run(config, "totals", "--from", "2026-07-01", "--to", "2026-07-31")
    assert (found.exit_code, found.stdout) == (0, "no event began on these days\n")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("write", "2026-06-01"), 1, "the record has nothing of 2026-06-01"),
        (("write", "yesterday"), 2, "'yesterday' is no day: write it as 2026-07-01"),
        (("totals", "--from", "2026-07-01", "--to", "07-31"), 2, "'07-31' is no day: write it as 2026-07-01"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(config: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    found = run(config, *arguments)
    assert (found.exit_code, found.stderr) == (code, f"gridgate: {says}\n")


def test_a_day_that_is_not_over_is_refused(config: Path) -> None:
    today = datetime.now(UTC).date() + timedelta(days=1)
    found = run(config, "write", today.isoformat())
    assert (found.exit_code, found.stderr) == (2, f"gridgate: {today} is not over at UTC\n")


def test_a_file_without_an_archive_says_where_it_is_declared(config: Path) -> None:
    config.write_text(config.read_text().partition("[archive]")[0])
    for arguments in (("list",), ("write", date(2026, 7, 1).isoformat())):
        found = run(config, *arguments)
        assert found.exit_code == 2
        assert "[archive]" in found.stderr
