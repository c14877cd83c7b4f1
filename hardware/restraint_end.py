"""The end of what holds a job or a node back: undone, read back, and only then forgotten."""

from collections.abc import Collection

from hardware.device import Fault, Outcome
from hardware.errors import HardwareError
from hardware.job import JobResult, JobState, JobView, NodeView
from hardware.job_look import JobLook
from hardware.lease import LeaseTable
from hardware.our_restraints import OurRestraints
from hardware.restraints import (
    DRAIN,
    PAUSE,
    Held,
    drive,
    id_of,
    in_force,
    is_away,
    is_half,
    not_in_force,
    restraint_of,
    state_of,
)

FIRST_AGAIN_S = 0.5
LONGEST_AGAIN_S = 4.0
"""What cannot be undone is tried again after these, doubling: a scheduler that comes back is not run over."""


class RestraintEnd:
    """Ends restraints of ours. What cannot be ended stays due, and is tried again ever more slowly.

    ``answers`` is what was answered to each: of what is done once it goes with its lease.
    """

    def __init__(self, jobs: JobLook, ours: OurRestraints, leases: LeaseTable, answers: dict[str, JobResult]) -> None:
        self._jobs = jobs
        self._ours = ours
        self._leases = leases
        self._answers = answers
        self._rests_until_s: dict[str, float] = {}

    def rests(self, job_id: str, now_s: float) -> bool:
        """Whether a job that was paused for its tested maximum is not to be paused yet."""
        return now_s < self._rests_until_s.get(job_id, now_s)

    def undo(self, keys: Collection[str], now_s: float) -> tuple[JobResult, ...]:
        """End these restraints, and read back. What could not be ended stays due."""
        once = [key for key in keys if restraint_of(Held.of_key(key).verb) is None]
        for key in once:
            self._leases.end(key)
            self._answers.pop(key, None)
        held = {key: Held.of_key(key) for key in keys if key not in once}
        if not held:
            return ()
        nodes = any(one.verb is DRAIN.begins for one in held.values())
        faults: dict[str, Fault] = {}
        away = self._jobs.try_to_look(now_s, nodes=nodes)
        if away is None:
            for key, one in held.items():
                fault = self._undo_one(key, one, now_s)
                if fault is not None:
                    faults[key] = fault
            away = self._jobs.try_to_look(now_s, nodes=nodes)
        results = [self._undone(key, one, away or faults.get(key), away, now_s) for key, one in held.items()]
        ended = [key for key, result in zip(held, results, strict=True) if result.outcome is Outcome.APPLIED]
        self._ours.forget(ended, now_s)
        return tuple(results)

    def _undo_one(self, key: str, held: Held, now_s: float) -> Fault | None:
        """Have the driver end one restraint where it is in force; says what went wrong."""
        target, restraint = self._jobs.seen.target(held.verb, held.target_id), held.restraint()
        paused_s = now_s - self._ours.since_s.get(key, now_s)
        if restraint is PAUSE and isinstance(target, JobView) and paused_s >= target.max_pause_s:
            self._rests_until_s[held.target_id] = now_s + target.max_pause_s
        if target is not None and target.fault is not None and is_away(target.fault.condition):
            return target.fault
        stands = target is None or in_force(restraint, target) or is_half(target)
        if self._jobs.driver is None or not (stands or (restraint is PAUSE and self.may_stand(target))):
            return None
        try:
            # Also where it is not listed: only the driver can tell whether it has ended or nobody answers for it.
            drive(self._jobs.driver, restraint.ends, held.target_id)
        except HardwareError as cause:
            return Fault.of(cause)
        return None

    def may_stand(self, target: JobView | NodeView | None) -> bool:
        """Whether only the driver can tell that a job goes on which we paused: a scheduler may have forgotten it."""
        return state_of(target) is JobState.RUNNING and target is not None and id_of(target) in self._ours.of(PAUSE)

    def _undone(self, key: str, held: Held, fault: Fault | None, away: Fault | None, now_s: float) -> JobResult:
        """What came of ending one restraint."""
        target, restraint = self._jobs.seen.target(held.verb, held.target_id), held.restraint()
        unknown = away is not None or (fault is not None and is_away(fault.condition))
        stands = target is not None and (in_force(restraint, target) or is_half(target))
        if not unknown and not stands:
            # What is no longer listed by those who answer has ended.
            if restraint is PAUSE and target is not None:
                self._jobs.progress.expect(held.target_id)
            return JobResult(
                job_id=held.target_id, verb=restraint.ends, state=state_of(target), outcome=Outcome.APPLIED
            )
        said = fault or not_in_force(f"not {restraint.ends} yet")
        self._leases.lapse(key)
        self._ours.faults[held.target_id] = said
        delay_s = min(LONGEST_AGAIN_S, 2.0 * self._ours.again.get(key, (0.0, 0.5 * FIRST_AGAIN_S))[1])
        self._ours.again[key] = (now_s + delay_s, delay_s)
        return JobResult(
            job_id=held.target_id,
            verb=restraint.ends,
            state=None if unknown else state_of(target),
            outcome=Outcome.REFUSED,
            detail=said.detail,
            fault=said,
        )
