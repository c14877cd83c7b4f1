"""Processes as the kernel shows them in ``/proc``, and signals that reach the one that was meant, or none."""

import os
import signal
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")

STOPPED = frozenset("Tt")
GONE = frozenset("ZXx")

_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD in the kernel's ``sched.h``."""

_TICKS_S = 1.0 / os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """One process for good: a number is given again, but not with the same start (in clock ticks since boot)."""

    pid: int
    started: int


class Status(NamedTuple):
    """What ``/proc/PID/stat`` says; ``state`` is its letter (see proc(5)). ``cpu_s`` counts ended children, too."""

    process: Process
    state: str
    parent_pid: int
    group_id: int
    session_id: int
    is_kernel: bool
    cpu_s: float


def status(pid: int) -> Status | None:
    """The process of that number, ``None`` where there is none."""
    fields = _stat(PROC / str(pid) / "stat")
    if fields is None:
        return None
    return Status(
        process=Process(pid=pid, started=int(fields[19])),
        state=fields[0],
        parent_pid=int(fields[1]),
        group_id=int(fields[2]),
        session_id=int(fields[3]),
        is_kernel=bool(int(fields[6]) & _KERNEL_THREAD),
        cpu_s=sum(map(int, fields[11:15])) * _TICKS_S,
    )


def every() -> dict[int, Status]:
    """Every process there is, by its number."""
    found = (status(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit())
    return {one.process.pid: one for one in found if one is not None}


def states(process: Process) -> frozenset[str]:
    """The letters of all its threads that live; none where it has ended."""
    try:
        threads = [entry.name for entry in (PROC / str(process.pid) / "task").iterdir()]
    except OSError:
        return frozenset()
    found = [_stat(PROC / str(process.pid) / "task" / thread / "stat") for thread in threads]
    current = status(process.pid)
    if current is None or current.process != process:
        return frozenset()
    return frozenset(fields[0] for fields in found if fields is not None) - GONE


def send(process: Process, number: signal.Signals | None) -> bool:
    """Signal this very process (``None`` only asks whether it may be). False where it has ended.

    Raises ``PermissionError``.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # The handle is of whoever has the number now, and stays with it: compare, then nothing can slip in between.
        current = status(process.pid)
        if current is None or current.process != process or current.state in GONE:
            return False
        signal.pidfd_send_signal(handle, 0 if number is None else number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def ancestors(pid: int) -> frozenset[int]:
    """The process and all that it stems from."""
    found: set[int] = set()
    while pid > 0 and pid not in found:
        found.add(pid)
        above = status(pid)
        pid = 0 if above is None else above.parent_pid
    return frozenset(found)


def _stat(path: Path) -> list[str] | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command's name stands in brackets and may itself hold brackets and blanks.
    fields = text.rpartition(")")[2].split()
    return fields if len(fields) > 19 else None
