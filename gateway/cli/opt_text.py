"""A command about a schedule of ours, written into the record and waited for; and schedules as text."""

import time
from collections.abc import Sequence

from gateway.cli.ask import read_record
from gateway.cli.command import recorded
from gateway.domain.operator import CommandOutcome
from gateway.domain.opting import OptCommand, OptLine, OptRecord
from gateway.ledger import Ledger


def give(url: str, command: OptCommand, *, wait_s: float, json_wanted: bool) -> OptRecord:
    """Write a command into the record and wait up to ``wait_s`` seconds for the gateway to act on it.

    Ends the command with exit code 1 where the record cannot be read or written.
    """
    until_s = time.monotonic() + wait_s

    async def given(ledger: Ledger) -> OptRecord:
        async def look() -> CommandOutcome | None:
            found = [one.outcome for one in await ledger.opts() if one.command.command_id == command.command_id]
            return found[0] if found else None

        return OptRecord(command=command, outcome=await recorded(lambda: ledger.record_opt(command), look, until_s))

    return read_record(url, given, json_wanted=json_wanted)


def not_done(given: OptRecord, wait_s: float) -> str | None:
    """Why a command that was waited for is not done, ``None`` where it is, or nobody wanted to wait."""
    if given.outcome is not None:
        return None if given.outcome.done else f"refused: {given.outcome.detail}"
    if wait_s == 0:
        return None
    return (
        f"the command is on record and stands, but no gateway has acted on it within {wait_s:g} s: is it running?"
        " See: gridgate opt list"
    )


def listing(lines: Sequence[OptLine]) -> str:
    """Schedules, a line each and one more for what there is to say."""
    return "\n".join(part for line in lines for part in _of(line)) or "no schedules on record"


def _of(line: OptLine) -> tuple[str, ...]:
    schedule = line.schedule
    about = [f"program {schedule.program_id}"] if schedule.program_id else []
    about += [f"{target.kind} {target.value}" for target in schedule.targets]
    when = ", ".join(f"{starts_at:%Y-%m-%d %H:%M:%SZ} for {length_s:g} s" for starts_at, length_s in schedule.periods)
    what = f"{schedule.opt} {when}{' (' + ', '.join(about) + ')' if about else ''}"
    first = f"{schedule.opt_id}  {schedule.connection_id}  {what}  by {line.by}: {line.state}"
    return (first, f"    {line.detail}") if line.detail else (first,)
