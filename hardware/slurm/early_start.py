"""Starting a requeued job early: Slurm would let it wait, and overwrites a start time that comes too soon."""

import time

from hardware.job import JobState
from hardware.slurm.cluster import ASK_AGAIN_S, Cluster
from hardware.slurm.listing import ListedJob

_WELL_FOR_S = 1.0
_REQUEUE_WAIT_S = 130.0
"""Slurm lets a job that was requeued wait for 121 s."""
_CLOCKS_DIFFER_S = 10.0
"""How far the controller's clock may be from ours: little beside the 121 s."""


class EarlyStarts:
    """The jobs of one cluster that are to begin before Slurm's own wait is over."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        # By when Slurm's own wait would be over.
        self._to_begin: dict[str, float] = {}

    def start(self, job_id: str, deadline_s: float) -> None:
        """End the 121 s that Slurm lets a job wait that has begun before: it has no other start time to wait for.

        A start time that it is given while its processes still end is overwritten: it is looked at for a while here,
        and after that at every listing.
        """
        self._to_begin[job_id] = time.monotonic() + _REQUEUE_WAIT_S
        until_s = self._cluster.settled_by_s(deadline_s)
        well_since_s: float | None = None
        while (now_s := time.monotonic()) < until_s:
            job = self._cluster.job(job_id, deadline_s)
            begun = job.state is not JobState.PENDING and not job.ending
            if begun or (well_since_s is not None and now_s - well_since_s > _WELL_FOR_S):
                return
            if job.ending or self.is_late(job):
                well_since_s = None
                if not job.ending:
                    self._cluster.ask(self._cluster.way.start_soon, job_id, deadline_s)
            elif well_since_s is None:
                well_since_s = now_s
            time.sleep(ASK_AGAIN_S)

    def is_late(self, job: ListedJob) -> bool:
        """Whether a job that we have let begin early waits for a later time all the same."""
        if job.job_id not in self._to_begin:
            return False
        if self._to_begin[job.job_id] < time.monotonic() or job.state in (JobState.RUNNING, JobState.FINISHED):
            del self._to_begin[job.job_id]
            return False
        waits = job.state is JobState.PENDING and not job.ending
        return waits and job.begins_at_s > time.time() + _CLOCKS_DIFFER_S
