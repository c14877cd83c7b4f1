"""The driver over a Slurm cluster's jobs. Ids are checked against a listing before they reach Slurm.

Slurm's surprises, each answered here:

* An exit code of 0, or an HTTP status of 200, is not success: every change is looked for in the listing.
* A suspended job keeps its devices and its node; the job behind it goes on waiting.
* A job that waits cannot be suspended: it is refused, with the advice to hold it.
* A requeued job would wait another 121 s (``BeginTime``) and take no signal meanwhile: it is told to start now.
* A controller that was killed may have forgotten a suspend or a resume of the last seconds: it is done anew.
* A dead controller hangs the command line for longer than a minute: every call has a deadline, and then a rest.
"""

import time
from collections.abc import Mapping, Sequence

import structlog

from hardware.device import Fault
from hardware.errors import Condition, Unsupported, WriteRefused
from hardware.job import JobState, JobView, NodeView, PauseMethod
from hardware.job_terms import JobTerms, TermsRule, terms_of
from hardware.slurm.checkpoint import Checkpoint, await_checkpoint
from hardware.slurm.cluster import ASK_AGAIN_S, Cluster, ended
from hardware.slurm.early_start import EarlyStarts
from hardware.slurm.listing import ListedJob
from hardware.slurm.memory import Memory
from hardware.slurm.outputs import Outputs, Seen
from hardware.slurm.policy import node_fault
from hardware.slurm.way import SlurmWay

log = structlog.get_logger()

OUR_MARK = "gridgate: "
"""What the reason of a node that we drained begins with: no other drained node is ever undrained."""

_REACHES_NODES_S = 3.0
"""A controller that has just begun sends what it was told up to 2.4 s later (seen), each message by a thread of its
own: a resume that is told sooner may arrive before the suspend, and the job would stand still for ever."""
_WRITES_WITHIN_S = 2.0
"""A job that is seen to write within it works."""
_LONGEST_REASON = 200
_HIGHEST_PRIORITY = 0xFFFF_FFFD
"""Above it stand Slurm's signs for a number that is not set (NO_VAL) or has no limit (INFINITE)."""
_WAITING = (JobState.PENDING, JobState.HELD)
_NO_DEVICES = Fault(
    condition=Condition.NOT_SUPPORTED,
    detail="Slurm does not say which GPUs this job has",
    cure="give each GPU its file in gres.conf (File=/dev/nvidia[0-7], or AutoDetect=nvml)",
)


class SlurmJobs:
    """The jobs and nodes of one cluster, by ``way``. For one thread.

    Every call ends within ``deadline_s``; a pause by checkpoint may take ``checkpoint.within_s`` more. ``settle_s`` is
    how long a change may take to show in the listing. After a call that hung, or found no controller, calls fail at
    once for ``rest_s``. With ``sees_output`` the progress of a job is the size of its standard output, where that is a
    plain file that can be seen from here; else it has none.

    A job's method comes with its terms: ``SUSPEND`` and ``CHECKPOINT`` suspend it, ``SIGNAL`` stops its processes by
    SIGSTOP, ``REQUEUE`` ends it and queues it anew, held. Whatever way it was paused, ``resume`` undoes what it finds.
    Waiting tasks of an array are listed as one job under the array's number, and held and released together; a running
    task has an id of its own (``12_3``). A heterogeneous job is one job, under its first number.
    """

    def __init__(
        self,
        way: SlurmWay,
        *,
        rules: Sequence[TermsRule],
        deadline_s: float = 8.0,
        settle_s: float = 3.0,
        rest_s: float = 5.0,
        sees_output: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._way = way
        self._rules = tuple(rules)
        self._cluster = Cluster(way, deadline_s=deadline_s, settle_s=settle_s, rest_s=rest_s)
        self._memory = Memory()
        self._early = EarlyStarts(self._cluster)
        self._outputs = Outputs(within_s=1.0, rest_s=60.0)
        self._sees_output = sees_output
        self._checkpoint = checkpoint or Checkpoint()

    def jobs(self) -> tuple[JobView, ...]:
        """Every job that Slurm still knows; one that has ended stays for a while (``MinJobAge``), as finished."""
        deadline_s = self._cluster.deadline()
        listed = self._cluster.jobs(deadline_s)
        self._memory.keep(listed)
        for job in listed.values():
            if self._memory.forgotten(job) is JobState.RUNNING:
                self._resume_again(job, deadline_s)
            elif self._early.is_late(job):
                self._cluster.ask(self._way.start_soon, job.job_id, deadline_s)
        begun = [job for job in listed.values() if job.state in (JobState.RUNNING, JobState.PAUSED)]
        paths = [job.output for job in begun if job.output is not None] if self._sees_output else []
        seen = self._outputs.look(paths)
        return tuple(self._view(job, seen) for job in listed.values())

    def nodes(self) -> tuple[NodeView, ...]:
        """Every node, and what is wrong with it."""
        listed = self._cluster.nodes(self._cluster.deadline())
        return tuple(
            NodeView(
                node_id=node.node_id,
                drained=node.drained,
                fault=node_fault(node.node_id, node.words, node.reason),
            )
            for node in listed.values()
        )

    def pause(self, job_id: str) -> None:
        """Pause a running job by its method. One that is paused already is left as it is."""
        deadline_s = self._cluster.deadline()
        job = self._cluster.job(job_id, deadline_s)
        state, method = self._state(job), self._terms(job).method
        if state is JobState.PAUSED:
            return
        if state is JobState.FINISHED:
            raise ended(job_id)
        if state is not JobState.RUNNING:
            raise Unsupported(
                "a job that waits in the queue cannot be paused",
                device_id=job_id,
                cure="hold it instead (gridgate job hold): it draws no power yet",
            )
        if method is PauseMethod.CHECKPOINT:
            await_checkpoint(job, self._checkpoint, self._cluster, self._outputs, deadline_s)
            deadline_s = self._cluster.deadline()

        def act() -> None:
            if method is PauseMethod.REQUEUE:
                self._cluster.ask(self._way.requeue_held, job_id, deadline_s)
            elif method is PauseMethod.SIGNAL:
                self._cluster.ask(self._way.signal, job_id, "STOP", deadline_s)
            else:
                self._cluster.ask(self._way.suspend, job_id, deadline_s)

        self._memory.note(
            job, self._cluster.bring(job_id, act, lambda now: self._state(now) is JobState.PAUSED, deadline_s)
        )

    def resume(self, job_id: str) -> None:
        """Let a paused job go on, however it was paused.

        Of one that is listed as running, the controller may have forgotten that it is paused: where that is so, or
        where it cannot be ruled out and the job writes nothing, it is suspended and resumed once more. Nothing else
        reaches its processes then.
        """
        deadline_s = self._cluster.deadline()
        job = self._cluster.job(job_id, deadline_s)
        if job.state is JobState.RUNNING:
            self._rouse(job, deadline_s)
            return
        if not self._is_held_back(job):
            return

        def act() -> None:
            if job.requeued:
                self._cluster.ask(self._way.release, job_id, deadline_s)
            elif job.stopped:
                self._cluster.ask(self._way.signal, job_id, "CONT", deadline_s)
            else:
                self._cluster.ask(self._way.resume, job_id, deadline_s)

        after = self._cluster.bring(job_id, act, lambda now: not self._is_held_back(now), deadline_s)
        self._memory.note(job, after)
        if job.requeued:
            self._early.start(job_id, deadline_s)

    def hold(self, job_id: str) -> None:
        """Keep a waiting job from starting. One that is held already is left as it is."""
        deadline_s = self._cluster.deadline()
        job = self._cluster.job(job_id, deadline_s)
        if job.state is JobState.HELD:
            return
        if job.state is JobState.FINISHED:
            raise ended(job_id)
        if job.state is not JobState.PENDING:
            cure = "pause it instead (gridgate job pause)"
            raise Unsupported("a job that has started cannot be held", device_id=job_id, cure=cure)
        self._cluster.bring(
            job_id,
            lambda: self._cluster.ask(self._way.hold, _with_tasks(job), deadline_s),
            lambda now: now.state is JobState.HELD,
            deadline_s,
        )

    def release(self, job_id: str) -> None:
        """Let a held job start. One that is not held is left as it is."""
        deadline_s = self._cluster.deadline()
        job = self._cluster.job(job_id, deadline_s)
        if job.state is not JobState.HELD:
            return
        self._cluster.bring(
            job_id,
            lambda: self._cluster.ask(self._way.release, _with_tasks(job), deadline_s),
            lambda now: now.state is not JobState.HELD,
            deadline_s,
        )
        if job.restarts:
            self._early.start(job_id, deadline_s)

    def requeue(self, job_id: str) -> None:
        """End a job and queue it anew: it begins from nothing, or from its last checkpoint. One that waits is left.

        Slurm would keep it waiting for 121 s; it is told to start within seconds, except where its processes take
        longer to end (``KillWait``) than this call may last.
        """
        deadline_s = self._cluster.deadline()
        job = self._cluster.job(job_id, deadline_s)
        if job.state in _WAITING:
            return
        if job.state is JobState.FINISHED:
            raise ended(job_id)
        self._cluster.bring(
            job_id,
            lambda: self._cluster.ask(self._way.requeue, job_id, deadline_s),
            lambda now: now.restarts > job.restarts,
            deadline_s,
        )
        self._early.start(job_id, deadline_s)

    def prioritize(self, job_id: str, priority: int) -> None:
        """Give a job that waits or runs this priority, from 1 (0 would hold it)."""
        if not 1 <= priority <= _HIGHEST_PRIORITY:
            cure = f"ask for 1 to {_HIGHEST_PRIORITY}; hold a job to keep it from starting"
            raise WriteRefused(f"Slurm has no priority {priority}", device_id=job_id, cure=cure)
        deadline_s = self._cluster.deadline()
        job = self._cluster.job(job_id, deadline_s)
        if job.state is JobState.FINISHED:
            raise ended(job_id)
        if job.state not in (JobState.PENDING, JobState.RUNNING):
            cure = "release or resume it first"
            raise Unsupported(f"a job that is {job.state} has no priority", device_id=job_id, cure=cure)
        if job.priority != priority:
            self._cluster.bring(
                job_id,
                lambda: self._cluster.ask(self._way.prioritize, _with_tasks(job), priority, deadline_s),
                lambda now: now.priority == priority,
                deadline_s,
            )

    def drain(self, node_id: str, reason: str) -> None:
        """Start nothing more on a node. One that is drained already is left as it is, and so is its reason."""
        deadline_s = self._cluster.deadline()
        if not self._cluster.node(node_id, deadline_s).drained:
            words = OUR_MARK + " ".join(reason.split())[:_LONGEST_REASON]
            self._cluster.ask(self._way.drain, node_id, words, deadline_s)
            self._cluster.await_node(node_id, drained=True, deadline_s=deadline_s)

    def undrain(self, node_id: str) -> None:
        """Let jobs start on a node again that we drained; somebody else's drain is never ended."""
        deadline_s = self._cluster.deadline()
        node = self._cluster.node(node_id, deadline_s)
        if not node.drained:
            return
        if not node.reason.startswith(OUR_MARK):
            raise WriteRefused(
                f"somebody else drained the node: {node.reason[:200]!r}",
                device_id=node_id,
                condition=Condition.CONFLICT,
                cure=f"ask who did; scontrol update NodeName={node_id} State=RESUME ends it",
            )
        self._cluster.ask(self._way.undrain, node_id, deadline_s)
        self._cluster.await_node(node_id, drained=False, deadline_s=deadline_s)

    def _rouse(self, job: ListedJob, deadline_s: float) -> None:
        """Have a job that is listed as running do so."""
        job_id, method = job.job_id, self._terms(job).method
        if method is PauseMethod.REQUEUE:
            return
        if method is PauseMethod.SIGNAL:
            self._cluster.ask(self._way.signal, job_id, "CONT", deadline_s)
            return
        if self._memory.forgotten(job) is not JobState.PAUSED and not self._may_stand(job, deadline_s):
            return
        log.warning("slurm_forgot_a_pause", job_id=job_id)
        self._cluster.ask(self._way.suspend, job_id, deadline_s)
        time.sleep(min(_REACHES_NODES_S, max(0.0, 0.5 * (deadline_s - time.monotonic()))))
        self._cluster.ask(self._way.resume, job_id, deadline_s)
        self._memory.note(job, self._cluster.await_job(job_id, lambda now: now.state is JobState.RUNNING, deadline_s))

    def _may_stand(self, job: ListedJob, deadline_s: float) -> bool:
        """Whether a job that is listed as running may be stopped.

        Its controller knows it from its saved state alone, we do not know what was done to it, and it is not seen to
        write.
        """
        if self._memory.knows(job.job_id) or job.changed_at_s >= self._cluster.ask(self._way.started_at_s, deadline_s):
            return False
        if job.output is None or not self._sees_output:
            return True
        before = self._outputs.look([job.output])
        until_s = min(time.monotonic() + _WRITES_WITHIN_S, deadline_s - ASK_AGAIN_S)
        while time.monotonic() < until_s:
            if self._outputs.look([job.output]) != before:
                return False
            time.sleep(ASK_AGAIN_S)
        return True

    def _resume_again(self, job: ListedJob, deadline_s: float) -> None:
        """What we resumed is listed as suspended by a controller that has forgotten; its processes run."""
        log.warning("slurm_forgot_a_resume", job_id=job.job_id)
        try:
            self._cluster.ask(self._way.resume, job.job_id, deadline_s)
        except (WriteRefused, Unsupported):
            return  # It ended meanwhile, or is tried again with the next listing.

    def _terms(self, job: ListedJob) -> JobTerms:
        return terms_of(job.attributes, self._rules)

    def _state(self, job: ListedJob) -> JobState:
        """As listed, but for what the controller has forgotten.

        A job that pauses by requeue is paused while it is held to begin anew.
        """
        forgotten = self._memory.forgotten(job)
        if forgotten is not None:
            return forgotten
        by_requeue = job.requeued and self._terms(job).method is PauseMethod.REQUEUE
        return JobState.PAUSED if by_requeue and job.state is JobState.HELD else job.state

    def _is_held_back(self, job: ListedJob) -> bool:
        return JobState.PAUSED in (job.state, self._state(job))

    def _view(self, job: ListedJob, seen: Mapping[str, Seen]) -> JobView:
        terms, state = self._terms(job), self._state(job)
        output = seen.get(job.output) if job.output is not None else None
        return JobView(
            job_id=job.job_id,
            device_ids=job.device_ids or (),
            tier=terms.tier,
            weight=terms.weight,
            min_throughput=terms.min_throughput,
            curve=terms.curve,
            max_pause_s=terms.max_pause_s,
            pause_costs=terms.pause_costs,
            mean_throughput=terms.mean_throughput,
            deadline_at=min(filter(None, (terms.deadline_at, job.deadline_at)), default=None),
            remaining_s=job.remaining_s,
            state=state,
            throughput=1.0 if state is JobState.RUNNING else 0.0,
            method=terms.method,
            progress=None if output is None else float(output.size_bytes),
            priority=job.priority,
            fault=_NO_DEVICES if job.device_ids is None else None,
        )


def _with_tasks(job: ListedJob) -> str:
    """What to call it: of an array only the tasks that wait, not those that run."""
    return f"{job.job_id}_[{job.tasks}]" if job.tasks else job.job_id
