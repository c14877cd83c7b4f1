"""Slurm by slurmrestd, interface v0.0.38, for what that can do; the command line does the rest.

It lists, holds, releases and sets priorities. It cannot suspend, resume, requeue or drain, names no single task of an
array, and its signals reach the batch script but not the ranks. A bad token is answered by 500, a call that it does not
understand by 200: what counts is the list of errors in the body, and after that the listing.
"""

import http.client
import json
import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from hardware.errors import CallHangs, Condition, HardwareError, SchedulerLost
from hardware.slurm.policy import NOT_RUNNING, fault
from hardware.slurm.way import SlurmWay

MAX_BODY_BYTES = 256 * 2**20
"""The most that an answer may have. A job takes about 5 kB of a listing."""

_VERSION = "/slurm/v0.0.38"
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_CHUNK_BYTES = 2**16
_VAGUE = (-1, 1000, 5005)
"""Unspecified error, Unexpected message received, Zero Bytes were transmitted or received (``slurm_errno.h``)."""
_VAGUE_WITHIN_S = 4.0
"""A bad token is refused in milliseconds; for a dead controller slurmrestd waits 9 s, and then says the same."""
_NOT_OURS = f"check that this address is a slurmrestd that has the interface {_VERSION[7:]} (-s openapi{_VERSION[6:]})"
_REST_DOWN = "start slurmrestd, or mend the network to it; without it the command line alone will do (see the settings)"


class SlurmRest:
    """A ``SlurmWay`` by HTTP, with ``commands`` for what slurmrestd lacks.

    ``token_file`` holds the token of ``user``, with or without ``SLURM_JWT=`` before it, and is read anew for every
    call, so that a renewed token is used at once. Raises ``ValueError`` for a ``url`` that would show the token to the
    network: it has to be https, or on loopback.
    """

    def __init__(self, *, url: str, user: str, token_file: Path, commands: SlurmWay) -> None:
        place = urlsplit(url)
        if place.scheme not in {"http", "https"} or place.hostname is None or place.path.strip("/"):
            raise ValueError(f"not the address of a slurmrestd: {url}")
        if place.scheme == "http" and place.hostname not in _LOOPBACK:
            raise ValueError(f"{url} would show Slurm's token to the network: use https, or slurmrestd on this host")
        self._connect = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        self._host = place.hostname
        self._port = place.port
        self._user = user
        self._token_file = token_file
        self._commands = commands

    def list_jobs(self, deadline_s: float) -> object:
        """Every job that the controller still knows."""
        return self._call("list the jobs", "GET", "/jobs", deadline_s)

    def list_nodes(self, deadline_s: float) -> object:
        """Every node."""
        return self._call("list the nodes", "GET", "/nodes", deadline_s)

    def started_at_s(self, deadline_s: float) -> float:
        """By the command line."""
        return self._commands.started_at_s(deadline_s)

    def hold(self, job_id: str, deadline_s: float) -> None:
        """Keep a waiting job from starting."""
        if not job_id.isdecimal():
            return self._commands.hold(job_id, deadline_s)
        self._call(f"hold job {job_id}", "POST", f"/job/{job_id}", deadline_s, {"hold": True})
        return None

    def release(self, job_id: str, deadline_s: float) -> None:
        """Let a held job start."""
        if not job_id.isdecimal():
            return self._commands.release(job_id, deadline_s)
        self._call(f"release job {job_id}", "POST", f"/job/{job_id}", deadline_s, {"hold": False})
        return None

    def prioritize(self, job_id: str, priority: int, deadline_s: float) -> None:
        """Set a job's priority, from 1."""
        if not job_id.isdecimal():
            return self._commands.prioritize(job_id, priority, deadline_s)
        doing = f"set the priority of job {job_id}"
        self._call(doing, "POST", f"/job/{job_id}", deadline_s, {"priority": priority})
        return None

    def suspend(self, job_id: str, deadline_s: float) -> None:
        """By the command line."""
        self._commands.suspend(job_id, deadline_s)

    def resume(self, job_id: str, deadline_s: float) -> None:
        """By the command line."""
        self._commands.resume(job_id, deadline_s)

    def signal(self, job_id: str, name: str, deadline_s: float) -> None:
        """By the command line: slurmrestd signals the batch script and leaves the ranks running."""
        self._commands.signal(job_id, name, deadline_s)

    def signal_script(self, job_id: str, name: str, deadline_s: float) -> None:
        """By the command line."""
        self._commands.signal_script(job_id, name, deadline_s)

    def requeue(self, job_id: str, deadline_s: float) -> None:
        """By the command line."""
        self._commands.requeue(job_id, deadline_s)

    def requeue_held(self, job_id: str, deadline_s: float) -> None:
        """By the command line."""
        self._commands.requeue_held(job_id, deadline_s)

    def start_soon(self, job_id: str, deadline_s: float) -> None:
        """By the command line."""
        self._commands.start_soon(job_id, deadline_s)

    def drain(self, node_id: str, reason: str, deadline_s: float) -> None:
        """By the command line."""
        self._commands.drain(node_id, reason, deadline_s)

    def undrain(self, node_id: str, deadline_s: float) -> None:
        """By the command line."""
        self._commands.undrain(node_id, deadline_s)

    def _call(self, doing: str, method: str, path: str, deadline_s: float, body: object = None) -> object:
        began_s = time.monotonic()
        status, answer = self._exchange(doing, method, _VERSION + path, deadline_s, body)
        try:
            page = json.loads(answer)
        except ValueError as cause:
            if status == HTTPStatus.UNAUTHORIZED:
                raise self._token_refused(doing, str(status)) from cause
            raise HardwareError(f"cannot {doing}: slurmrestd answered {status} and no JSON", cure=_NOT_OURS) from cause
        errors = page.get("errors") if isinstance(page, dict) else None
        if status == HTTPStatus.OK and errors == []:
            return page
        if not isinstance(errors, list) or not errors:
            raise fault(f"status {status} without a reason", doing=doing)
        said = "; ".join(map(_in_words, errors))
        if not all(map(_is_vague, errors)):
            raise fault(said, doing=doing)
        if time.monotonic() - began_s > _VAGUE_WITHIN_S:
            raise SchedulerLost(f"cannot {doing}: slurmrestd has no answer of slurmctld ({said})", cure=NOT_RUNNING)
        raise self._token_refused(doing, said)

    def _exchange(self, doing: str, method: str, path: str, deadline_s: float, body: object) -> tuple[int, bytes]:
        """Status and body. The whole exchange is cut off at the deadline, however slowly it drips."""
        token = self._token(doing)
        headers = {"X-SLURM-USER-NAME": self._user, "X-SLURM-USER-TOKEN": token, "Content-Type": "application/json"}
        left_s = deadline_s - time.monotonic()
        connection = self._connect(self._host, self._port, timeout=max(left_s, 0.001))
        over = threading.Event()
        try:
            connection.connect()
        except OSError as cause:
            raise SchedulerLost(f"cannot {doing}: no slurmrestd answers: {cause}", cure=_REST_DOWN) from cause
        guard = threading.Timer(max(deadline_s - time.monotonic(), 0.0), _cut, (connection.sock, over))
        guard.daemon = True
        guard.start()
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            answer = response.read(MAX_BODY_BYTES + 1)
        except (OSError, http.client.HTTPException, ValueError) as cause:
            if over.is_set() or isinstance(cause, TimeoutError):
                raise CallHangs(f"cannot {doing}: slurmrestd did not answer in its time", cure=NOT_RUNNING) from cause
            raise SchedulerLost(f"cannot {doing}: slurmrestd: {cause!r}", cure=_REST_DOWN) from cause
        finally:
            guard.cancel()
            connection.close()
        if over.is_set():
            raise CallHangs(f"cannot {doing}: slurmrestd did not answer in its time", cure=NOT_RUNNING)
        if len(answer) > MAX_BODY_BYTES:
            raise HardwareError(f"cannot {doing}: slurmrestd answered more than {MAX_BODY_BYTES} bytes")
        return response.status, answer

    def _token(self, doing: str) -> str:
        try:
            text = self._token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as cause:
            raise self._token_refused(doing, f"its file cannot be read: {cause}") from cause
        return text.removeprefix("SLURM_JWT=")

    def _token_refused(self, doing: str, said: str) -> SchedulerLost:
        return SchedulerLost(
            f"cannot {doing}: slurmrestd does not take the token of {self._user} ({said})",
            condition=Condition.NO_PERMISSION,
            cure=f"scontrol token username={self._user} lifespan=86400 > {self._token_file}, and again before it ends",
        )


def _cut(connected: socket.socket, over: threading.Event) -> None:
    """Wake up whoever reads or writes it."""
    over.set()
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def _in_words(error: object) -> str:
    if not isinstance(error, dict):
        return str(error)
    parts = [str(error[name]) for name in ("error", "description") if error.get(name)]
    return ": ".join(parts)


def _is_vague(error: object) -> bool:
    """Whether it is one that a bad token ends in: 22.05 calls it by other errors' names."""
    if not isinstance(error, dict):
        return False
    return error.get("error_number", error.get("errno")) in _VAGUE
