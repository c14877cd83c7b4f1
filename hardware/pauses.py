"""Pauses of jobs under a lease: a pause that is not renewed ends by itself, and none is longer than was tested."""

from collections.abc import Collection, Mapping, Sequence

from hardware.device import Outcome
from hardware.errors import HardwareError, JournalUnreadable, Unsupported
from hardware.job import JobAction, JobDriver, JobResult, JobState, JobView, Verb
from hardware.journal import Journal
from hardware.lease import LeaseTable, highest_epoch


class PauseKeeper:
    """The pauses of one host's jobs. Blocking, for one thread. Expected faults become results, none is raised.

    The end of a lease always resumes the job, whatever ``Lease.on_expiry`` says: no job is held by nobody. A job that
    was paused for its tested maximum (``JobView.max_pause_s``) rests as long before it is paused again.
    """

    def __init__(self, driver: JobDriver | None, journal: Journal) -> None:
        self._driver = driver
        self._journal = journal
        self._leases = LeaseTable()
        self._answers: dict[str, JobResult] = {}
        self._confirmed: set[str] = set()
        self._paused_at_s: dict[str, float] = {}
        self._rests_until_s: dict[str, float] = {}

    def act(self, actions: Sequence[JobAction], *, received_s: float, now_s: float) -> tuple[JobResult, ...]:
        """Act on what was received at ``received_s``: one result each, in order."""
        epoch = highest_epoch(self._journal.state.epoch, [action.lease for action in actions])
        try:
            jobs = self._jobs()
        except HardwareError as cause:
            return tuple(_result(action, None, Outcome.REFUSED, str(cause)) for action in actions)
        results: dict[int, JobResult] = {}
        turns: dict[int, JobAction] = {}
        for index, action in enumerate(actions):
            job = jobs.get(action.job_id)
            if job is None:
                results[index] = _result(action, None, Outcome.LOST, "no such job on this host")
                continue
            fault = self._leases.refusal(job.job_id, action.lease, epoch=epoch, received_s=received_s, now_s=now_s)
            if any(action.job_id == turn.job_id for turn in turns.values()):
                fault = "named twice in one message"
            if fault is not None:
                results[index] = _result(action, job.state, Outcome.REFUSED, fault)
                continue
            answer = self._judge(action, job, now_s)
            if answer is None:
                turns[index] = action
            else:
                results[index] = answer
        results |= self._act(turns, jobs, epoch=epoch, received_s=received_s, now_s=now_s)
        return tuple(results[index] for index in range(len(actions)))

    def expire(self, now_s: float) -> tuple[JobResult, ...]:
        """Resume what has no lease any more; what cannot be resumed is tried again at the next call."""
        due = self._leases.due(now_s)
        return self._resume_all(due, now_s) if due else ()

    def resume_all(self, now_s: float) -> tuple[JobResult, ...]:
        """Resume every job that we paused; first of all those that an agent that died left in the journal."""
        return self._resume_all(tuple(sorted(self._journal.state.paused)), now_s)

    def runs(self, now_s: float) -> bool:
        """Whether any lease still has time to run."""
        return self._leases.runs(now_s)

    def _judge(self, action: JobAction, job: JobView, now_s: float) -> JobResult | None:
        """An answer where there is nothing to do, ``None`` where there is."""
        key, pausing = job.job_id, action.verb is Verb.PAUSE
        if self._leases.repeats(key, action.lease):
            answer = self._answers[key]
            return _result(action, job.state, answer.outcome, answer.detail)
        ours = key in self._journal.state.paused
        if not ours and job.state is JobState.PAUSED:
            return self._leave(action, job, "somebody else paused it: left as it is")
        if ours and pausing and job.state is JobState.RUNNING and key in self._confirmed:
            return self._leave(action, job, "somebody else resumed it: left as it is")
        fault = None
        if job.state is JobState.FINISHED:
            fault = "the job has finished"
        elif job.max_pause_s <= 0.0:
            fault = "this job must not be paused"
        elif not ours and now_s < self._rests_until_s.get(key, now_s):
            fault = "it rests after its longest pause"
        return _result(action, job.state, Outcome.REFUSED, fault) if pausing and fault is not None else None

    def _act(
        self,
        turns: Mapping[int, JobAction],
        jobs: Mapping[str, JobView],
        *,
        epoch: int,
        received_s: float,
        now_s: float,
    ) -> dict[int, JobResult]:
        """Journal, act, read back."""
        pausing = {action.job_id for action in turns.values() if action.verb is Verb.PAUSE}
        try:
            self._journal.commit(epoch=epoch, paused=self._journal.state.paused | pausing)
        except JournalUnreadable as fault:
            return {
                index: _result(action, jobs[action.job_id].state, Outcome.REFUSED, str(fault))
                for index, action in turns.items()
            }
        faults: dict[str, str] = {}
        for action in turns.values():
            self._leases.hear(action.job_id, action.lease)
            if action.verb is Verb.PAUSE:
                since_s = self._paused_at_s.setdefault(action.job_id, now_s)
                longest_s = since_s + jobs[action.job_id].max_pause_s
                self._leases.grant(action.job_id, action.lease, min(received_s + action.lease.duration_s, longest_s))
            try:
                self._drive(action.verb, jobs[action.job_id])
            except HardwareError as cause:
                faults[action.job_id] = str(cause)
        after = (self._readable_jobs() if turns else None) or {}
        results = {}
        for index, action in turns.items():
            result = self._read_back(action, after.get(action.job_id), faults.get(action.job_id), received_s)
            results[index] = self._answers[action.job_id] = result
        return results

    def _read_back(self, action: JobAction, job: JobView | None, fault: str | None, received_s: float) -> JobResult:
        """What came of one action; what is no longer ours is forgotten."""
        key = action.job_id
        state = None if job is None else job.state
        if action.verb is Verb.RESUME:
            if state is JobState.PAUSED or state is None:
                self._leases.lapse(key)
                return _result(action, state, Outcome.REFUSED, fault or "taken by the driver, but still paused")
            self._forget([key])
            return _result(action, state, Outcome.APPLIED)
        if job is None or state is not JobState.PAUSED:
            if fault is not None and state is not None:
                self._forget([key])
            return _result(action, state, Outcome.REFUSED, fault or "taken by the driver, but the job runs on")
        self._confirmed.add(key)
        if received_s + action.lease.duration_s > self._paused_at_s[key] + job.max_pause_s:
            return _result(action, state, Outcome.CLAMPED, f"paused for {job.max_pause_s:g} s at most")
        return _result(action, state, Outcome.APPLIED)

    def _resume_all(self, keys: Collection[str], now_s: float) -> tuple[JobResult, ...]:
        before = self._readable_jobs()
        faults: dict[str, str] = {}
        for key in keys:
            job = None if before is None else before.get(key)
            if job is None:
                continue
            if now_s - self._paused_at_s.get(key, now_s) >= job.max_pause_s:
                self._rests_until_s[key] = now_s + job.max_pause_s
            try:
                self._drive(Verb.RESUME, job)
            except HardwareError as cause:
                faults[key] = str(cause)
        after = self._readable_jobs()
        results = []
        done = []
        for key in keys:
            state = after[key].state if after is not None and key in after else None
            # A job that the host no longer lists has ended; where the list cannot be read, nothing is known.
            if state is JobState.PAUSED or before is None or after is None:
                self._leases.lapse(key)
                outcome, detail = Outcome.REFUSED, faults.get(key, "not resumed yet")
            else:
                done.append(key)
                outcome, detail = Outcome.APPLIED, ""
            results.append(JobResult(job_id=key, verb=Verb.RESUME, state=state, outcome=outcome, detail=detail))
        self._forget(done)
        return tuple(results)

    def _leave(self, action: JobAction, job: JobView, detail: str) -> JobResult:
        """Somebody else decides about the job now. The action counts as heard: its repetition does not act."""
        self._leases.hear(job.job_id, action.lease)
        self._forget([job.job_id])
        self._answers[job.job_id] = _result(action, job.state, Outcome.CONFLICT, detail)
        return self._answers[job.job_id]

    def _forget(self, keys: Collection[str]) -> None:
        try:
            self._journal.commit(paused=self._journal.state.paused - set(keys))
        except JournalUnreadable:
            # They stay due, and are looked at again.
            for key in self._journal.state.paused & set(keys):
                self._leases.lapse(key)
            return
        for key in keys:
            self._leases.end(key)
            self._confirmed.discard(key)
            self._paused_at_s.pop(key, None)

    def _drive(self, verb: Verb, job: JobView) -> None:
        if self._driver is None:
            raise Unsupported("no jobs are controlled on this host")
        if verb is Verb.PAUSE and job.state is JobState.RUNNING:
            self._confirmed.discard(job.job_id)
            self._driver.pause(job.job_id)
        elif verb is Verb.RESUME and job.state is JobState.PAUSED:
            self._driver.resume(job.job_id)

    def _jobs(self) -> Mapping[str, JobView]:
        if self._driver is None:
            raise Unsupported("no jobs are controlled on this host")
        return {job.job_id: job for job in self._driver.jobs()}

    def _readable_jobs(self) -> Mapping[str, JobView] | None:
        try:
            return self._jobs()
        except HardwareError:
            return None


def _result(action: JobAction, state: JobState | None, outcome: Outcome, detail: str = "") -> JobResult:
    return JobResult(job_id=action.job_id, verb=action.verb, state=state, outcome=outcome, detail=detail)
