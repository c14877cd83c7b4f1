"""The freezer of a control group, of either version: it stops every process in it at once, those born later too."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Protocol


class Ice(Enum):
    """How far a control group is frozen."""

    NO = 0
    PART = 1
    WHOLE = 2


class Freezer(Protocol):
    """What stops and lets go a control group. Every method raises ``OSError``."""

    def ice(self) -> Ice: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


class FreezerV1:
    """``freezer.state`` of the first version; FREEZING is part of the way (kernel, cgroup-v1/freezer-subsystem)."""

    def __init__(self, path: Path) -> None:
        self._state = path / "freezer.state"

    def ice(self) -> Ice:
        found = self._state.read_text().strip()
        return {"FROZEN": Ice.WHOLE, "FREEZING": Ice.PART}.get(found, Ice.NO)

    def freeze(self) -> None:
        self._state.write_text("FROZEN")

    def thaw(self) -> None:
        self._state.write_text("THAWED")


class FreezerV2:
    """``cgroup.freeze`` of the second version; ``cgroup.events`` says when it is done (kernel, cgroup-v2)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ice(self) -> Ice:
        events = dict(line.split() for line in (self._path / "cgroup.events").read_text().splitlines())
        if events.get("frozen") == "1":
            return Ice.WHOLE
        return Ice.PART if (self._path / "cgroup.freeze").read_text().strip() == "1" else Ice.NO

    def freeze(self) -> None:
        (self._path / "cgroup.freeze").write_text("1")

    def thaw(self) -> None:
        (self._path / "cgroup.freeze").write_text("0")


def freezer_of(path: Path) -> Freezer | None:
    """The freezer of a control group, ``None`` where it has none."""
    if (path / "freezer.state").exists():
        return FreezerV1(path)
    if (path / "cgroup.freeze").exists():
        return FreezerV2(path)
    return None


def process_ids(path: Path) -> Iterator[int]:
    """Every process in the control group and in those below it. One that ends meanwhile is left out."""
    for folder in (path, *(entry for entry in path.rglob("*") if entry.is_dir())):
        try:
            yield from map(int, (folder / "cgroup.procs").read_text().split())
        except OSError:
            continue
