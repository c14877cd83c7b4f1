"""Jobs, nodes and what became of an action, as ``gridgate job`` tells them."""

from collections.abc import Sequence

from gateway.cli.asset_text import paragraph, table
from gateway.cli.time_text import duration_in_words, instant_in_words, work_in_words
from hardware.device import Fault, Outcome
from hardware.job import JobResult, JobView, NodeView, Verb

LASTS = frozenset({Verb.PAUSE, Verb.HOLD, Verb.DRAIN})

_DONE = {
    Verb.PAUSE: "paused",
    Verb.RESUME: "resumed",
    Verb.HOLD: "held",
    Verb.RELEASE: "released",
    Verb.REQUEUE: "requeued",
    Verb.PRIORITIZE: "has its priority",
    Verb.DRAIN: "drained: it gets no new jobs",
    Verb.UNDRAIN: "undrained",
}


def listing(jobs: Sequence[JobView], nodes: Sequence[NodeView]) -> str:
    """Every job, the nodes that are drained, and what is wrong."""
    if not jobs:
        return "no jobs: the agent answers, and knows of none"
    rows = [["JOB", "STATE", "TIER", "DEVICES", "PAUSE", "DEADLINE", "FAULT"]]
    rows += [
        [
            job.job_id,
            str(job.state),
            job.tier,
            str(len(job.device_ids)),
            pause_in_words(job),
            "" if job.deadline_at is None else instant_in_words(job.deadline_at),
            "" if job.fault is None else str(job.fault.condition),
        ]
        for job in jobs
    ]
    if not any(row[5] for row in rows[1:]):
        rows = [row[:5] + row[6:] for row in rows]
    lines = table(rows, right={3})
    drained = [node.node_id for node in nodes if node.drained]
    if drained:
        lines += ["", *_hanging(f"Drained nodes: {', '.join(drained)}")]
    for job in jobs:
        if job.fault is not None:
            lines += ["", *fault_lines(job.job_id, job.fault)]
    return "\n".join(lines)


def in_words(job: JobView) -> str:
    """Everything that is known of one job."""
    lines = [
        f"{job.job_id}: {job.state}",
        f"  tier {job.tier}: at least {job.min_throughput:.0%} of its full throughput; weight {job.weight:g}",
        f"  pause {pause_in_words(job)}",
        f"  curve {f'{len(job.curve)} points' if job.curve else 'none: its devices are not capped'}",
        *paragraph(f"devices {', '.join(job.device_ids) or 'none that are known'}", indent=4, first="  "),
    ]
    if work := work_in_words(job.deadline_at, job.remaining_s):
        lines.append(f"  {work}")
    if job.progress is not None:
        lines.append(f"  progress {job.progress:g}")
    if job.priority is not None:
        lines.append(f"  priority {job.priority}")
    if job.fault is not None:
        lines += [f"  {line}" for line in fault_lines("fault", job.fault)]
    return "\n".join(lines)


def results_in_words(results: Sequence[JobResult], lasts_s: float) -> str:
    """One line a job (or node), and the cure where there is one."""
    lines: list[str] = []
    for result in results:
        if result.outcome in {Outcome.APPLIED, Outcome.CLAMPED}:
            span = f" for {duration_in_words(lasts_s)} at most" if result.verb in LASTS else ""
            detail = f" ({result.detail})" if result.detail else ""
            lines.append(f"{result.job_id}: {_DONE[result.verb]}{span}{detail}")
        elif result.fault is not None:
            lines += fault_lines(f"{result.job_id}: {result.verb} {result.outcome}", result.fault)
        else:
            lines += _hanging(f"{result.job_id}: {result.verb} {result.outcome}: {result.detail}")
    return "\n".join(lines)


def fault_lines(what: str, fault: Fault) -> list[str]:
    """What is wrong, and what to do about it."""
    # An error's text carries its cure; here it has a line of its own.
    detail = fault.detail.removesuffix(fault.cure).rstrip("; ") if fault.cure else fault.detail
    lines = _hanging(f"{what}: {fault.condition}: {detail}")
    return lines + (paragraph(f"what to do: {fault.cure}", indent=4, first="  ") if fault.cure else [])


def pause_in_words(job: JobView) -> str:
    """How a job may be paused, and for how long."""
    return "never" if job.max_pause_s <= 0.0 else f"{job.method}, up to {duration_in_words(job.max_pause_s)}"


def _hanging(text: str) -> list[str]:
    """Text wrapped to the width, every line but the first indented."""
    first, *others = paragraph(text, indent=2)
    return [first.lstrip(), *others]
