"""A command about an event of ours: written into the record, and what the running gateway made of it."""

import time
from dataclasses import dataclass

from gateway.cli.ask import read_record
from gateway.cli.command import recorded
from gateway.domain.issuing import IssueCommand
from gateway.domain.operator import CommandOutcome
from gateway.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A command that is on record, and what became of it; ``outcome`` is ``None`` where nobody has acted yet."""

    command: IssueCommand
    outcome: CommandOutcome | None


def issue(url: str, command: IssueCommand, *, wait_s: float, json_wanted: bool) -> Issued:
    """Write a command into the record and wait up to ``wait_s`` seconds for the gateway to act on it.

    A record that is busy is tried again for as long. Ends the command with exit code 1 where the record cannot be read
    or written.
    """
    until_s = time.monotonic() + wait_s

    async def given(ledger: Ledger) -> Issued:
        outcome = await recorded(
            lambda: ledger.record_issue(command), lambda: ledger.issue_outcome(command.command_id), until_s
        )
        return Issued(command=command, outcome=outcome)

    return read_record(url, given, json_wanted=json_wanted)


def not_done(given: Issued, wait_s: float) -> str | None:
    """Why a command that was waited for is not done, ``None`` where it is, or nobody wanted to wait."""
    if given.outcome is not None:
        return None if given.outcome.done else f"refused: {given.outcome.detail}"
    if wait_s == 0:
        return None
    return (
        f"the command is on record and stands, but no gateway has acted on it within {wait_s:g} s: is it running,"
        f" and has it a VTN called {given.command.connection_id!r}?"
    )
