"""Whatever holds a job or a node back, under a lease: what is not renewed ends by itself, as pauses, holds and drains.

No pause is longer than was tested, and a job that was resumed is watched until it goes on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hardware.device import Fault, OnExpiry, Outcome
from hardware.errors import HardwareError, JournalUnreadable
from hardware.job import (
    Asker,
    JobAction,
    JobDriver,
    JobResult,
    JobState,
    JobView,
    NodeView,
    Verb,
)
from hardware.job_look import JobLook
from hardware.journal import JournalPort
from hardware.lease import KeptLease, LeaseTable, highest_epoch
from hardware.our_restraints import OurRestraints, target_ids
from hardware.restraint_end import RestraintEnd
from hardware.restraints import (
    DRAIN,
    OF_GATEWAY,
    OF_OPERATOR,
    PAUSE,
    RESTRAINTS,
    THEIRS,
    UNDONE,
    Held,
    Restraint,
    Seen,
    answer,
    begins,
    drive,
    id_of,
    in_force,
    is_away,
    is_half,
    not_in_force,
    once_read_back,
    restraint_of,
    state_of,
    why_not_begun,
    why_not_once,
)


class PauseKeeper:
    """What of one host's (or scheduler's) jobs and nodes is held back. Blocking, for one thread.

    Expected faults become results, none is raised. The end of a lease always undoes, whatever ``Lease.on_expiry``
    says: nothing is held back by nobody. A job that was paused for its tested maximum (``JobView.max_pause_s``) rests
    as long before it is paused again. What the gateway holds back the operator does not undo, nor the reverse.
    """

    def __init__(self, driver: JobDriver | None, journal: JournalPort) -> None:
        self._leases = LeaseTable()
        self._answers: dict[str, JobResult] = {}
        self._jobs = JobLook(driver)
        self._ours = OurRestraints(journal, self._leases)
        self._end = RestraintEnd(self._jobs, self._ours, self._leases, self._answers)

    def act(self, actions: Sequence[JobAction], *, received_s: float, now_s: float) -> tuple[JobResult, ...]:
        """Act on what was received at ``received_s``: one result each, in order."""
        epoch = highest_epoch(self._ours.epoch, [action.lease for action in actions])
        try:
            seen = self._jobs.look(now_s, nodes=_about_nodes(actions))
        except HardwareError as cause:
            return tuple(answer(action, None, Outcome.REFUSED, Fault.of(cause)) for action in actions)
        results: dict[int, JobResult] = {}
        turns: dict[int, JobAction] = {}
        for index, action in enumerate(actions):
            done = self._judge(action, seen, epoch=epoch, received_s=received_s, now_s=now_s)
            if done is None and any(action.job_id == turn.job_id for turn in turns.values()):
                done = _refused(action, seen, "named twice in one message")
            if done is None:
                turns[index] = action
            else:
                results[index] = done
        if turns:
            results |= self._act(turns, seen, epoch=epoch, received_s=received_s, now_s=now_s)
        return tuple(results[index] for index in range(len(actions)))

    def expire(self, now_s: float) -> tuple[JobResult, ...]:
        """Undo what has no lease any more; what cannot be is tried again. Called a few times a second."""
        due = [key for key in self._leases.due(now_s) if self._ours.again.get(key, (now_s, 0.0))[0] <= now_s]
        results = self._end.undo(due, now_s) if due else ()
        self._jobs.look_where_due(now_s, held=bool(self._leases.kept()))
        return results

    def resume_all(self, now_s: float) -> tuple[JobResult, ...]:
        """Undo whatever we hold back."""
        return self._end.undo(self._ours.recorded(), now_s)

    def recover(self, now_s: float) -> tuple[JobResult, ...]:
        """Undo what an agent that died left in the journal, but for what goes on under leases that were adopted."""
        return self._end.undo([key for key in self._ours.recorded() if not self._leases.holds(key)], now_s)

    def kept_leases(self) -> dict[str, KeptLease]:
        """The leases there are, for another process to go on with. Of a pause ``since_s`` is when it began."""
        return {key: kept._replace(since_s=self._ours.since_s.get(key)) for key, kept in self._leases.kept().items()}

    def adopt(self, kept: Mapping[str, KeptLease]) -> None:
        """Go on with the leases of a process that died; with the journal open, which says what is ours still.

        What holds is read anew at the next action or expiry.
        """
        self._leases.adopt(kept)
        for key in kept.keys() - set(self._ours.recorded()):
            self._leases.end(key)
        self._ours.since_s |= {key: lease.since_s for key, lease in kept.items() if lease.since_s is not None}

    def runs(self, now_s: float) -> bool:
        """Whether any lease still has time to run."""
        return self._leases.runs(now_s)

    def views(self, now_s: float) -> tuple[JobView, ...]:
        """The jobs, and what is wrong with each; where the driver is away, as last heard of. Raises nothing."""
        away = None if self._jobs.driver is None else self._jobs.try_to_look(now_s, nodes=False)
        return tuple(
            replace(
                job,
                fault=away or self._ours.faults.get(job.job_id) or self._jobs.progress.fault(job.job_id) or job.fault,
            )
            for job in self._jobs.seen.jobs.values()
        )

    def nodes(self) -> tuple[NodeView, ...]:
        """The scheduler's nodes; where it is away, as last heard of. Raises nothing."""
        return self._jobs.nodes()

    def _judge(self, action: JobAction, seen: Seen, *, epoch: int, received_s: float, now_s: float) -> JobResult | None:
        """An answer where there is nothing to do, ``None`` where there is."""
        target = seen.target(action.verb, action.job_id)
        if target is None:
            return answer(action, None, Outcome.LOST, detail="no such job or node is known here")
        key, restraint = Held.by(action).key(), restraint_of(action.verb)
        refusal = self._leases.refusal(key, action.lease, epoch=epoch, received_s=received_s, now_s=now_s)
        if refusal is None and self._leases.repeats(key, action.lease):
            return self._answer_again(action, target)
        if refusal is None and action.verb is not Verb.PRIORITIZE:
            # To requeue a job lets it go, too.
            conflict = self._conflict(action, restraint or PAUSE, target, received_s)
            if conflict is not None:
                self._leases.hear(key, action.lease)
                self._answers[key] = answer(action, target, Outcome.CONFLICT, conflict)
                return self._answers[key]
        if refusal is None and restraint is None:
            refusal = why_not_once(action, target)
        elif refusal is None and restraint is not None and begins(action):
            refusal = self._why_not(restraint, target, now_s)
        return None if refusal is None else _refused(action, seen, refusal)

    def _answer_again(self, action: JobAction, target: JobView | NodeView) -> JobResult:
        """What was heard already is answered, and not done, again."""
        known = self._answers.get(Held.by(action).key())
        restraint = restraint_of(action.verb)
        holds = restraint is None or in_force(restraint, target) is (action.verb is restraint.begins)
        if known is not None and known.verb is action.verb:
            if known.outcome in {Outcome.APPLIED, Outcome.CLAMPED} and not holds:
                return answer(action, target, Outcome.REFUSED, detail="heard already, and its lease has ended")
            return replace(known, state=state_of(target))
        outcome = Outcome.APPLIED if holds else Outcome.REFUSED
        return answer(action, target, outcome, detail="heard already, by an agent that died since")

    def _conflict(
        self, action: JobAction, restraint: Restraint, target: JobView | NodeView, received_s: float
    ) -> Fault | None:
        """Whose it is, where it is not this asker's to touch."""
        key, holds = Held.by(action).key(), in_force(restraint, target)
        if action.job_id not in self._ours.of(restraint):
            return THEIRS if holds else None
        other = Asker.OPERATOR if action.asker is Asker.GATEWAY else Asker.GATEWAY
        if self._leases.holds(Held(other, restraint.begins, action.job_id).key()):
            return OF_OPERATOR if other is Asker.OPERATOR else OF_GATEWAY
        undone = action.verb is restraint.begins and not holds and key in self._ours.confirmed and not is_half(target)
        if undone and state_of(target) is not JobState.FINISHED:
            if restraint is PAUSE and not self._roused(action.job_id):
                self._leases.lapse(key)
            else:
                self._ours.forget([key], received_s)
            return UNDONE
        return None

    def _roused(self, job_id: str) -> bool:
        """Have the driver make sure that a job goes on which is listed as running: a scheduler may have forgotten."""
        try:
            if self._jobs.driver is not None:
                drive(self._jobs.driver, Verb.RESUME, job_id)
        except HardwareError as cause:
            return not is_away(cause.condition)
        return True

    def _why_not(self, restraint: Restraint, target: JobView | NodeView, now_s: float) -> str | None:
        """Why this may not be held back, ``None`` where it may."""
        refusal = why_not_begun(restraint, target, ours=id_of(target) in self._ours.of(restraint))
        if refusal is None and restraint is PAUSE and id_of(target) not in self._ours.of(PAUSE):
            return "it rests after its longest pause" if self._end.rests(id_of(target), now_s) else None
        return refusal

    def _act(
        self, turns: Mapping[int, JobAction], seen: Seen, *, epoch: int, received_s: float, now_s: float
    ) -> dict[int, JobResult]:
        """Journal, act, read back."""
        begun = [Held.by(action) for action in turns.values() if begins(action)]
        try:
            self._ours.commit({one: self._ours.of(one) | target_ids(begun, one) for one in RESTRAINTS}, epoch=epoch)
        except JournalUnreadable as cause:
            return {
                index: answer(action, seen.target(action.verb, action.job_id), Outcome.REFUSED, Fault.of(cause))
                for index, action in turns.items()
            }
        faults: dict[str, Fault] = {}
        for action in turns.values():
            key = Held.by(action).key()
            self._leases.hear(key, action.lease)
            self._grant(action, seen, received_s=received_s, now_s=now_s)
            try:
                self._drive(action, seen)
            except HardwareError as cause:
                faults[action.job_id] = Fault.of(cause)
        try:
            after = self._jobs.look(now_s, nodes=_about_nodes(turns.values()))
        except HardwareError:
            after = Seen()
        results = {}
        for index, action in turns.items():
            result = self._read_back(action, after, faults.get(action.job_id), received_s)
            results[index] = self._answers[Held.by(action).key()] = result
        return results

    def _grant(self, action: JobAction, seen: Seen, *, received_s: float, now_s: float) -> None:
        """Begin or renew the lease of what lasts, and of what is done once, so that its repetition stays known."""
        restraint, key = restraint_of(action.verb), Held.by(action).key()
        if restraint is not None and action.verb is not restraint.begins:
            return
        expires_s = received_s + action.lease.duration_s
        if restraint is PAUSE:
            since_s = self._ours.begin_pause(key, now_s)
            expires_s = min(expires_s, since_s + seen.jobs[action.job_id].max_pause_s)
        # Held over by nobody: for jobs the end of a lease is its end.
        self._leases.grant(key, replace(action.lease, on_expiry=OnExpiry.RESTORE), expires_s)
        self._ours.again.pop(key, None)

    def _drive(self, action: JobAction, seen: Seen) -> None:
        """Do what is not done yet."""
        target, restraint = seen.target(action.verb, action.job_id), restraint_of(action.verb)
        if target is None or self._jobs.driver is None:
            return
        if restraint is not None:
            begins = action.verb is restraint.begins
            is_done = in_force(restraint, target) is begins and (begins or not is_half(target))
            if is_done and not (action.verb is Verb.RESUME and self._end.may_stand(target)):
                return
            if begins:
                self._ours.confirmed.discard(Held.by(action).key())
        drive(self._jobs.driver, action.verb, action.job_id, action.priority)

    def _read_back(self, action: JobAction, after: Seen, fault: Fault | None, received_s: float) -> JobResult:
        """What came of one action; what is no longer ours is forgotten."""
        target, restraint = after.target(action.verb, action.job_id), restraint_of(action.verb)
        if restraint is None:
            result = once_read_back(action, target, fault)
            if action.verb is Verb.REQUEUE and result.outcome is Outcome.APPLIED:
                # Its pause went with it, and a later one by somebody else is not to be taken for ours.
                self._ours.forget([Held(action.asker, PAUSE.begins, action.job_id).key()], received_s)
            return result
        if action.verb is restraint.begins:
            return self._read_back_begun(action, restraint, target, fault, received_s)
        held = Held.by(action)
        if target is None or in_force(restraint, target) or is_half(target):
            self._leases.lapse(held.key())
            return answer(action, target, Outcome.REFUSED, fault or not_in_force("taken, but it is still held back"))
        if restraint is PAUSE and held.target_id in self._ours.of(PAUSE):
            self._jobs.progress.expect(held.target_id)
        self._ours.forget([held.key()], received_s)
        return answer(action, target, Outcome.APPLIED)

    def _read_back_begun(
        self,
        action: JobAction,
        restraint: Restraint,
        target: JobView | NodeView | None,
        fault: Fault | None,
        received_s: float,
    ) -> JobResult:
        key = Held.by(action).key()
        if target is None or not in_force(restraint, target):
            if target is not None and is_half(target):
                self._leases.lapse(key)
            elif target is not None and fault is not None and not is_away(fault.condition):
                self._ours.forget([key], received_s)
            # Else it may yet take hold: the end of the lease looks again.
            return answer(action, target, Outcome.REFUSED, fault or not_in_force("taken, but the job runs on"))
        self._ours.confirmed.add(key)
        self._ours.faults.pop(action.job_id, None)
        ends_s = received_s + action.lease.duration_s
        if restraint is PAUSE and isinstance(target, JobView) and ends_s > self._ours.since_s[key] + target.max_pause_s:
            return answer(action, target, Outcome.CLAMPED, detail=f"paused for {target.max_pause_s:g} s at most")
        return answer(action, target, Outcome.APPLIED)


def _about_nodes(actions: Iterable[JobAction]) -> bool:
    return any(restraint_of(action.verb) is DRAIN for action in actions)


def _refused(action: JobAction, seen: Seen, detail: str) -> JobResult:
    return answer(action, seen.target(action.verb, action.job_id), Outcome.REFUSED, detail=detail)
