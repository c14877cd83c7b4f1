"""What can hold a job or a node back: a pause, a hold, a drain. How each is begun, ended, and seen to be in force."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from hardware.device import Fault, Outcome
from hardware.errors import Condition, Unsupported
from hardware.job import (
    Asker,
    JobAction,
    JobDriver,
    JobResult,
    JobState,
    JobView,
    NodeView,
    PauseMethod,
    SchedulerDriver,
    Verb,
)

DRAIN_REASON = "gridgate"
"""What the scheduler shows as the reason of a drain of ours."""


WAITS = frozenset({JobState.PENDING, JobState.HELD})

THEIRS = Fault(
    condition=Condition.CONFLICT,
    detail="somebody else set it: left as it is",
    cure="ask who did, and have them undo it",
)
UNDONE = Fault(
    condition=Condition.CONFLICT,
    detail="somebody else undid it: left as it is",
    cure="ask who did; it may be asked for again",
)
OF_OPERATOR = Fault(
    condition=Condition.CONFLICT,
    detail="the operator on call holds it back: left as it is",
    cure="it ends with `gridgate job` (resume, release, undrain), or by itself",
)
OF_GATEWAY = Fault(
    condition=Condition.CONFLICT,
    detail="the gateway holds it back for a grid event: left as it is",
    cure="opt out of the event to have it back before its end",
)


class Restraint(NamedTuple):
    """One sort of holding back: the verb that begins it and the one that ends it."""

    begins: Verb
    ends: Verb


PAUSE = Restraint(Verb.PAUSE, Verb.RESUME)
HOLD = Restraint(Verb.HOLD, Verb.RELEASE)
DRAIN = Restraint(Verb.DRAIN, Verb.UNDRAIN)
RESTRAINTS = (PAUSE, HOLD, DRAIN)

_OF_VERB = {verb: restraint for restraint in RESTRAINTS for verb in (restraint.begins, restraint.ends)}


def restraint_of(verb: Verb) -> Restraint | None:
    """What a verb begins or ends, ``None`` for what is done once."""
    return _OF_VERB.get(verb)


class Held(NamedTuple):
    """What one asker holds back; ``verb`` is the one that began it (or the one that is done once)."""

    asker: Asker
    verb: Verb
    target_id: str

    def key(self) -> str:
        """As one text, which a lease goes by."""
        return f"{self.asker} {self.verb} {self.target_id}"

    def restraint(self) -> Restraint:
        """What holds it back. Raises ``KeyError`` for what is done once."""
        return _OF_VERB[self.verb]

    @classmethod
    def of_key(cls, key: str) -> "Held":
        """Back from the text. Raises ``ValueError`` for one that is none."""
        asker, verb, target_id = key.split(" ", 2)
        return cls(Asker(asker), Verb(verb), target_id)

    @classmethod
    def by(cls, action: JobAction) -> "Held":
        """What an action begins, ends or does."""
        restraint = restraint_of(action.verb)
        return cls(action.asker, action.verb if restraint is None else restraint.begins, action.job_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Jobs and nodes as they were listed at one time."""

    jobs: Mapping[str, JobView] = field(default_factory=dict)
    nodes: Mapping[str, NodeView] = field(default_factory=dict)

    def target(self, verb: Verb, target_id: str) -> JobView | NodeView | None:
        """What the verb is about."""
        return self.nodes.get(target_id) if restraint_of(verb) is DRAIN else self.jobs.get(target_id)


def listed(driver: JobDriver, *, nodes: bool) -> Seen:
    """Jobs, and where asked for nodes, as they are now. Raises ``HardwareError``."""
    jobs = {job.job_id: job for job in driver.jobs()}
    if not nodes or not isinstance(driver, SchedulerDriver):
        return Seen(jobs=jobs)
    return Seen(jobs=jobs, nodes={node.node_id: node for node in driver.nodes()})


def begins(action: JobAction) -> bool:
    """Whether the action begins to hold something back."""
    restraint = restraint_of(action.verb)
    return restraint is not None and action.verb is restraint.begins


def state_of(target: JobView | NodeView | None) -> JobState | None:
    """A job's state; a node has none."""
    return target.state if isinstance(target, JobView) else None


def id_of(target: JobView | NodeView) -> str:
    """A job's id, or a node's."""
    return target.job_id if isinstance(target, JobView) else target.node_id


def in_force(restraint: Restraint, target: JobView | NodeView) -> bool:
    """Whether this restraint, by whomever, is in force as a whole."""
    if isinstance(target, NodeView):
        return target.drained
    if restraint is HOLD:
        return target.state is JobState.HELD
    by_queue = target.method is PauseMethod.REQUEUE and target.state is JobState.HELD
    return (target.state is JobState.PAUSED or by_queue) and not is_half(target)


def is_half(target: JobView | NodeView) -> bool:
    """Whether something is half done there: a part stands still and a part runs."""
    return target.fault is not None and target.fault.condition is Condition.NOT_IN_FORCE


def is_away(condition: Condition) -> bool:
    """Whether a fault says that nobody answered, so that nothing is known of what holds."""
    return condition in {Condition.NO_DRIVER, Condition.VERSION_MISMATCH, Condition.CALL_HANGS}


def drive(driver: JobDriver, verb: Verb, target_id: str, priority: int | None = None) -> None:
    """Do it. Raises ``HardwareError``."""
    if verb is Verb.PAUSE:
        driver.pause(target_id)
    elif verb is Verb.RESUME:
        driver.resume(target_id)
    elif not isinstance(driver, SchedulerDriver):
        raise Unsupported(
            f"there is no queue here to {verb} in",
            device_id=target_id,
            cure='declare the scheduler as [[hardware]] kind = "slurm"',
        )
    else:
        _drive_scheduler(driver, verb, target_id, priority)


def _drive_scheduler(driver: SchedulerDriver, verb: Verb, target_id: str, priority: int | None) -> None:
    if verb is Verb.HOLD:
        driver.hold(target_id)
    elif verb is Verb.RELEASE:
        driver.release(target_id)
    elif verb is Verb.REQUEUE:
        driver.requeue(target_id)
    elif verb is Verb.DRAIN:
        driver.drain(target_id, DRAIN_REASON)
    elif verb is Verb.UNDRAIN:
        driver.undrain(target_id)
    elif priority is not None:
        driver.prioritize(target_id, priority)


def why_not_begun(restraint: Restraint, target: JobView | NodeView, *, ours: bool) -> str | None:
    """Why this may not be held back, ``None`` where it may. ``ours`` is whether we hold it back already."""
    if isinstance(target, NodeView):
        return None
    if target.state is JobState.FINISHED:
        return "the job has finished"
    if restraint is HOLD:
        return None if target.state in WAITS else "it does not wait any more: it can be paused or requeued"
    if target.max_pause_s <= 0.0:
        return "this job must not be paused: its terms have no tested max_pause_s"
    if target.state in WAITS and not ours:
        return "it waits for its devices and draws nothing: it can be held, but not paused"
    return None


def why_not_once(action: JobAction, target: JobView | NodeView) -> str | None:
    """Why a job may not be requeued or given a priority, ``None`` where it may."""
    if isinstance(target, NodeView) or target.state is JobState.FINISHED:
        return "the job has finished"
    if action.verb is Verb.PRIORITIZE:
        return "a priority is a number from 0" if action.priority is None or action.priority < 0 else None
    if target.state in WAITS:
        return "it waits already"
    if action.asker is Asker.GATEWAY and target.max_pause_s <= 0.0:
        return "this job must not be interrupted: its terms have no tested max_pause_s"
    return None


def once_read_back(action: JobAction, target: JobView | NodeView | None, fault: Fault | None) -> JobResult:
    """What came of a requeue or a priority."""
    if not isinstance(target, JobView) or fault is not None:
        return answer(action, target, Outcome.REFUSED, fault or not_in_force("the job cannot be read back"))
    if action.verb is Verb.PRIORITIZE:
        done, said = target.priority == action.priority, f"taken, but its priority reads {target.priority}"
    else:
        done, said = target.state in WAITS, f"taken, but the job reads {target.state}"
    return (
        answer(action, target, Outcome.APPLIED) if done else answer(action, target, Outcome.REFUSED, not_in_force(said))
    )


def answer(
    action: JobAction,
    target: JobView | NodeView | None,
    outcome: Outcome,
    fault: Fault | None = None,
    *,
    detail: str = "",
) -> JobResult:
    """The result of an action, in the words of what is wrong."""
    return JobResult(
        job_id=action.job_id,
        verb=action.verb,
        state=state_of(target),
        outcome=outcome,
        detail=detail if fault is None else fault.detail,
        fault=fault,
    )


def not_in_force(detail: str) -> Fault:
    """Taken, and not what is read back."""
    return Fault(
        condition=Condition.NOT_IN_FORCE, detail=detail, cure="look at the job where it runs; it is looked at again"
    )
