"""What of this host's processes is stopped by us, in a file that outlives the process which stopped it.

It is for letting go on whatever was stopped, also where its process id file has gone meanwhile or nobody of ours is
left but the guard. Replaced as a whole; the end of the machine ends what it names, so that it need not reach the disk.
"""

import fcntl
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hardware.process.tasks import Process


def boot_s() -> float:
    """Seconds since the machine started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """What was stopped of one job: these processes, or the whole of a control group."""

    processes: frozenset[Process] = frozenset()
    cgroup: Path | None = None


class Record:
    """The record file. ``beat`` says that whoever stopped these is there; without it the guard steps in.

    Methods raise ``OSError``. A file that cannot be understood counts as empty: it was left by another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[float, Mapping[str, Stopped]]:
        """The last beat, in seconds since boot, and what is stopped, by job."""
        try:
            document = json.loads(self.path.read_bytes())
            jobs = {
                str(job_id): Stopped(
                    processes=frozenset(Process(int(pid), int(started)) for pid, started in entry["processes"]),
                    cgroup=None if entry["cgroup"] is None else Path(entry["cgroup"]),
                )
                for job_id, entry in document["jobs"].items()
            }
            return float(document["beat_s"]), jobs
        except FileNotFoundError:
            return 0.0, {}
        except (ValueError, TypeError, KeyError, AttributeError):
            return 0.0, {}

    def note(self, job_id: str, stopped: Stopped) -> None:
        """Name what is about to be stopped."""
        with self._turn():
            self._write({**self.read()[1], job_id: stopped})

    def drop(self, job_id: str) -> None:
        """It goes on again."""
        with self._turn():
            jobs = self.read()[1]
            if job_id in jobs:
                self._write({key: stopped for key, stopped in jobs.items() if key != job_id})

    def beat(self) -> None:
        """Tell the guard that we are there."""
        with self._turn():
            jobs = self.read()[1]
            if jobs:
                self._write(jobs)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self.path.with_name(self.path.name + ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, jobs: Mapping[str, Stopped]) -> None:
        document = {
            "beat_s": boot_s(),
            "jobs": {
                job_id: {
                    "processes": sorted(stopped.processes),
                    "cgroup": None if stopped.cgroup is None else str(stopped.cgroup),
                }
                for job_id, stopped in jobs.items()
            },
        }
        beside = self.path.with_name(self.path.name + ".new")
        beside.write_text(json.dumps(document), encoding="utf-8")
        beside.replace(self.path)
