"""Whatever holds a job or a node back, under a lease: what is not renewed ends by itself, as pauses, holds and drains.

No pause is longer than was tested, and a job that was resumed is watched until it goes on.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from hardware.device import Fault, OnExpiry, Outcome
from hardware.errors import HardwareError, JournalUnreadable, Unsupported
from hardware.job import (
    Asker,
    JobAction,
    JobDriver,
    JobResult,
    JobState,
    JobView,
    NodeView,
    SchedulerDriver,
    Verb,
)
from hardware.journal import JournalPort
from hardware.lease import KeptLease, LeaseTable, highest_epoch
from hardware.progress import ProgressWatch
from hardware.restraints import (
    DRAIN,
    HOLD,
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
    in_force,
    is_away,
    is_half,
    listed,
    not_in_force,
    once_read_back,
    restraint_of,
    state_of,
    why_not_begun,
    why_not_once,
)

LOOK_S = 1.0
"""So often resumed jobs are looked at while they are watched."""

LOOK_WHILE_HELD_S = 5.0
"""So often jobs are looked at while we hold any back; a driver counts on being called for as long as it does."""

SETTLES_S = 15.0
"""So long after the last restraint jobs are looked at: a scheduler that is killed may forget the last seconds."""

FIRST_AGAIN_S = 0.5
LONGEST_AGAIN_S = 4.0
"""What cannot be undone is tried again after these, doubling: a scheduler that comes back is not run over."""

DECLARE = 'declare them as [[hardware]] kind = "process" or "slurm"'


class PauseKeeper:
    """What of one host's (or scheduler's) jobs and nodes is held back. Blocking, for one thread.

    Expected faults become results, none is raised. The end of a lease always undoes, whatever ``Lease.on_expiry``
    says: nothing is held back by nobody. A job that was paused for its tested maximum (``JobView.max_pause_s``) rests
    as long before it is paused again. What the gateway holds back the operator does not undo, nor the reverse.
    """

    def __init__(self, driver: JobDriver | None, journal: JournalPort) -> None:
        self._driver = driver
        self._journal = journal
        self._leases = LeaseTable()
        self._answers: dict[str, JobResult] = {}
        self._confirmed: set[str] = set()
        self._since_s: dict[str, float] = {}
        self._rests_until_s: dict[str, float] = {}
        self._again: dict[str, tuple[float, float]] = {}
        self._faults: dict[str, Fault] = {}
        self._progress = ProgressWatch()
        self._seen = Seen()
        self._looked_at_s: float | None = None
        self._settled_at_s: float | None = None

    def act(self, actions: Sequence[JobAction], *, received_s: float, now_s: float) -> tuple[JobResult, ...]:
        """Act on what was received at ``received_s``: one result each, in order."""
        epoch = highest_epoch(self._journal.state.epoch, [action.lease for action in actions])
        try:
            seen = self._look(now_s, nodes=_about_nodes(actions))
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
        due = [key for key in self._leases.due(now_s) if self._again.get(key, (now_s, 0.0))[0] <= now_s]
        results = self._undo(due, now_s) if due else ()
        every_s = LOOK_S if self._progress.watches else LOOK_WHILE_HELD_S
        busy = bool(self._progress.watches or self._leases.kept())
        if busy:
            self._settled_at_s = now_s + SETTLES_S
        is_due = self._looked_at_s is None or now_s - self._looked_at_s >= every_s
        if self._settled_at_s is not None and is_due:
            away = self._try_to_look(now_s, nodes=False)
            if not busy and away is None and now_s >= self._settled_at_s:
                self._settled_at_s = None
        return results

    def resume_all(self, now_s: float) -> tuple[JobResult, ...]:
        """Undo whatever we hold back."""
        return self._undo(self._recorded(), now_s)

    def recover(self, now_s: float) -> tuple[JobResult, ...]:
        """Undo what an agent that died left in the journal, but for what goes on under leases that were adopted."""
        return self._undo([key for key in self._recorded() if not self._leases.holds(key)], now_s)

    def kept_leases(self) -> dict[str, KeptLease]:
        """The leases there are, for another process to go on with. Of a pause ``since_s`` is when it began."""
        return {key: kept._replace(since_s=self._since_s.get(key)) for key, kept in self._leases.kept().items()}

    def adopt(self, kept: Mapping[str, KeptLease]) -> None:
        """Go on with the leases of a process that died; with the journal open, which says what is ours still.

        What holds is read anew at the next action or expiry.
        """
        self._leases.adopt(kept)
        for key in kept.keys() - set(self._recorded()):
            self._leases.end(key)
        self._since_s |= {key: lease.since_s for key, lease in kept.items() if lease.since_s is not None}

    def runs(self, now_s: float) -> bool:
        """Whether any lease still has time to run."""
        return self._leases.runs(now_s)

    def views(self, now_s: float) -> tuple[JobView, ...]:
        """The jobs, and what is wrong with each; where the driver is away, as last heard of. Raises nothing."""
        away = None if self._driver is None else self._try_to_look(now_s, nodes=False)
        return tuple(
            replace(job, fault=away or self._faults.get(job.job_id) or self._progress.fault(job.job_id) or job.fault)
            for job in self._seen.jobs.values()
        )

    def nodes(self) -> tuple[NodeView, ...]:
        """The scheduler's nodes; where it is away, as last heard of. Raises nothing."""
        if not isinstance(self._driver, SchedulerDriver):
            return ()
        try:
            nodes = self._driver.nodes()
        except HardwareError as cause:
            return tuple(replace(node, fault=Fault.of(cause)) for node in self._seen.nodes.values())
        self._seen = replace(self._seen, nodes={node.node_id: node for node in nodes})
        return nodes

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
            conflict = self._conflict(action, restraint or PAUSE, target)
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
        if known is not None and known.verb is action.verb:
            return replace(known, state=state_of(target))
        restraint = restraint_of(action.verb)
        holds = restraint is None or in_force(restraint, target) is (action.verb is restraint.begins)
        outcome = Outcome.APPLIED if holds else Outcome.REFUSED
        return answer(action, target, outcome, detail="heard already, by an agent that died since")

    def _conflict(self, action: JobAction, restraint: Restraint, target: JobView | NodeView) -> Fault | None:
        """Whose it is, where it is not this asker's to touch."""
        key, holds = Held.by(action).key(), in_force(restraint, target)
        if action.job_id not in self._ours(restraint):
            return THEIRS if holds else None
        other = Asker.OPERATOR if action.asker is Asker.GATEWAY else Asker.GATEWAY
        if self._leases.holds(Held(other, restraint.begins, action.job_id).key()):
            return OF_OPERATOR if other is Asker.OPERATOR else OF_GATEWAY
        undone = action.verb is restraint.begins and not holds and key in self._confirmed and not is_half(target)
        if undone and state_of(target) is not JobState.FINISHED:
            if restraint is PAUSE and not self._roused(action.job_id):
                self._leases.lapse(key)
            else:
                self._forget([key])
            return UNDONE
        return None

    def _roused(self, job_id: str) -> bool:
        """Have the driver make sure that a job goes on which is listed as running: a scheduler may have forgotten."""
        try:
            if self._driver is not None:
                drive(self._driver, Verb.RESUME, job_id)
        except HardwareError as cause:
            return not is_away(cause.condition)
        return True

    def _why_not(self, restraint: Restraint, target: JobView | NodeView, now_s: float) -> str | None:
        """Why this may not be held back, ``None`` where it may."""
        refusal = why_not_begun(restraint, target, ours=_id(target) in self._ours(restraint))
        if refusal is None and restraint is PAUSE and _id(target) not in self._ours(PAUSE):
            return "it rests after its longest pause" if now_s < self._rests_until_s.get(_id(target), now_s) else None
        return refusal

    def _act(
        self, turns: Mapping[int, JobAction], seen: Seen, *, epoch: int, received_s: float, now_s: float
    ) -> dict[int, JobResult]:
        """Journal, act, read back."""
        begun = [Held.by(action) for action in turns.values() if begins(action)]
        try:
            self._commit({one: self._ours(one) | _ids(begun, one) for one in RESTRAINTS}, epoch=epoch)
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
            after = self._look(now_s, nodes=_about_nodes(turns.values()))
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
            since_s = self._since_s.setdefault(key, now_s)
            expires_s = min(expires_s, since_s + seen.jobs[action.job_id].max_pause_s)
        # Held over by nobody: for jobs the end of a lease is its end.
        self._leases.grant(key, replace(action.lease, on_expiry=OnExpiry.RESTORE), expires_s)
        self._again.pop(key, None)

    def _drive(self, action: JobAction, seen: Seen) -> None:
        """Do what is not done yet."""
        target, restraint = seen.target(action.verb, action.job_id), restraint_of(action.verb)
        if target is None or self._driver is None:
            return
        if restraint is not None:
            begins = action.verb is restraint.begins
            is_done = in_force(restraint, target) is begins and (begins or not is_half(target))
            if is_done and not (action.verb is Verb.RESUME and self._may_stand(target)):
                return
            if begins:
                self._confirmed.discard(Held.by(action).key())
        drive(self._driver, action.verb, action.job_id, action.priority)

    def _read_back(self, action: JobAction, after: Seen, fault: Fault | None, received_s: float) -> JobResult:
        """What came of one action; what is no longer ours is forgotten."""
        target, restraint = after.target(action.verb, action.job_id), restraint_of(action.verb)
        if restraint is None:
            result = once_read_back(action, target, fault)
            if action.verb is Verb.REQUEUE and result.outcome is Outcome.APPLIED:
                # Its pause went with it, and a later one by somebody else is not to be taken for ours.
                self._forget([Held(action.asker, PAUSE.begins, action.job_id).key()])
            return result
        if action.verb is restraint.begins:
            return self._read_back_begun(action, restraint, target, fault, received_s)
        held = Held.by(action)
        if target is None or in_force(restraint, target) or is_half(target):
            self._leases.lapse(held.key())
            return answer(action, target, Outcome.REFUSED, fault or not_in_force("taken, but it is still held back"))
        if restraint is PAUSE and held.target_id in self._ours(PAUSE):
            self._progress.expect(held.target_id)
        self._forget([held.key()])
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
                self._forget([key])
            # Else it may yet take hold: the end of the lease looks again.
            return answer(action, target, Outcome.REFUSED, fault or not_in_force("taken, but the job runs on"))
        self._confirmed.add(key)
        self._faults.pop(action.job_id, None)
        ends_s = received_s + action.lease.duration_s
        if restraint is PAUSE and isinstance(target, JobView) and ends_s > self._since_s[key] + target.max_pause_s:
            return answer(action, target, Outcome.CLAMPED, detail=f"paused for {target.max_pause_s:g} s at most")
        return answer(action, target, Outcome.APPLIED)

    def _undo(self, keys: Collection[str], now_s: float) -> tuple[JobResult, ...]:
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
        away = self._try_to_look(now_s, nodes=nodes)
        if away is None:
            for key, one in held.items():
                fault = self._undo_one(key, one, now_s)
                if fault is not None:
                    faults[key] = fault
            away = self._try_to_look(now_s, nodes=nodes)
        results = [self._undone(key, one, away or faults.get(key), away, now_s) for key, one in held.items()]
        self._forget([key for key, result in zip(held, results, strict=True) if result.outcome is Outcome.APPLIED])
        return tuple(results)

    def _undo_one(self, key: str, held: Held, now_s: float) -> Fault | None:
        """Have the driver end one restraint where it is in force; says what went wrong."""
        target, restraint = self._seen.target(held.verb, held.target_id), held.restraint()
        paused_s = now_s - self._since_s.get(key, now_s)
        if restraint is PAUSE and isinstance(target, JobView) and paused_s >= target.max_pause_s:
            self._rests_until_s[held.target_id] = now_s + target.max_pause_s
        if target is not None and target.fault is not None and is_away(target.fault.condition):
            return target.fault
        stands = target is None or in_force(restraint, target) or is_half(target)
        if self._driver is None or not (stands or (restraint is PAUSE and self._may_stand(target))):
            return None
        try:
            # Also where it is not listed: only the driver can tell whether it has ended or nobody answers for it.
            drive(self._driver, restraint.ends, held.target_id)
        except HardwareError as cause:
            return Fault.of(cause)
        return None

    def _may_stand(self, target: JobView | NodeView | None) -> bool:
        """Whether only the driver can tell that a job goes on which we paused: a scheduler may have forgotten it."""
        return state_of(target) is JobState.RUNNING and target is not None and _id(target) in self._ours(PAUSE)

    def _undone(self, key: str, held: Held, fault: Fault | None, away: Fault | None, now_s: float) -> JobResult:
        """What came of ending one restraint."""
        target, restraint = self._seen.target(held.verb, held.target_id), held.restraint()
        unknown = away is not None or (fault is not None and is_away(fault.condition))
        stands = target is not None and (in_force(restraint, target) or is_half(target))
        if not unknown and not stands:
            # What is no longer listed by those who answer has ended.
            if restraint is PAUSE and target is not None:
                self._progress.expect(held.target_id)
            return JobResult(
                job_id=held.target_id, verb=restraint.ends, state=state_of(target), outcome=Outcome.APPLIED
            )
        said = fault or not_in_force(f"not {restraint.ends} yet")
        self._leases.lapse(key)
        self._faults[held.target_id] = said
        delay_s = min(LONGEST_AGAIN_S, 2.0 * self._again.get(key, (0.0, 0.5 * FIRST_AGAIN_S))[1])
        self._again[key] = (now_s + delay_s, delay_s)
        return JobResult(
            job_id=held.target_id,
            verb=restraint.ends,
            state=None if unknown else state_of(target),
            outcome=Outcome.REFUSED,
            detail=said.detail,
            fault=said,
        )

    def _forget(self, keys: Collection[str]) -> None:
        """These are not ours any more."""
        gone = [Held.of_key(key) for key in keys]
        try:
            self._commit({one: self._ours(one) - _ids(gone, one) for one in RESTRAINTS})
        except JournalUnreadable:
            # They stay due, and are looked at again.
            for key, held in zip(keys, gone, strict=True):
                if held.target_id in self._ours(held.restraint()):
                    self._leases.lapse(key)
            return
        for key, held in zip(keys, gone, strict=True):
            self._leases.end(key)
            self._confirmed.discard(key)
            self._since_s.pop(key, None)
            self._again.pop(key, None)
            self._faults.pop(held.target_id, None)

    def _commit(self, ours: Mapping[Restraint, frozenset[str]], *, epoch: int | None = None) -> None:
        self._journal.commit(epoch=epoch, paused=ours[PAUSE], held=ours[HOLD], drained=ours[DRAIN])

    def _ours(self, restraint: Restraint) -> frozenset[str]:
        state = self._journal.state
        return {PAUSE: state.paused, HOLD: state.held, DRAIN: state.drained}[restraint]

    def _recorded(self) -> list[str]:
        """The keys of all that the journal names. Whose it was is known from the leases; else it is the gateway's."""
        found = []
        for restraint in RESTRAINTS:
            for target_id in sorted(self._ours(restraint)):
                operators = Held(Asker.OPERATOR, restraint.begins, target_id).key()
                gateways = Held(Asker.GATEWAY, restraint.begins, target_id).key()
                found.append(operators if self._leases.holds(operators) else gateways)
        return found

    def _look(self, now_s: float, *, nodes: bool) -> Seen:
        """List the jobs (and nodes) anew. Raises ``HardwareError``."""
        if self._driver is None:
            raise Unsupported("no jobs are controlled on this host", cure=DECLARE)
        self._looked_at_s = now_s
        found = listed(self._driver, nodes=nodes)
        self._seen = found if nodes else replace(self._seen, jobs=found.jobs)
        self._progress.look(found.jobs, now_s)
        return self._seen

    def _try_to_look(self, now_s: float, *, nodes: bool) -> Fault | None:
        try:
            self._look(now_s, nodes=nodes)
        except HardwareError as cause:
            return Fault.of(cause)
        return None


def _about_nodes(actions: Iterable[JobAction]) -> bool:
    return any(restraint_of(action.verb) is DRAIN for action in actions)


def _refused(action: JobAction, seen: Seen, detail: str) -> JobResult:
    return answer(action, seen.target(action.verb, action.job_id), Outcome.REFUSED, detail=detail)


def _ids(held: Iterable[Held], restraint: Restraint) -> frozenset[str]:
    return frozenset(one.target_id for one in held if one.verb is restraint.begins)


def _id(target: JobView | NodeView) -> str:
    return target.job_id if isinstance(target, JobView) else target.node_id
