"""Slurm by its command line: every call with a deadline, in an environment of our own, never through a shell.

Nothing of the caller's environment is passed on: ``SQUEUE_FORMAT`` and its kin change what the commands print, and
``SLURM_CONF`` which cluster they ask.
"""

import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hardware.errors import CallHangs, HardwareError, SchedulerLost
from hardware.slurm.policy import NOT_RUNNING, TEXT_LIMIT, fault

MAX_OUTPUT_BYTES = 256 * 2**20
"""The most that a command may write. A job takes about 5 kB of a listing."""

START_IN_S = 3
_CHUNK_BYTES = 2**16
_KILLED_WITHIN_S = 0.5
_STARTED = re.compile(rb"^BOOT_TIME\s*=\s*(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\s*$", re.MULTILINE)
_NOT_INSTALLED = "install Slurm's commands (Debian: slurm-client), or name their folder in the settings"
_NO_CONF = "name the cluster's slurm.conf in the settings, or mend the file system that it lies on"
_TOO_MUCH = "see what this command writes on this host; a wrapper in its place, or debug messages?"
_NO_START = "this Slurm is of a release whose settings are not known here (known: 22.05): report it"
_NO_JSON = "install Slurm 21.08 or later with its JSON serializer (Debian: slurm-wlm-basic-plugins)"


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended and what it wrote."""

    code: int
    printed: bytes
    complained: str


def run(words: Sequence[str], environment: Mapping[str, str], deadline_s: float) -> Done:
    """Run a program and come back by ``deadline_s`` (of ``time.monotonic``), whatever it does.

    At the deadline its whole process group is killed, and so it is where it writes over ``MAX_OUTPUT_BYTES``. Raises
    ``CallHangs``, ``HardwareError`` for too much output, and ``OSError`` where it cannot be started.
    """
    process = subprocess.Popen(  # noqa: S603 -- no shell; ids and names are those that Slurm listed
        words,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    name = Path(words[0]).name
    try:
        printed, complained = _read(process, deadline_s)
        process.wait(max(deadline_s - time.monotonic(), 0.0))
    except (subprocess.TimeoutExpired, _TooMuch) as cause:
        # One that is stuck in the kernel (a dead file server) ends when the kernel lets it go: nobody waits for it.
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(_KILLED_WITHIN_S)
        if isinstance(cause, _TooMuch):
            raise HardwareError(f"{name} wrote more than {MAX_OUTPUT_BYTES} bytes", cure=_TOO_MUCH) from cause
        raise CallHangs(f"{name} did not come back in its time", cure=NOT_RUNNING) from cause
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return Done(code=process.returncode, printed=printed, complained=complained.decode(errors="replace"))


class _TooMuch(Exception):
    """More was written than is kept."""


def _read(process: subprocess.Popen[bytes], deadline_s: float) -> tuple[bytes, bytes]:
    """All that it writes to its output and for its errors, until it closes both.

    Raises ``subprocess.TimeoutExpired`` at the deadline, and ``_TooMuch``.
    """
    written: dict[int, bytearray] = {}
    with selectors.DefaultSelector() as open_pipes:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                open_pipes.register(pipe, selectors.EVENT_READ)
                written[pipe.fileno()] = bytearray()
        while open_pipes.get_map():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0.0:
                raise subprocess.TimeoutExpired(process.args, 0.0)
            for key, _ in open_pipes.select(left_s):
                chunk = os.read(key.fd, _CHUNK_BYTES)
                written[key.fd] += chunk
                if not chunk:
                    open_pipes.unregister(key.fileobj)
                if sum(map(len, written.values())) > MAX_OUTPUT_BYTES:
                    raise _TooMuch
    printed, complained = written.values()
    return bytes(printed), bytes(complained)


class SlurmCommands:
    """What can be asked of Slurm, in its own words. Blocking; each call ends by the deadline that it is given.

    ``conf`` is the cluster's slurm.conf where it is not in Slurm's own place, ``folder`` the commands' where they are
    not on the path. Job ids and node names are those that a listing gave. Raises ``HardwareError`` by
    ``hardware.slurm.policy``, ``CallHangs`` at the deadline, ``SchedulerLost`` where a command cannot be run.
    """

    def __init__(self, *, conf: Path | None = None, folder: Path | None = None) -> None:
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        self._folder = str(folder) if folder is not None else path
        self._environment = {"PATH": path, "LC_ALL": "C", "TZ": "UTC"}
        self._conf = conf
        if conf is not None:
            self._environment["SLURM_CONF"] = str(conf)

    def list_jobs(self, deadline_s: float) -> object:
        """Every job that the controller still knows, as ``squeue --json`` has them."""
        return self._json("list the jobs", ["squeue", "--all", "--json"], deadline_s)

    def list_nodes(self, deadline_s: float) -> object:
        """Every node, as ``sinfo --json`` has them."""
        return self._json("list the nodes", ["sinfo", "--all", "--json"], deadline_s)

    def started_at_s(self, deadline_s: float) -> float:
        """When the controller was started, in Unix seconds by its host's clock."""
        doing = "ask when the controller was started"
        done = self._do(doing, ["scontrol", "show", "config"], deadline_s)
        found = _STARTED.search(done.printed)
        if found is None:
            raise HardwareError(f"cannot {doing}: scontrol show config does not say it", cure=_NO_START)
        return datetime.fromisoformat(found[1].decode()).replace(tzinfo=UTC).timestamp()

    def suspend(self, job_id: str, deadline_s: float) -> None:
        """Stop all its processes; its devices stay with it."""
        self._do(f"suspend job {job_id}", ["scontrol", "suspend", job_id], deadline_s)

    def resume(self, job_id: str, deadline_s: float) -> None:
        """Let a suspended job go on."""
        self._do(f"resume job {job_id}", ["scontrol", "resume", job_id], deadline_s)

    def signal(self, job_id: str, name: str, deadline_s: float) -> None:
        """Send a signal to every rank, and to the batch script with all that it started.

        Neither half is enough: Slurm 22.05 calls a job stopped after either, while the other half goes on.
        """
        doing = f"signal job {job_id}"
        self._do(doing, ["scancel", f"--signal={name}", job_id], deadline_s)
        self._do(doing, ["scancel", "--full", f"--signal={name}", job_id], deadline_s)

    def signal_script(self, job_id: str, name: str, deadline_s: float) -> None:
        """Send a signal to the batch script alone."""
        self._do(f"signal job {job_id}", ["scancel", "--batch", f"--signal={name}", job_id], deadline_s)

    def hold(self, job_id: str, deadline_s: float) -> None:
        """Keep a waiting job from starting."""
        self._do(f"hold job {job_id}", ["scontrol", "hold", job_id], deadline_s)

    def release(self, job_id: str, deadline_s: float) -> None:
        """Let a held job start."""
        self._do(f"release job {job_id}", ["scontrol", "release", job_id], deadline_s)

    def requeue(self, job_id: str, deadline_s: float) -> None:
        """End a job and queue it anew, to begin in 121 s."""
        self._do(f"requeue job {job_id}", ["scontrol", "requeue", job_id], deadline_s)

    def requeue_held(self, job_id: str, deadline_s: float) -> None:
        """End a job and queue it anew, held."""
        self._do(f"requeue job {job_id}", ["scontrol", "requeuehold", job_id], deadline_s)

    def start_soon(self, job_id: str, deadline_s: float) -> None:
        """Let a waiting job start before its time, but not at once.

        A node refuses whatever was begun in the second in which it was told to end the job's last life, and the job
        fails for good ("Job credential revoked", seen with 22.05): Slurm's own 121 s are to keep clear of that.
        """
        words = ["scontrol", "update", f"JobId={job_id}", f"StartTime=now+{START_IN_S}"]
        self._do(f"start job {job_id}", words, deadline_s)

    def prioritize(self, job_id: str, priority: int, deadline_s: float) -> None:
        """Set a job's priority, from 1."""
        words = ["scontrol", "update", f"JobId={job_id}", f"Priority={priority}"]
        self._do(f"set the priority of job {job_id}", words, deadline_s)

    def drain(self, node_id: str, reason: str, deadline_s: float) -> None:
        """Start nothing more on a node."""
        words = ["scontrol", "update", f"NodeName={node_id}", "State=DRAIN", f"Reason={reason}"]
        self._do(f"drain node {node_id}", words, deadline_s)

    def undrain(self, node_id: str, deadline_s: float) -> None:
        """Let jobs start on a node again."""
        words = ["scontrol", "update", f"NodeName={node_id}", "State=RESUME"]
        self._do(f"undrain node {node_id}", words, deadline_s)

    def _do(self, doing: str, words: Sequence[str], deadline_s: float) -> Done:
        if self._conf is not None and not self._conf.is_file():
            # The commands would wait a minute for it.
            raise SchedulerLost(f"cannot {doing}: there is no {self._conf}", cure=_NO_CONF)
        program = shutil.which(words[0], path=self._folder)
        if program is None:
            raise SchedulerLost(f"cannot {doing}: there is no {words[0]} here", cure=_NOT_INSTALLED)
        try:
            done = run([program, *words[1:]], self._environment, deadline_s)
        except OSError as cause:
            raise SchedulerLost(f"cannot {doing}: {words[0]} does not run: {cause}", cure=_NOT_INSTALLED) from cause
        if done.code != 0:
            raise fault(done.complained or f"{words[0]} ended with {done.code}", doing=doing)
        return done

    def _json(self, doing: str, words: Sequence[str], deadline_s: float) -> object:
        done = self._do(doing, words, deadline_s)
        try:
            page = json.loads(done.printed)
        except ValueError as cause:
            raise HardwareError(f"cannot {doing}: {words[0]} did not print JSON", cure=_NO_JSON) from cause
        if not isinstance(page, dict) or page.get("errors"):
            # It ends with 0 all the same, and lists nothing.
            raise fault(done.complained or str(page)[-TEXT_LIMIT:], doing=doing)
        return page
