"""What is wrong, and what a person can do about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.domain.assets import Assets
from gateway.http import words
from gateway.ledger import Quarantined
from hardware.device import Fault

MOST_NAMES = 3
MOST_TROUBLES = 8
"""So many different troubles of devices and jobs are told one by one."""

_WHAT_TO_DO = {
    "connection": (
        "Events that the grid sends do not reach us meanwhile. Check that the address in the configuration can be "
        "reached from this machine. It is tried again by itself, at least once a minute."
    ),
    "reports": "Reports are kept and go out in order once the grid answers. Nothing is lost meanwhile.",
    "meter": (
        "Check the site meter and the way to it. During an event the site is held by what the devices are known to "
        "draw, without feedback."
    ),
    "ledger": (
        "New figures are held in memory meanwhile. Check that its disk has room and that no other program holds the "
        "database."
    ),
    "dispatch": "Look at the devices below. A cap that is not renewed is taken back by its host when its lease ends.",
    "settling": "Nothing is lost: the statement is made from the record as soon as this works again.",
    "local agent": "It is started again by itself. Caps go on by lease; see its log if it does not come back.",
}
_ELSE_TO_DO = "The log of this gateway says more."


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultLine:
    """One thing that is wrong: ``part`` names it, ``reason`` says how, ``advice`` what to do."""

    part: str
    reason: str
    advice: str


def fault_lines(
    *,
    parts: Mapping[str, str | None],
    assets: Assets,
    quarantined: Sequence[Quarantined],
    since: datetime,
    ready: bool,
) -> tuple[FaultLine, ...]:
    """Faulty parts, devices, jobs, messages set aside after ``since``; or, without a reason, that we are not ready."""
    lines = [
        FaultLine(part=part, reason=reason, advice=_advice(part))
        for part, reason in parts.items()
        if reason is not None
    ]
    lines += _troubles("device", [(f"{one.device_id} on {one.host_id}", one.fault) for one in assets.devices])
    lines += _troubles("job", [(one.job_id, one.fault) for one in assets.jobs])
    aside = [item for item in quarantined if item.at >= since]
    if aside:
        last = max(aside, key=lambda item: item.at)
        lines.append(
            FaultLine(
                part="messages",
                reason=(
                    f"{words.count(len(aside), 'message')} set aside in the last day as not readable; "
                    f"the latest, from {last.connection_id}: {last.reason}"
                ),
                advice="The sender was told. The command 'gridgate decode' explains what is wrong with a message.",
            )
        )
    if not ready and not lines:
        lines.append(
            FaultLine(
                part="gateway",
                reason="it is starting or stopping, and not every part works yet",
                advice="Wait a moment.",
            )
        )
    return tuple(lines)


def _troubles(thing: str, faults: Sequence[tuple[str, Fault | None]]) -> list[FaultLine]:
    """What needs attention, one line for each condition and cure: many devices are often wrong in one way."""
    alike: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, fault in faults:
        if fault is not None:
            alike.setdefault((str(fault.condition), fault.cure), []).append((name, fault.detail))
    lines = []
    for (condition, cure), found in alike.items():
        need = "needs" if len(found) == 1 else "need"
        details = {detail for _, detail in found}
        how = f" ({words.clipped(found[0][1], 200)})" if len(details) == 1 else ""
        lines.append(
            FaultLine(
                part=f"{thing}s",
                reason=(
                    f"{words.count(len(found), thing)} {need} attention: {condition}: "
                    f"{_names([name for name, _ in found])}{how}"
                ),
                advice=f"What to do: {words.clipped(cure, 400).rstrip('.')}.",
            )
        )
    if len(lines) > MOST_TROUBLES:
        rest = FaultLine(
            part=f"{thing}s",
            reason=f"{len(lines) - MOST_TROUBLES} more things are wrong with others",
            advice="The section 'Hosts and devices' below tells each of them.",
        )
        lines = [*lines[:MOST_TROUBLES], rest]
    return lines


def _advice(part: str) -> str:
    return next(
        (text for name, text in _WHAT_TO_DO.items() if part == name or part.startswith(f"{name} ")), _ELSE_TO_DO
    )


def _names(ids: Sequence[str]) -> str:
    more = len(ids) - MOST_NAMES
    return ", ".join(ids[:MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")
