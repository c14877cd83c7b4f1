"""``gridgate db`` over the real composition root."""

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.db import db


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'ledger.db'}"


def run(*arguments: str):
    return CliRunner().invoke(db, list(arguments))


def test_upgrade_makes_the_database_and_may_be_repeated(url: str) -> None:
    for _ in range(2):
        result = run("upgrade", "--database", url, "--json")

        assert result.exit_code == 0
        assert json.loads(result.stdout) == {"revision": "0012"}


def test_check_fails_until_the_database_was_upgraded(url: str) -> None:
    before = run("check", "--database", url)
    run("upgrade", "--database", url)
    after = run("check", "--database", url, "--json")

    assert before.exit_code == 1
    assert "gridgate db upgrade" in before.stdout
    assert after.exit_code == 0
    assert json.loads(after.stdout) == {"revision": "0012", "newest": "0012", "up_to_date": True}


def test_the_database_of_the_working_directory_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert run("upgrade").exit_code == 0
    assert (tmp_path / "gridgate.db").exists()


def test_a_config_file_names_the_database(tmp_path: Path, url: str) -> None:
    config = tmp_path / "gridgate.toml"
    config.write_text(f'[gateway]\ndatabase = "{url}"\n[site]\nid = "phx-1"\n')

    assert run("upgrade", "--config", str(config)).exit_code == 0
    assert (tmp_path / "ledger.db").exists()


def test_a_newer_database_is_left_alone_with_one_clear_line(tmp_path: Path, url: str) -> None:
    run("upgrade", "--database", url)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00d'")
    connection.close()

    result = run("upgrade", "--database", url, "--json")

    assert result.exit_code == 1
    assert "newer gridgate" in json.loads(result.stdout)["error"]
    assert result.stderr.startswith("gridgate: ")
    assert result.stderr.count("\n") == 1
    assert run("check", "--database", url).exit_code == 1


def test_an_address_that_cannot_be_used_is_one_clear_line() -> None:
    result = run("check", "--database", "mysql://localhost/x")

    assert result.exit_code == 1
    assert "mysql is not supported" in result.stderr
