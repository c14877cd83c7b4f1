"""A small process that lets stopped jobs go on where nobody of ours is left: agent killed and not started again.

    python -m hardware.process.guard RECORD GRACE_S

It reads the record once a second, ends when nothing is stopped, and steps in when no beat came for GRACE_S seconds.
Several on one record take turns, so that a driver may start one without asking.
"""

import fcntl
import signal
import sys
import time
from pathlib import Path

from hardware.process.freezer import freezer_of
from hardware.process.record import Record, Stopped, boot_s
from hardware.process.tasks import send

LOOK_S = 1.0


def let_go(stopped: Stopped) -> bool:
    """Continue whatever was stopped, as far as may be. False where the system would not have all of it now."""
    whole = True
    freezer = None if stopped.cgroup is None else freezer_of(stopped.cgroup)
    if freezer is not None:
        try:
            freezer.thaw()
        except FileNotFoundError:
            pass  # The control group has ended.
        except OSError:
            whole = False
    for process in stopped.processes:
        try:
            send(process, signal.SIGCONT)
        except OSError:
            whole = False
    return whole


def watch(record: Record, grace_s: float) -> None:
    """Until nothing is stopped any more."""
    with record.path.with_name(record.path.name + ".guard").open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        while True:
            beat_s, jobs = record.read()
            if not jobs:
                return
            if boot_s() - beat_s > grace_s:
                for job_id, stopped in jobs.items():
                    if let_go(stopped):
                        record.drop(job_id)
            time.sleep(min(LOOK_S, 0.5 * grace_s))


def main() -> None:
    """As a process of its own: a stop of the service is no reason to leave what is stopped."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch(Record(Path(sys.argv[1])), float(sys.argv[2]))


if __name__ == "__main__":
    main()
