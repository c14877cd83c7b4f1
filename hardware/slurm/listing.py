"""What Slurm lists, read: jobs with their devices, nodes with their state.

The shape is that of Slurm's REST interface v0.0.38, which ``squeue --json`` and ``sinfo --json`` of 22.05 share. Later
releases write a number as ``{"set", "infinite", "number"}`` and a state as a list; both are read. Unlike in what
``scontrol show job`` prints, the name that a user gives to a job cannot pass for something else.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

from hardware.job import JobState

MOST_HOSTS = 65_536
"""The most that one list may name, hosts or devices. Slurm's own limit on nodes is 65,533 (MAX_SLURM_NODES)."""

_WORD = re.compile(r"(?:[^\[\],]|\[[\d,-]+\])+")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_GPUS = re.compile(r"(?:^|,)gpu(?::[^:(),]*)?:(\d+)(?:\(IDX:([^)]*)\))?(?=,|$)")
_REQUEUED = "job requeued in held state"
"""``state_description`` after ``scontrol requeuehold``."""

_PAUSED = {"SUSPENDED", "STOPPED"}
_WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}
_GOING = {"RUNNING", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT"}
_NOT_SET = (0xFFFF_FFFE, 0xFFFF_FFFF)
"""Slurm's ways to say that a number of 32 bits is not set (NO_VAL) or without limit (INFINITE)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedJob:
    """One job. ``job_id`` is what Slurm's commands call it: ``12``, or ``12_3`` for a task of an array.

    ``tasks`` names the waiting tasks of an array that are listed as one, such as ``2-9``. ``requeued`` is set for a job
    that was ended and waits, held, to begin anew; ``ending`` while its processes are still being ended; ``stopped`` for
    one that was stopped by a signal. It does not begin before ``begins_at_s``, and was last suspended or resumed at
    ``changed_at_s`` (Unix seconds, 0 for never). ``device_ids`` (``node/slot``) is ``None`` where they cannot be told,
    and so is ``output``, the file of its standard output. ``deadline_at`` is Slurm's ``--deadline``, and
    ``remaining_s`` what is left of the time limit: it is all the work that the job may do, and Slurm plans by it, too.
    """

    job_id: str
    state: JobState
    attributes: Mapping[str, str]
    device_ids: tuple[str, ...] | None = ()
    priority: int | None = None
    restarts: int = 0
    requeued: bool = False
    ending: bool = False
    begins_at_s: float = 0.0
    stopped: bool = False
    changed_at_s: int = 0
    tasks: str = ""
    folder: str = ""
    output: str | None = None
    deadline_at: datetime | None = None
    remaining_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedNode:
    """One node; ``reason`` says why it is drained or down. ``words`` are its state and flags, in capitals."""

    node_id: str
    drained: bool
    reason: str
    words: frozenset[str] = frozenset()


def read_jobs(page: object, now_s: float) -> dict[str, ListedJob]:
    """Every job of a listing by its id, read at ``now_s`` (Unix seconds). Raises ``ValueError``.

    The parts of a heterogeneous job are one job.
    """
    jobs: dict[str, ListedJob] = {}
    for entry in _entries(page, "jobs"):
        job = _job(entry, now_s)
        jobs[job.job_id] = _joined(jobs[job.job_id], job) if job.job_id in jobs else job
    return jobs


def read_nodes(page: object) -> dict[str, ListedNode]:
    """Every node of a listing by its name. Raises ``ValueError``."""
    nodes = {}
    for entry in _entries(page, "nodes"):
        node_id = _text(entry, "name")
        words = frozenset([*_words(entry.get("state")), *_words(entry.get("state_flags"))])
        nodes[node_id] = ListedNode(
            node_id=node_id, drained="DRAIN" in words, reason=_text(entry, "reason"), words=words
        )
    return nodes


def hosts(text: str) -> list[str]:
    """The hosts that a list such as ``gpu[01-03,7],login`` names, in its order. Raises ``ValueError``."""
    words = _WORD.findall(text)
    if ",".join(words) != text:
        raise ValueError(f"not a list of hosts: {text[:100]!r}")
    found: list[str] = []
    for word in words:
        parts = re.split(r"\[([^\]]*)\]", word)
        choices = [numbers(part) if index % 2 else [part] for index, part in enumerate(parts)]
        if len(found) + math.prod(map(len, choices)) > MOST_HOSTS:
            raise ValueError(f"a list of more than {MOST_HOSTS} hosts")
        found += ["".join(choice) for choice in product(*choices)]
    return found


def numbers(text: str) -> list[str]:
    """The numbers of ``0-2,007``, in its order and with their leading zeros. Raises ``ValueError``."""
    found: list[str] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"not a list of numbers: {text[:100]!r}")
        first, last = match[1], match[2] or match[1]
        if len(first) > 9 or len(last) > 9 or len(found) + int(last) - int(first) >= MOST_HOSTS:
            raise ValueError(f"a list of more than {MOST_HOSTS} numbers")
        found += [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    return found


def _entries(page: object, name: str) -> list[dict[str, Any]]:
    entries = page.get(name) if isinstance(page, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"no list of {name}")
    return entries


def _job(entry: Mapping[str, Any], now_s: float) -> ListedJob:
    words = set(_words(entry.get("job_state")))
    ending = "COMPLETING" in words
    restarts = _number(entry.get("restart_cnt")) or 0
    if ending and restarts and (_number(entry.get("end_time")) or 0) > now_s:
        # One that is to begin anew is listed as an ending one first: only its end, still to come, tells.
        words.add("PENDING")
    priority = _number(entry.get("priority"))
    requeued = _text(entry, "state_description") == _REQUEUED
    held = requeued or priority == 0 or _text(entry, "state_reason").startswith("JobHeld")
    if requeued:
        words.add("PENDING")
    job_id, tasks = _identity(entry)
    state = _state(words, held=held)
    return ListedJob(
        job_id=job_id,
        state=state,
        attributes={
            "name": _text(entry, "name"),
            "partition": _text(entry, "partition"),
            "qos": _text(entry, "qos"),
            "account": _text(entry, "account"),
            "user": _text(entry, "user_name"),
        },
        device_ids=_devices(entry),
        # Of a suspended job Slurm says 0, whatever it will have again.
        priority=None if "SUSPENDED" in words else priority,
        restarts=restarts,
        requeued=requeued,
        ending=ending,
        begins_at_s=float(_number(entry.get("eligible_time")) or 0),
        stopped="STOPPED" in words,
        changed_at_s=_number(entry.get("suspend_time")) or 0,
        tasks=tasks,
        folder=_text(entry, "current_working_directory"),
        output=_output(entry),
        deadline_at=_deadline(entry),
        remaining_s=_remaining_s(entry, state, now_s),
    )


def _deadline(entry: Mapping[str, Any]) -> datetime | None:
    at_s = _number(entry.get("deadline"))
    return datetime.fromtimestamp(at_s, UTC) if at_s else None


def _remaining_s(entry: Mapping[str, Any], state: JobState, now_s: float) -> float | None:
    """What is left of the time limit, which stands still while the job is suspended; without a limit nobody knows."""
    limit_min = _number(entry.get("time_limit"))
    if not limit_min or state is JobState.FINISHED:
        return None
    if state is JobState.RUNNING:
        ends_at_s = _number(entry.get("end_time"))
        return max(0.0, ends_at_s - now_s) if ends_at_s else None
    run_s = _number(entry.get("pre_sus_time")) if state is JobState.PAUSED else 0
    return max(0.0, 60.0 * limit_min - (run_s or 0))


def _identity(entry: Mapping[str, Any]) -> tuple[str, str]:
    """What Slurm's commands call it, and which tasks of an array it stands for."""
    number = _number(entry.get("job_id"))
    if number is None:
        raise ValueError("a job has no number")
    array, task = _number(entry.get("array_job_id")), _number(entry.get("array_task_id"))
    if array and task is not None:
        return f"{array}_{task}", ""
    if array:
        return str(array), _text(entry, "array_task_string").partition("%")[0]
    return str(_number(entry.get("het_job_id")) or number), ""


def _state(words: set[str], *, held: bool) -> JobState:
    if words & _WAITING:
        return JobState.HELD if held else JobState.PENDING
    if words & _PAUSED:
        return JobState.PAUSED
    return JobState.RUNNING if words & _GOING and "COMPLETING" not in words else JobState.FINISHED


def _joined(one: ListedJob, other: ListedJob) -> ListedJob:
    """Two parts of a heterogeneous job, which Slurm itself acts on as a whole. It is paused when every part is."""
    order = (JobState.RUNNING, JobState.PENDING, JobState.HELD, JobState.PAUSED, JobState.FINISHED)
    known = one.device_ids is not None and other.device_ids is not None
    return replace(
        one,
        state=min(one.state, other.state, key=order.index),
        device_ids=(one.device_ids or ()) + (other.device_ids or ()) if known else None,
        deadline_at=min(filter(None, (one.deadline_at, other.deadline_at)), default=None),
        remaining_s=max((left for left in (one.remaining_s, other.remaining_s) if left is not None), default=None),
    )


def _devices(entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    """``gres_detail`` has a text for each node of the job: ``gpu:h100:3(IDX:0-1,5)``."""
    details = entry.get("gres_detail") or []
    if not details:
        return ()
    try:
        nodes = hosts(_text(entry, "nodes"))
        return tuple(
            f"{node}/{int(slot)}"
            for node, detail in zip(nodes, details, strict=True)
            for match in _GPUS.finditer(detail)
            if int(match[1]) > 0
            for slot in numbers(match[2] or "")
        )
    except (ValueError, TypeError):
        return None


def _output(entry: Mapping[str, Any]) -> str | None:
    """Slurm 22.05 gives the pattern, and nothing where it is the usual one (``slurm-%j.out`` in the job's folder)."""
    array, task = _number(entry.get("array_job_id")), _number(entry.get("array_task_id"))
    pattern = _text(entry, "standard_output") or ("slurm-%A_%a.out" if array else "slurm-%j.out")
    signs = {
        "%": "%",
        "j": str(_number(entry.get("job_id"))),
        "A": str(array or _number(entry.get("job_id"))),
        "a": str(task),
        "x": _text(entry, "name"),
        "u": _text(entry, "user_name"),
    }
    if any(sign not in signs for sign in re.findall(r"%(.|$)", pattern)):
        return None
    path = re.sub(r"%(.)", lambda match: signs[match[1]], pattern)
    folder = _text(entry, "current_working_directory")
    path = path if path.startswith("/") else f"{folder}/{path}"
    return path if path.startswith("/") and path.isprintable() else None


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    if isinstance(value, dict):
        value = value.get("number") if value.get("set") else None
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0 and value not in _NOT_SET
        else None
    )


def _words(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [word.upper() for word in values if isinstance(word, str)]
