"""How much jobs have written, where that can be seen from here: the progress of a job that Slurm runs.

Slurm without accounting tells nothing that rises as a job works (its run time rises while every rank hangs). The files
belong to users and may lie on a file server that is dead, so another process looks at them, and not for long.
"""

import stat
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from os import defpath

from hardware.errors import CallHangs
from hardware.slurm.command import run

_TOGETHER = 300
"""Files that one process looks at: with paths of 4 kB they still pass as its arguments (2 MB on Linux)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A plain file as it was seen: how large, and when it was last written (Unix seconds, as text)."""

    size_bytes: int
    written_at_s: str


class Outputs:
    """Looks at files. After a look that took over ``within_s`` there is none for ``rest_s``."""

    def __init__(self, *, within_s: float, rest_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._within_s = within_s
        self._rest_s = rest_s
        self._clock_s = clock_s
        self._rests_until_s = 0.0

    def look(self, paths: Collection[str]) -> dict[str, Seen]:
        """Each plain file that can be seen, by its path."""
        found: dict[str, Seen] = {}
        names = sorted(set(paths))
        deadline_s = time.monotonic() + self._within_s
        for start in range(0, len(names), _TOGETHER):
            if self._clock_s() < self._rests_until_s:
                break
            words = ["stat", "--dereference", r"--printf=%f %s %.9Y %n\0", "--", *names[start : start + _TOGETHER]]
            try:
                done = run(words, {"PATH": defpath, "LC_ALL": "C"}, deadline_s)
            except (CallHangs, OSError):
                self._rests_until_s = self._clock_s() + self._rest_s
                break
            for line in done.printed.decode(errors="surrogateescape").split("\0")[:-1]:
                mode, size, written, name = line.split(" ", 3)
                if stat.S_ISREG(int(mode, 16)):
                    found[name] = Seen(int(size), written)
        return found
