"""A rig for each test, on a copy of one migrated database."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.storage.upgrade import upgrade
from tests.unit.gateway.services.rig import Rig, open_rig


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("record") / "empty.db"
    asyncio.run(upgrade(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture
async def rig(empty_database: Path, tmp_path: Path) -> AsyncIterator[Rig]:
    path = tmp_path / "record.db"
    shutil.copy(empty_database, path)
    async with open_rig(f"sqlite+aiosqlite:///{path}") as rig:
        yield rig
