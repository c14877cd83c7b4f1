"""The library: loaded by the binding once a process, initialised and let go of in pairs."""

import pynvml

from hardware.nvml.policy import down


class Session:
    """At most one initialisation at a time. ``lives`` counts them: handles of an earlier one are void."""

    def __init__(self) -> None:
        self.is_open = False
        self.lives = 0

    def open(self) -> None:
        """Initialise. Raises ``DriverLost`` with the cure where library or driver are not there."""
        if self.is_open:
            return
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as cause:
            raise down(cause, doing="open the NVIDIA driver") from cause
        self.is_open = True
        self.lives += 1

    def close(self) -> None:
        """Let go; what the library says to that changes nothing any more."""
        if not self.is_open:
            return
        self.is_open = False
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            return  # The driver had gone before us.
