"""What an agent would do first with the journal that it finds, as ``gridgate agent --check`` tells it."""

from pathlib import Path
from typing import Any

from gateway.cli.agent_found import AtStart, Check, CheckedJournal
from hardware.device import CapResult, Outcome
from hardware.job import JobResult


def checked_journal(path: Path, state: Any, rehearsal: Any) -> CheckedJournal:
    """The journal, and what a rehearsed start would do with it. ``state`` is ``None`` where none could be read."""
    from gateway.attach import this_boot

    if state is None:
        return CheckedJournal(path=str(path), exists=path.exists(), epoch=0, this_boot=None, at_start=())
    known = state.boot_id and this_boot()
    return CheckedJournal(
        path=str(path),
        exists=True,
        epoch=state.epoch,
        this_boot=state.boot_id == this_boot() if known else None,
        at_start=() if rehearsal is None else _first_acts(state, rehearsal),
    )


def _first_acts(state: Any, rehearsal: Any) -> tuple[AtStart, ...]:
    """Each entry of the journal, and what would become of it."""
    results = {result.device_id: result for result in rehearsal.limits}
    acts = []
    for device_id, prior in sorted(state.limits.items()):
        result = results.get(device_id)
        if result is None:
            acts.append(AtStart(name=device_id, says=f"hold the cap of {prior.written_w:g} W on", done=True))
        else:
            acts.append(_of_limit(result, prior.found_w, rehearsal.writes_w.get(device_id)))
    acts += [_of_job(result) for result in rehearsal.jobs]
    return tuple(acts)


def _of_limit(result: CapResult, found_w: float, write_w: float | None) -> AtStart:
    if result.outcome in {Outcome.APPLIED, Outcome.CLAMPED}:
        says = f"put back {found_w:g} W" if write_w is None else f"put back {write_w:g} W"
        says += ", which it has already" if write_w is None else ""
        return AtStart(name=result.device_id, says=says + (f" ({result.detail})" if result.detail else ""), done=True)
    if result.outcome is Outcome.CONFLICT or result.fault is None:
        return AtStart(name=result.device_id, says=f"leave it alone: {result.detail}", done=True)
    return AtStart(name=result.device_id, says=f"fail to put back {found_w:g} W: {result.detail}", done=False)


def _of_job(result: JobResult) -> AtStart:
    done = result.outcome in {Outcome.APPLIED, Outcome.CLAMPED, Outcome.CONFLICT}
    says = f"{result.verb} it" if done else f"fail to {result.verb} it"
    if result.state is None and done:
        says = "forget it: it has ended"
    return AtStart(name=result.job_id, says=says + (f" ({result.detail})" if result.detail else ""), done=done)


def about_start(journal: CheckedJournal) -> list[Check]:
    """Whether the journal could be followed."""
    if not journal.exists:
        return [Check(part="journal", well=True, says=f"there is none yet at {journal.path}")]
    if journal.epoch == 0 and journal.this_boot is None and not journal.at_start:
        return []  # It could not be read, which was said, or nothing was ever commanded.
    age = {True: "from this boot", False: "from before a restart of the machine", None: "of unknown boot"}
    failing = [entry for entry in journal.at_start if not entry.done]
    entries = f"{len(journal.at_start)} entr{'y' if len(journal.at_start) == 1 else 'ies'} to follow"
    says = f"{journal.path}: readable, {age[journal.this_boot]}, epoch {journal.epoch}, {entries}"
    if failing:
        says += f", {len(failing)} of them in vain"
    cure = "cure what is wrong with these devices and jobs first: until then the journal keeps what it knows of them"
    return [Check(part="journal", well=not failing, says=says, cure=cure if failing else "")]
