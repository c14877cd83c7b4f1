"""One cluster as its listings tell it: what is asked of it, and changes that are looked for until they show."""

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from hardware.errors import Condition, HardwareError, Unsupported, WriteRefused
from hardware.job import JobState
from hardware.slurm.listing import ListedJob, ListedNode, read_jobs, read_nodes
from hardware.slurm.patience import Patience
from hardware.slurm.way import SlurmWay

P = ParamSpec("P")
T = TypeVar("T")

ASK_AGAIN_S = 0.05
"""So long between two listings that a change is looked for in."""

_UNREADABLE = "this Slurm is of a release whose listings are not known here (known: 22.05): report it"


class Cluster:
    """A cluster by ``way``. For one thread.

    ``deadline_s`` is how long one call of the driver may take, ``settle_s`` how long a change may take to show in the
    listing. After a call that hung, or found no controller, calls fail at once for ``rest_s``.
    """

    def __init__(self, way: SlurmWay, *, deadline_s: float, settle_s: float, rest_s: float) -> None:
        self.way = way
        self._deadline_s = deadline_s
        self._settle_s = settle_s
        self._patience = Patience(rest_s)

    def bring(
        self, job_id: str, act: Callable[[], None], holds: Callable[[ListedJob], bool], deadline_s: float
    ) -> ListedJob:
        """Act, and look until it holds; the job as it is then.

        Raises what Slurm said to it, or ``WriteRefused`` where it took it in vain.
        """
        refusal: HardwareError | None = None
        try:
            act()
        except (WriteRefused, Unsupported) as cause:
            refusal = cause
        now = self.await_job(job_id, (lambda _now: True) if refusal else holds, deadline_s)
        if holds(now):
            return now
        if refusal is not None:
            refusal.device_id = job_id
            raise refusal
        if now.state is JobState.FINISHED:
            raise ended(job_id)
        raise WriteRefused(
            f"Slurm took it, but after {self._settle_s:g} s the job is {now.state}",
            device_id=job_id,
            condition=Condition.NOT_IN_FORCE,
            cure=f"see what scontrol show job {job_id} and the log of slurmctld say",
        )

    def await_job(self, job_id: str, holds: Callable[[ListedJob], bool], deadline_s: float) -> ListedJob:
        """The job once it holds, or has ended, or the time to settle is over."""
        until_s = self.settled_by_s(deadline_s)
        while True:
            job = self.job(job_id, deadline_s)
            if holds(job) or job.state is JobState.FINISHED or time.monotonic() >= until_s:
                return job
            time.sleep(ASK_AGAIN_S)

    def await_node(self, node_id: str, *, drained: bool, deadline_s: float) -> None:
        """Look until the node is drained, or is not. Raises ``WriteRefused`` where it does not come to that."""
        until_s = self.settled_by_s(deadline_s)
        while self.node(node_id, deadline_s).drained is not drained:
            if time.monotonic() >= until_s:
                raise WriteRefused(
                    f"Slurm took it, but after {self._settle_s:g} s the node is {'not ' if drained else ''}drained",
                    device_id=node_id,
                    condition=Condition.NOT_IN_FORCE,
                    cure=f"see what scontrol show node {node_id} says",
                )
            time.sleep(ASK_AGAIN_S)

    def job(self, job_id: str, deadline_s: float) -> ListedJob:
        """One job as it is now. Raises ``WriteRefused`` where there is none."""
        job = self.jobs(deadline_s).get(job_id)
        if job is None:
            cure = "it has ended long ago, or was never there: squeue lists what there is"
            raise WriteRefused("no such job", device_id=job_id, condition=Condition.LOST, cure=cure)
        return job

    def node(self, node_id: str, deadline_s: float) -> ListedNode:
        """One node as it is now. Raises ``WriteRefused`` where there is none."""
        node = self.nodes(deadline_s).get(node_id)
        if node is None:
            cure = "name a node that sinfo lists"
            raise WriteRefused("no such node", device_id=node_id, condition=Condition.LOST, cure=cure)
        return node

    def jobs(self, deadline_s: float) -> dict[str, ListedJob]:
        """Every job by its id. Raises ``HardwareError``."""
        page = self.ask(self.way.list_jobs, deadline_s)
        try:
            return read_jobs(page, time.time())
        except ValueError as cause:
            raise HardwareError(f"Slurm's list of jobs cannot be read: {cause}", cure=_UNREADABLE) from cause

    def nodes(self, deadline_s: float) -> dict[str, ListedNode]:
        """Every node by its id. Raises ``HardwareError``."""
        page = self.ask(self.way.list_nodes, deadline_s)
        try:
            return read_nodes(page)
        except ValueError as cause:
            raise HardwareError(f"Slurm's list of nodes cannot be read: {cause}", cure=_UNREADABLE) from cause

    def ask(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What this call of ``way`` gives, unless the cluster rests."""
        return self._patience.ask(lambda: call(*args, **kwargs))

    def deadline(self) -> float:
        """When a call that begins now must have ended, on the monotonic clock."""
        return time.monotonic() + self._deadline_s

    def settled_by_s(self, deadline_s: float) -> float:
        """Until when a change that is asked for now is looked for, on the monotonic clock."""
        return min(time.monotonic() + self._settle_s, deadline_s - ASK_AGAIN_S)


def ended(job_id: str) -> WriteRefused:
    """Nothing can be done with a job that has ended."""
    cure = "nothing is left to do"
    return WriteRefused("the job has ended", device_id=job_id, condition=Condition.LOST, cure=cure)
