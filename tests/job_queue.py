"""A scheduler in memory that implements the whole port, for tests that need its every state at any moment."""

from dataclasses import dataclass, field, replace

from hardware.errors import SchedulerLost, Unsupported
from hardware.job import JobState, JobView, NodeView, PauseMethod

WAITS = (JobState.PENDING, JobState.HELD)


def job(job_id, state=JobState.RUNNING, **fields):
    terms = {"tier": "flex3", "weight": 1.0, "min_throughput": 0.5, "curve": (), "max_pause_s": 60.0}
    return JobView(job_id=job_id, device_ids=("d0",), state=state, **{**terms, "progress": 0.0, **fields})


@dataclass
class Queue:
    """A whole scheduler in memory: jobs run, wait, stand and are held, on one node."""

    found: dict[str, JobView] = field(default_factory=dict)
    drained: set[str] = field(default_factory=set)
    away: bool = False
    goes_on: bool = True
    calls: list[str] = field(default_factory=list)

    def jobs(self):
        self._answer("jobs")
        if self.goes_on:
            self.found = {
                key: replace(one, progress=one.progress + 1.0) if one.state is JobState.RUNNING else one
                for key, one in self.found.items()
            }
        return tuple(self.found.values())

    def nodes(self):
        self._answer("nodes")
        return (NodeView(node_id="n1", drained="n1" in self.drained),)

    def pause(self, job_id):
        by_queue = self._found("pause", job_id).method is PauseMethod.REQUEUE
        self._set("pause", job_id, (JobState.RUNNING,), JobState.HELD if by_queue else JobState.PAUSED)

    def resume(self, job_id):
        one = self._found("resume", job_id)
        self._set("resume", job_id, None, JobState.PENDING if one.state is JobState.HELD else JobState.RUNNING)

    def hold(self, job_id):
        self._set("hold", job_id, WAITS, JobState.HELD)

    def release(self, job_id):
        self._set("release", job_id, WAITS, JobState.PENDING)

    def requeue(self, job_id):
        self._set("requeue", job_id, (JobState.RUNNING, JobState.PAUSED), JobState.PENDING)

    def prioritize(self, job_id, priority):
        self.found[job_id] = replace(self._found("prioritize", job_id), priority=priority)

    def drain(self, node_id, reason):
        self._answer("drain")
        self.drained.add(node_id)

    def undrain(self, node_id):
        self._answer("undrain")
        self.drained.discard(node_id)

    def state(self, job_id="run"):
        return self.found[job_id].state

    def _answer(self, what):
        self.calls.append(what)
        if self.away:
            raise SchedulerLost("no answer", cure="start it")

    def _found(self, what, job_id):
        self._answer(what)
        if job_id not in self.found:
            raise Unsupported("no such job", device_id=job_id)
        return self.found[job_id]

    def _set(self, what, job_id, allowed, state):
        one = self._found(what, job_id)
        if allowed is not None and one.state not in allowed:
            raise Unsupported(f"it is {one.state}", device_id=job_id)
        self.found[job_id] = replace(one, state=state)
