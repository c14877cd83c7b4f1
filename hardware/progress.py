"""Whether a job that was resumed goes on: that its processes run again does not say that it works."""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from hardware.device import Fault
from hardware.errors import Condition
from hardware.job import JobState, JobView

log = structlog.get_logger()

BOUND_S = 30.0
"""So long a resumed job has, from when it runs, to show that it goes on."""

CURE = (
    "look at its log: a rank that was missed for too long, or a lost connection, often ends in a silent wait; "
    "start it anew from its checkpoint, and lower max_pause_s in its terms"
)


@dataclass(slots=True)
class _Watched:
    seen: float | None = None
    since_s: float = 0.0
    fault: Fault | None = None


class ProgressWatch:
    """The jobs that were resumed, until ``JobView.progress`` was seen to rise. Time is a plain argument, in seconds.

    A job that shows no progress, has ended, or was paused again is not watched. One that stands still past the bound
    is an alarm, told once, until it goes on.
    """

    def __init__(self, *, bound_s: float = BOUND_S) -> None:
        self._bound_s = bound_s
        self._watched: dict[str, _Watched] = {}

    @property
    def watches(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self._watched)

    def expect(self, job_id: str) -> None:
        """Watch a job that was resumed."""
        self._watched[job_id] = _Watched()

    def look(self, jobs: Mapping[str, JobView], now_s: float) -> None:
        """Compare the jobs as they are now with what was seen before."""
        for job_id in list(self._watched):
            job = jobs.get(job_id)
            if job is None or job.progress is None or job.state in {JobState.FINISHED, JobState.PAUSED}:
                del self._watched[job_id]
            elif job.state is JobState.RUNNING:
                self._judge(job_id, job.progress, now_s)

    def fault(self, job_id: str) -> Fault | None:
        """What is wrong with a job that was resumed, ``None`` where nothing is known to be."""
        watched = self._watched.get(job_id)
        return None if watched is None else watched.fault

    def _judge(self, job_id: str, progress: float, now_s: float) -> None:
        watched = self._watched[job_id]
        if watched.seen is None:
            watched.seen, watched.since_s = progress, now_s
        elif progress > watched.seen:
            if watched.fault is not None:
                log.info("job_goes_on", job_id=job_id)
            del self._watched[job_id]
        elif watched.fault is None and now_s - watched.since_s >= self._bound_s:
            detail = f"it was resumed, and has not gone on for {now_s - watched.since_s:.0f} s"
            watched.fault = Fault(condition=Condition.NO_PROGRESS, detail=detail, cure=CURE)
            log.error("job_stands_still", job_id=job_id, detail=detail, cure=CURE)
