"""A folder for heads, each in a file of its own: on another disk, or one that is handed to an auditor."""

import asyncio
import os
from datetime import UTC
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gateway.domain.evidence import canonical_json
from gateway.domain.tree_head import SignedHead

_HEAD: TypeAdapter[SignedHead] = TypeAdapter(SignedHead)


class HeadFolder:
    """Files named by day and size, such as ``2026-07-01-000000042.json``, on demand by the instant in place of the day.

    The folder is made where there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def name(self) -> str:
        return str(self._folder)

    async def last(self) -> SignedHead | None:
        """The head over the most, by the files' names. Raises ``OSError`` where it cannot be read."""
        return await asyncio.to_thread(self._read_last)

    async def take(self, head: SignedHead) -> None:
        await asyncio.to_thread(self._write, head)

    def _read_last(self) -> SignedHead | None:
        files = sorted(self._folder.glob("*.json"), key=lambda file: (file.stem.rpartition("-")[2], file.stem))
        return read_head(files[-1]) if files else None

    def _write(self, head: SignedHead) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        named = head.head.day or f"{head.head.made_at.astimezone(UTC):%Y-%m-%dT%H%M%SZ}"
        path = self._folder / f"{named}-{head.head.size:09}.json"
        body = canonical_json(head)
        if path.exists() and path.read_bytes() == body:
            return
        # Another process may be at the same one.
        unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
        with unfinished.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)


def read_head(path: Path) -> SignedHead:
    """A head from its file. Raises ``OSError`` where it cannot be read, or is none."""
    try:
        return _HEAD.validate_json(path.read_bytes())
    except ValidationError as cause:
        raise OSError(f"{path} is no signed head: {cause.error_count()} things in it are wrong") from cause
