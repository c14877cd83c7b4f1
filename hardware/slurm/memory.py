"""What a controller may forget.

It saves what it knows some seconds late. One that is killed meanwhile comes back with a job listed as it was before,
while its processes stay as they were left.
"""

from dataclasses import dataclass

from hardware.job import JobState
from hardware.slurm.listing import ListedJob


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    state: JobState
    restarts: int
    changed_at_s: int
    earlier_s: frozenset[int]


class Memory:
    """The suspends and resumes that we have seen take effect.

    Slurm stamps each, by whomever, with its time. A listing that has a stamp from before ours is one of a controller
    that has forgotten; no change that somebody else made since can look so.
    """

    def __init__(self) -> None:
        self._changes: dict[str, _Change] = {}

    def note(self, before: ListedJob, after: ListedJob) -> None:
        """Remember what we changed, as listed before and after."""
        known = self._changes.pop(before.job_id, None)
        earlier_s = {before.changed_at_s}
        if known is not None and known.restarts == after.restarts:
            earlier_s |= known.earlier_s
        earlier_s.discard(after.changed_at_s)
        self._changes[before.job_id] = _Change(
            state=after.state,
            restarts=after.restarts,
            changed_at_s=after.changed_at_s,
            earlier_s=frozenset(earlier_s),
        )

    def forgotten(self, job: ListedJob) -> JobState | None:
        """What we brought the job to, where the controller has forgotten it; else ``None``."""
        known = self._changes.get(job.job_id)
        if known is None or known.restarts != job.restarts or job.changed_at_s not in known.earlier_s:
            return None
        return known.state if {known.state, job.state} == {JobState.PAUSED, JobState.RUNNING} else None

    def knows(self, job_id: str) -> bool:
        """Whether a change of ours was seen to take effect."""
        return job_id in self._changes

    def keep(self, jobs: dict[str, ListedJob]) -> None:
        """Drop what is about jobs that have ended."""
        for job_id in list(self._changes):
            if job_id not in jobs or jobs[job_id].state is JobState.FINISHED:
                del self._changes[job_id]
