"""What went over a connection, and what was found when it was tried, as a person reads it."""

from collections.abc import Sequence

from gateway.connection_check import Finding
from gateway.domain.message_trace import TracedMessage
from protocols.party_store import Direction


def listing(messages: Sequence[TracedMessage]) -> str:
    """One line a message: when, which way, what, how long the answer took, what it says, its digest's begin."""
    return "\n".join(_line(message) for message in messages)


def findings_in_words(findings: Sequence[Finding]) -> str:
    """One line a step, and under one that failed what to do."""
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{'ok  ' if finding.well else 'FAIL'}  {finding.step}: {finding.detail}")
        if finding.cure and not finding.well:
            lines.append(f"      {finding.cure}")
    return "\n".join(lines)


def _line(message: TracedMessage) -> str:
    way = "<-" if message.direction is Direction.IN else "->"
    took = "        " if message.took_s is None else f"{1000.0 * message.took_s:5.0f} ms"
    mark = "" if message.well else "  !"
    said = f"  {message.verdict}" if message.verdict else ""
    return (
        f"{message.at:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f"Z {way} {took}  {message.name}  {message.sha256[:8]}{mark}{said}"
    )
