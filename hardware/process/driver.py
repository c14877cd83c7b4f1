"""The jobs of one host that are plain processes, as a ``JobDriver``.

A pause is the freezer of the job's control group where it has one, else SIGSTOP to every process until no new one is
found and every thread reads stopped. A pause that does not get so far is undone before it is reported.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import hardware
from hardware.device import Fault
from hardware.errors import Condition, HardwareError, Unsupported, WriteRefused
from hardware.job import JobState, JobView, PauseMethod
from hardware.process.freezer import Freezer, Ice, freezer_of
from hardware.process.guard import let_go
from hardware.process.members import Members, ProcessJob, as_status, refuse_our_own
from hardware.process.record import Record, Stopped
from hardware.process.tasks import STOPPED, Process, Status, ancestors, every, send, states

STOP_S = 5.0
"""So long a pause may take to be whole, and a resume to be seen."""

LOOK_S = 0.005

GRACE_S = 20.0
"""So long after the last call the guard waits: longer than an agent takes to be started again."""

NO_PERMISSION = "run the agent as root or as the job's user, or give it CAP_KILL"


class ProcessDriver:
    """A ``JobDriver`` over declared jobs. Blocking; one thread.

    ``record`` is a file in the agent's folder: what is stopped is named there first, and a guard process lets it go on
    where no call came for ``grace_s`` seconds. Without it nothing guards (``PauseKeeper`` still does).
    ``monotonic_s`` and ``sleep`` are for waiting.
    """

    def __init__(
        self,
        jobs: Sequence[ProcessJob],
        *,
        record: Path | None = None,
        grace_s: float = GRACE_S,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._members = {job.job_id: Members(job) for job in jobs}
        self._record = None if record is None else Record(record)
        self._grace_s = grace_s
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._stopped: dict[str, Stopped] = {}
        self._asked: dict[str, tuple[float, int]] = {}
        self._guard: subprocess.Popen[bytes] | None = None
        self._protected = ancestors(os.getpid())
        if self._record is not None:
            self._stopped = dict(self._record.read()[1])

    def jobs(self) -> tuple[JobView, ...]:
        """Every declared job as ``/proc`` has it now."""
        if self._stopped:
            self._beat()
        table = every()
        return tuple(self._view(members, table) for members in self._members.values())

    def pause(self, job_id: str) -> None:
        members = self._members_of(job_id)
        found = self._found(members, every())
        if not found:
            raise Unsupported("it has no process (any more)", device_id=job_id, condition=Condition.LOST)
        refuse_our_own(job_id, found, self._protected)
        self._refuse_where_others_stopped_some(job_id, found)
        if members.job.terms.method is PauseMethod.CHECKPOINT and not self._has_checkpoint(members.job, found):
            raise WriteRefused(
                "it was asked for a checkpoint, and is stopped once that is written",
                device_id=job_id,
                condition=Condition.NOT_IN_FORCE,
                cure="ask for the pause again in a moment",
            )
        freezer = _freezer(members.job)
        try:
            if freezer is not None:
                self._note(job_id, Stopped(cgroup=members.job.cgroup))
                self._freeze(job_id, freezer)
            else:
                self._stop(members, found)
        except HardwareError:
            self._let_go(job_id)
            raise

    def resume(self, job_id: str) -> None:
        members = self._members_of(job_id)
        found = self._found(members, every())
        stopped = self._stopped.get(job_id, Stopped())
        whole = Stopped(
            processes=stopped.processes | {one.process for one in found},
            cgroup=members.job.cgroup or stopped.cgroup,
        )
        if not let_go(whole):
            raise WriteRefused(
                "its processes may not be continued",
                device_id=job_id,
                condition=Condition.NO_PERMISSION,
                cure=NO_PERMISSION,
            )
        self._wait_until(job_id, lambda: not self._stands(members), "continue")
        self._drop(job_id)

    def close(self) -> None:
        """Let the guard go, where it has nothing to guard."""
        if self._guard is not None and not self._stopped:
            self._guard.wait()

    def _view(self, members: Members, table: dict[int, Status]) -> JobView:
        job = members.job
        found = self._found(members, table)
        state, fault = _state(found, _freezer(job))
        return JobView(
            job_id=job.job_id,
            device_ids=job.device_ids,
            tier=job.terms.tier,
            weight=job.terms.weight,
            min_throughput=job.terms.min_throughput,
            curve=job.terms.curve,
            max_pause_s=job.terms.max_pause_s,
            pause_costs=job.terms.pause_costs,
            mean_throughput=job.terms.mean_throughput,
            deadline_at=job.terms.deadline_at,
            state=state,
            throughput=1.0 if state is JobState.RUNNING else 0.0,
            method=job.terms.method,
            progress=sum(one.cpu_s for one in found) if found else None,
            fault=fault,
        )

    def _found(self, members: Members, table: dict[int, Status]) -> list[Status]:
        """Its processes, and those that we stopped and that it may not be found by any more."""
        found = {one.process: one for one in members.find(table)}
        stopped = self._stopped.get(members.job.job_id)
        if stopped is not None:
            found |= {one.process: one for one in as_status(stopped.processes)}
        return list(found.values())

    def _refuse_where_others_stopped_some(self, job_id: str, found: list[Status]) -> None:
        """A process that somebody else stopped would be continued with the rest."""
        if job_id in self._stopped:
            return
        others = [one.process.pid for one in found if one.state in STOPPED]
        if others and len(others) < len(found):
            raise WriteRefused(
                f"process {others[0]} was stopped by somebody else",
                device_id=job_id,
                condition=Condition.CONFLICT,
                cure=f"see who traces or stopped it (status in /proc/{others[0]}), and have them continue it",
            )

    def _has_checkpoint(self, job: ProcessJob, found: list[Status]) -> bool:
        """Ask for a checkpoint, and at the calls after that look whether it was written. Raises ``WriteRefused``."""
        checkpoint = job.checkpoint
        if checkpoint is None:
            raise Unsupported("it has no checkpoint to ask for", device_id=job.job_id)
        written = checkpoint.file.stat().st_mtime_ns if checkpoint.file.exists() else 0
        asked = self._asked.get(job.job_id)
        if asked is None or self._monotonic_s() - asked[0] > 2.0 * checkpoint.timeout_s:
            # Also where nobody asked again in time: that file may be any of the job's later ones.
            self._asked[job.job_id] = (self._monotonic_s(), written)
            self._signal(job.job_id, [one.process for one in found], signal.Signals(checkpoint.signal_number))
            return False
        if written != asked[1]:
            del self._asked[job.job_id]
            return True
        if self._monotonic_s() - asked[0] > checkpoint.timeout_s:
            del self._asked[job.job_id]
            raise WriteRefused(
                f"asked for a checkpoint, and wrote none to {checkpoint.file} in {checkpoint.timeout_s:g} s",
                device_id=job.job_id,
                cure="look at the job's log; is it the right signal and file, and enough time?",
            )
        return False

    def _freeze(self, job_id: str, freezer: Freezer) -> None:
        try:
            freezer.freeze()
        except PermissionError as cause:
            raise WriteRefused(
                "its control group may not be frozen",
                device_id=job_id,
                condition=Condition.NO_PERMISSION,
                cure="run the agent as root, or hand it the control group",
            ) from cause
        except OSError as cause:
            raise WriteRefused(f"its control group cannot be frozen: {cause}", device_id=job_id) from cause
        self._wait_until(job_id, lambda: _ice(freezer) is Ice.WHOLE, "freeze")

    def _stop(self, members: Members, found: list[Status]) -> None:
        """Stop every process, and those that they gave birth to meanwhile, until nothing moves any more."""
        job_id = members.job.job_id
        self._signal(job_id, [one.process for one in found], None)
        told: set[Process] = set()

        def stands() -> bool:
            now = self._found(members, every())
            born = {one.process for one in now} - told
            if born:
                refuse_our_own(job_id, now, self._protected)
                self._note(job_id, Stopped(processes=frozenset(told | born)))
                self._signal(job_id, sorted(born), signal.SIGSTOP)
                told.update(born)
                return False
            return all(states(one.process) <= STOPPED for one in now)

        self._wait_until(job_id, stands, "stop")

    def _stands(self, members: Members) -> bool:
        freezer = _freezer(members.job)
        if freezer is not None and _ice(freezer) is not Ice.NO:
            return True
        return any(states(one.process) & STOPPED for one in self._found(members, every()))

    def _wait_until(self, job_id: str, done: Callable[[], bool], what: str) -> None:
        deadline_s = self._monotonic_s() + STOP_S
        while not done():
            if self._monotonic_s() > deadline_s:
                raise HardwareError(
                    f"not every process of it did {what} within {STOP_S:g} s",
                    device_id=job_id,
                    condition=Condition.NOT_IN_FORCE,
                    cure="see which: a process in state D waits for a disk or driver, one in state t is traced",
                )
            self._sleep(LOOK_S)

    def _signal(self, job_id: str, processes: Sequence[Process], number: signal.Signals | None) -> None:
        try:
            for process in processes:
                send(process, number)
        except PermissionError as cause:
            raise WriteRefused(
                "its processes may not be signalled",
                device_id=job_id,
                condition=Condition.NO_PERMISSION,
                cure=NO_PERMISSION,
            ) from cause

    def _let_go(self, job_id: str) -> None:
        """Undo half a pause; what cannot be stays on record, and shows as half stopped."""
        if let_go(self._stopped.get(job_id, Stopped())):
            self._drop(job_id)

    def _note(self, job_id: str, stopped: Stopped) -> None:
        """On record before it is done, with somebody to guard it. Raises ``WriteRefused``."""
        self._stopped[job_id] = stopped
        if self._record is None:
            return
        try:
            self._record.note(job_id, stopped)
            if self._guard is None or self._guard.poll() is not None:
                self._guard = _guard(self._record.path, self._grace_s)
        except OSError as cause:
            raise WriteRefused(
                f"what is to be stopped cannot be put on record: {cause}",
                device_id=job_id,
                cure=f"make room and see that the agent may write to {self._record.path.parent}",
            ) from cause

    def _drop(self, job_id: str) -> None:
        self._stopped.pop(job_id, None)
        if self._record is not None:
            try:
                self._record.drop(job_id)
            except OSError as cause:
                raise WriteRefused(f"the record of what is stopped cannot be written: {cause}") from cause

    def _beat(self) -> None:
        if self._record is not None:
            try:
                self._record.beat()
            except OSError:
                return  # The guard lets go: rather too early than never.

    def _members_of(self, job_id: str) -> Members:
        members = self._members.get(job_id)
        if members is None:
            raise Unsupported("no such job is declared here", device_id=job_id)
        return members


def _state(found: list[Status], freezer: Freezer | None) -> tuple[JobState, Fault | None]:
    ice = Ice.NO if freezer is None else _ice(freezer)
    if ice is Ice.WHOLE:
        return JobState.PAUSED, None
    if not found and ice is Ice.NO:
        return JobState.FINISHED, None
    stopped = sum(one.state in STOPPED for one in found)
    if stopped == len(found) and ice is Ice.NO:
        return JobState.PAUSED, None
    if stopped == 0 and ice is Ice.NO:
        return JobState.RUNNING, None
    detail = f"{stopped} of its {len(found)} processes are stopped" if ice is Ice.NO else "it is frozen in part"
    return JobState.RUNNING, Fault(
        condition=Condition.NOT_IN_FORCE,
        detail=detail,
        cure="see who stopped or traces them",
    )


def _freezer(job: ProcessJob) -> Freezer | None:
    return None if job.cgroup is None else freezer_of(job.cgroup)


def _ice(freezer: Freezer) -> Ice:
    try:
        return freezer.ice()
    except OSError:
        return Ice.NO  # The control group has gone, and its processes with it.


def _guard(record: Path, grace_s: float) -> subprocess.Popen[bytes]:
    """A guard that outlives us. Raises ``OSError``."""
    home = Path(hardware.__file__).parents[1]
    return subprocess.Popen(  # noqa: S603 - our own module, in our own interpreter
        [sys.executable, "-m", "hardware.process.guard", str(record), str(grace_s)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(home)},
    )
