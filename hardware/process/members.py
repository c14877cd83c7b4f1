"""Which processes are a job's: declared by where to look, since numbers mean nothing after a restart."""

from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

from hardware.errors import Condition, WriteRefused
from hardware.job_terms import JobTerms
from hardware.process.freezer import process_ids
from hardware.process.tasks import GONE, PROC, Process, Status, status


class Reach(StrEnum):
    """Which processes belong to the one whose number is in the process id file."""

    TREE = "tree"
    """It and all that it started and that still stem from it."""
    GROUP = "group"
    SESSION = "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A job that is asked for a checkpoint before it is stopped: ``file`` is written anew when it is done."""

    signal_number: int
    file: Path
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessJob:
    """A job of this host: found by ``pid_file`` and ``reach``, or else the whole of ``cgroup``.

    ``command`` is a shell's pattern that the leader's command line has to match, so that the number of a process that
    ended is not taken for another's.
    """

    job_id: str
    device_ids: tuple[str, ...]
    terms: JobTerms
    pid_file: Path | None = None
    reach: Reach = Reach.TREE
    cgroup: Path | None = None
    command: str | None = None
    checkpoint: Checkpoint | None = None


@dataclass(slots=True)
class _Leader:
    """Who was found under a process id file as it was then."""

    written: tuple[int, int, int]
    process: Process


@dataclass(slots=True)
class Members:
    """Finds the processes of one job, and remembers its leader: a number that was given anew is not it."""

    job: ProcessJob
    _leader: _Leader | None = field(default=None)

    def find(self, table: dict[int, Status]) -> list[Status]:
        """Those alive of the processes of ``table`` that are the job's."""
        if self.job.cgroup is not None:
            found = [table[pid] for pid in process_ids(self.job.cgroup) if pid in table]
        else:
            found = self._by_leader(table)
        return [one for one in found if one.state not in GONE]

    def _by_leader(self, table: dict[int, Status]) -> list[Status]:
        pid = self._leader_pid(table)
        if pid is None:
            return []
        leader = table.get(pid)
        if self.job.reach is Reach.TREE:
            return [] if leader is None else _tree(leader, table)
        # While a group or session has anybody in it its number is given to nobody else, leader or not.
        if self.job.reach is Reach.GROUP:
            group_id = pid if leader is None else leader.group_id
            return [one for one in table.values() if one.group_id == group_id]
        session_id = pid if leader is None else leader.session_id
        return [one for one in table.values() if one.session_id == session_id]

    def _leader_pid(self, table: dict[int, Status]) -> int | None:
        """The number in the file, ``None`` where it is not the job's (any more)."""
        pid_file = self.job.pid_file
        if pid_file is None:
            return None
        try:
            text = pid_file.read_text(encoding="ascii").strip()
            found = pid_file.stat()
            pid = int(text)
        except (OSError, ValueError):
            return None
        written = (found.st_mtime_ns, found.st_ino, pid)
        leader = table.get(pid)
        if leader is None:
            return pid if self._leader is not None and self._leader.written == written else None
        if self._leader is not None and self._leader.written == written:
            return pid if leader.process == self._leader.process else None
        if self.job.command is not None and not fnmatchcase(_command_line(pid), self.job.command):
            return None
        self._leader = _Leader(written=written, process=leader.process)
        return pid


def refuse_our_own(job_id: str, found: list[Status], protected: frozenset[int]) -> None:
    """No process of the kernel, of the system's own or of ours is ever stopped. Raises ``WriteRefused``."""
    wrong = [one.process.pid for one in found if one.is_kernel or one.process.pid in protected]
    if wrong:
        raise WriteRefused(
            f"process {wrong[0]} among its processes is the kernel's, the system's or this agent's own",
            device_id=job_id,
            condition=Condition.NOT_SUPPORTED,
            cure="start the job in a process group, session or control group of its own, and declare that",
        )


def _tree(leader: Status, table: dict[int, Status]) -> list[Status]:
    children: dict[int, list[Status]] = {}
    for one in table.values():
        children.setdefault(one.parent_pid, []).append(one)
    found, turns = [leader], [leader]
    while turns:
        below = children.get(turns.pop().process.pid, [])
        found += below
        turns += below
    return found


def _command_line(pid: int) -> str:
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode("utf-8", "replace").strip()


def as_status(processes: frozenset[Process]) -> list[Status]:
    """Those of the processes that are still alive."""
    found = (status(process.pid) for process in processes)
    return [one for one in found if one is not None and one.process in processes and one.state not in GONE]
