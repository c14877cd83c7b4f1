"""A job of several real processes that tick into files, and tests' grip on it.

    python tests/process_job.py FOLDER RANKS [--forks]

Each rank writes its count to ``FOLDER/rank-N`` a hundred times a second; with ``--forks`` each also starts a child
every few milliseconds that ticks on in its place, and ends. SIGUSR1 has the first rank write ``FOLDER/checkpoint``.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.lab import ROOT, eventually


def tick(folder: Path, rank: int) -> None:
    """Count on from what is in the file."""
    file = folder / f"rank-{rank}"
    count = int(file.read_text() or 0) if file.exists() else 0
    beside = folder / f"rank-{rank}.new"
    beside.write_text(str(count + 1))
    beside.replace(file)
    sum(range(20_000))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("ranks", type=int)
    parser.add_argument("--forks", action="store_true")
    given = parser.parse_args()

    def write_checkpoint(*_: object) -> None:
        (given.folder / "checkpoint").write_text(str(time.time_ns()))

    signal.signal(signal.SIGUSR1, write_checkpoint)
    rank = 0
    for number in range(1, given.ranks):
        if os.fork() == 0:
            rank = number
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            break
    while True:
        if given.forks:
            child = os.fork()
            if child == 0:
                tick(given.folder, rank)
                os._exit(0)
            os.waitpid(child, 0)
        else:
            tick(given.folder, rank)
            time.sleep(0.01)


class RealJob:
    """A running job: its own session and process group, with a process id file."""

    def __init__(self, folder: Path, ranks: int = 3, *, forks: bool = False, user: int | None = None) -> None:
        self.folder = folder
        self.ranks = ranks
        folder.mkdir(parents=True, exist_ok=True)
        if user is not None:
            os.chown(folder, user, user)
        self.pid_file = folder / "job.pid"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.process_job", str(folder), str(ranks), *(["--forks"] if forks else [])],
            cwd=ROOT,
            start_new_session=True,
            user=user,
        )
        self.pid_file.write_text(f"{self.process.pid}\n")
        eventually("every rank ticks", lambda: all(self.ticks()), within_s=30, every_s=0.02)

    def ticks(self) -> list[int]:
        """How far each rank has counted."""
        files = [self.folder / f"rank-{rank}" for rank in range(self.ranks)]
        return [int(file.read_text() or 0) if file.exists() else 0 for file in files]

    def stands(self, for_s: float = 0.15) -> bool:
        """Whether no rank ticks over that time."""
        before = self.ticks()
        time.sleep(for_s)
        return self.ticks() == before

    def goes_on(self, within_s: float = 20.0) -> None:
        """Every rank ticks again, or the test fails."""
        before = self.ticks()
        eventually(
            "every rank ticks again",
            lambda: all(now > then for now, then in zip(self.ticks(), before, strict=True)),
            within_s=within_s,
            every_s=0.02,
        )

    def pids(self) -> list[int]:
        """Its processes now, the first rank first."""
        found = [self.process.pid]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.process.pid:
                try:
                    if os.getpgid(int(entry.name)) == self.process.pid:
                        found.append(int(entry.name))
                except ProcessLookupError:
                    continue
        return found

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


if __name__ == "__main__":
    main()
