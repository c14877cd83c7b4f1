"""The library: loaded by the binding once a process, initialised and let go of in pairs."""

import threading
from typing import NamedTuple

import pynvml

from hardware.nvml.policy import down

PATIENCE_S = 1.0
"""Letting go of a library that another thread hangs in is given up after this: the end of the process does it."""


class Opened(NamedTuple):
    """The initialisation that is in force, by its number; ``fresh`` where it was made by this very call."""

    life: int
    fresh: bool


class Session:
    """At most one initialisation at a time, for any number of threads. ``lives`` counts them.

    Handles of an earlier life are void.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.lives = 0
        self._turn = threading.Lock()

    def open(self) -> Opened:
        """Initialise, where that is not done. Raises ``DriverLost`` with the cure where library or driver are away."""
        with self._turn:
            if self.is_open:
                return Opened(self.lives, fresh=False)
            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError as cause:
                raise down(cause, doing="open the NVIDIA driver") from cause
            self.is_open = True
            self.lives += 1
            return Opened(self.lives, fresh=True)

    def close(self, life: int | None = None) -> bool:
        """Let go (of this life only, where it is given); what the library says to that changes nothing any more.

        True where the session was let go of just now.
        """
        if not self._turn.acquire(timeout=PATIENCE_S):
            return False
        try:
            if not self.is_open or life not in {None, self.lives}:
                return False
            self.is_open = False
            try:
                pynvml.nvmlShutdown()
            except pynvml.NVMLError:
                return True  # The driver had gone before us.
            return True
        finally:
            self._turn.release()
