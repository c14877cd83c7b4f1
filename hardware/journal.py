"""What an agent must know after a crash to put everything back: limits found, jobs paused, the highest epoch.

One small JSON file, replaced as a whole (written beside, fsync, rename, fsync of the folder): whenever the process or
the machine dies, the file is either as before or as after. A commit returns only when it is on disk, so that whoever
commits before writing to a device can always be undone.
"""

import fcntl
import json
import math
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from hardware.errors import JournalTaken, JournalUnreadable

VERSION = 2
READ_VERSIONS = frozenset({1, 2})
"""The first knew neither holds nor drains, nor which life of the machine it was from."""


BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")

CURE = (
    "until it can be, nothing is written to a device: look at the disk's space, and at the owner and mode of the file"
)

DAMAGED_CURE = (
    "until it can be, nothing is written to a device: move the file away, put back by hand the limits that "
    "gridgate agent --check shows as too low, and jobs that stand still; it begins anew by itself"
)


def boot_id() -> str:
    """The name that the kernel gives to this life of the machine; empty where it gives none."""
    try:
        return BOOT_ID_PATH.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


class PriorLimit(NamedTuple):
    """What we did to one device.

    ``found_w`` is the limit before our first write and what a restore puts back. ``written_w`` is what we are writing
    or wrote last, ``before_w`` the limit read just before that write: both count as ours until the write is confirmed.
    ``hold`` keeps the cap in force when its lease ends.
    """

    found_w: float
    written_w: float
    before_w: float
    hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalState:
    """All that the journal holds. ``limits`` is by device; ``paused`` and ``held`` are jobs, ``drained`` nodes: ours.

    ``boot_id`` names the life of the machine that ``limits`` is from: devices forget their limits when it ends.
    """

    epoch: int = 0
    limits: Mapping[str, PriorLimit] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    drained: frozenset[str] = frozenset()
    boot_id: str = ""


class JournalPort(Protocol):
    """What an agent keeps its state in: the file, or in the worker the way to its keeper's."""

    @property
    def state(self) -> JournalState: ...

    @property
    def boot_id(self) -> str: ...

    def open(self) -> None: ...

    def commit(
        self,
        *,
        epoch: int | None = None,
        limits: Mapping[str, PriorLimit] | None = None,
        paused: frozenset[str] | None = None,
        held: frozenset[str] | None = None,
        drained: frozenset[str] | None = None,
    ) -> None: ...

    def close(self) -> None: ...


class Journal:
    """The journal of one agent; with no path it is kept in memory, for fleets that die with the process.

    Only one process at a time may have it open. Every method raises ``JournalUnreadable``, and ``open`` where another
    process has it ``JournalTaken``. Commits may come from several threads. ``boot_id`` names this life of the machine,
    and is written beside the limits.
    """

    def __init__(self, path: Path | None, *, boot_id: str = "") -> None:
        self._path = path
        self._boot_id = boot_id
        self._lock: int | None = None
        self._open = path is None
        self._state = JournalState()
        self._one_at_a_time = threading.Lock()

    @property
    def state(self) -> JournalState:
        """What was committed last (or found at ``open``)."""
        return self._state

    @property
    def boot_id(self) -> str:
        """The name of this life of the machine; empty where it has no name."""
        return self._boot_id

    def open(self) -> None:
        """Take the journal for this process and read what an earlier one left."""
        if self._path is None or self._open:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._take()
            raw = self._path.read_bytes() if self._path.exists() else None
            if raw is not None:
                self._state = parsed(raw)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as cause:
            self.close()
            cure = CURE if isinstance(cause, OSError) else DAMAGED_CURE
            raise JournalUnreadable(f"the journal {self._path} cannot be read: {cause}", cure=cure) from cause
        self._open = True

    def commit(
        self,
        *,
        epoch: int | None = None,
        limits: Mapping[str, PriorLimit] | None = None,
        paused: frozenset[str] | None = None,
        held: frozenset[str] | None = None,
        drained: frozenset[str] | None = None,
    ) -> None:
        """Make a new state durable; what is not given stays, no epoch falls. Where it fails, the old state stands."""
        with self._one_at_a_time:
            self._commit(epoch, limits, paused, held, drained)

    def _commit(
        self,
        epoch: int | None,
        limits: Mapping[str, PriorLimit] | None,
        paused: frozenset[str] | None,
        held: frozenset[str] | None,
        drained: frozenset[str] | None,
    ) -> None:
        if not self._open:
            raise JournalUnreadable(f"the journal {self._path} is not open")
        old = self._state
        new = JournalState(
            # Two threads that heard of two epochs may come in either order.
            epoch=old.epoch if epoch is None else max(old.epoch, epoch),
            limits=old.limits if limits is None else limits,
            paused=old.paused if paused is None else paused,
            held=old.held if held is None else held,
            drained=old.drained if drained is None else drained,
            boot_id=self._boot_id if limits is not None else old.boot_id,
        )
        if new == old:
            return
        if self._path is not None:
            try:
                replace_file(self._path, written(new))
            except OSError as cause:
                raise JournalUnreadable(f"the journal {self._path} cannot be written: {cause}", cure=CURE) from cause
        self._state = new

    def close(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._open = self._path is None

    def _take(self) -> None:
        if self._path is None or self._lock is not None:
            return
        # A file of its own: the journal itself is replaced, and a lock belongs to the file that was opened.
        self._lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            self.close()
            raise JournalTaken(f"the journal {self._path} is in use: another agent has it open") from cause


def written(state: JournalState) -> bytes:
    """The state as the file has it."""
    document = {
        "version": VERSION,
        "epoch": state.epoch,
        "limits": state.limits,
        "paused": sorted(state.paused),
        "held": sorted(state.held),
        "drained": sorted(state.drained),
        "boot_id": state.boot_id,
    }
    return json.dumps(document, allow_nan=False).encode()


def parsed(raw: bytes) -> JournalState:
    """The state in a file. Raises ``ValueError`` (or what else Python says of wrong JSON) for anything else."""
    document: Any = json.loads(raw)
    if document["version"] not in READ_VERSIONS:
        raise ValueError(f"it is of version {document['version']}, and this agent reads up to {VERSION}")
    limits = {}
    for device_id, (found_w, written_w, before_w, hold) in document["limits"].items():
        if not all(math.isfinite(value) for value in (found_w, written_w, before_w)):
            raise ValueError(f"a limit of {device_id} is not a number")
        limits[device_id] = PriorLimit(found_w=found_w, written_w=written_w, before_w=before_w, hold=bool(hold))
    return JournalState(
        epoch=int(document["epoch"]),
        limits=limits,
        paused=_names(document["paused"]),
        held=_names(document.get("held", ())),
        drained=_names(document.get("drained", ())),
        boot_id=str(document.get("boot_id", "")),
    )


def _names(found: Iterable[Any]) -> frozenset[str]:
    return frozenset(str(name) for name in found)


def replace_file(path: Path, content: bytes) -> None:
    """Have a file hold this, and nothing in between: it is on disk on return. Raises ``OSError``."""
    beside = path.with_name(path.name + ".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
