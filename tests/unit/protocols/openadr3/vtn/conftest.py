"""A VTN over a new database."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.storage import upgrade
from gateway.storage.sql_ledger import open_ledger
from protocols.openadr3.names import Version
from tests.openadr3_definition import Definition
from tests.openadr3_lab import Lab


@pytest.fixture(scope="session")
def empty_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of the newest revision without a row."""
    file = tmp_path_factory.mktemp("record") / "empty.db"
    asyncio.run(upgrade.upgrade(f"sqlite+aiosqlite:///{file}"))
    return file


@pytest.fixture
async def lab(empty_record: Path, tmp_path: Path, definitions: dict[Version, Definition]) -> AsyncIterator[Lab]:
    file = tmp_path / "record.db"
    shutil.copy(empty_record, file)
    async with open_ledger(f"sqlite+aiosqlite:///{file}", migrate=False) as ledger:
        yield Lab(ledger=ledger, definition=definitions[Version.V3_1])
