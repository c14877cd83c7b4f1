import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.event import is_answer_told
from gateway.domain.operator import CommandKind, CommandOutcome, OperatorCommand
from gateway.ledger import Ledger, LogEntry, Topic
from gateway.storage.sql_ledger import open_ledger
from protocols.grid import EventStatus, GridEvent, Opt, OptDecision, Refusal

NOON = datetime(2026, 7, 1, 12, 0, 0, 123457, tzinfo=UTC)
SECOND = timedelta(seconds=1)

OUT = OperatorCommand(
    command_id="c1",
    at=NOON,
    by="Zoë",
    kind=CommandKind.OPT_OUT,
    connection_id="utility",
    event_id="e1",
    reason="the chiller in hall 3\nis down",
)
BACK = replace(OUT, command_id="c2", at=NOON + SECOND, kind=CommandKind.OPT_IN, reason="it runs again")
EVENT = GridEvent(
    event_id="e1",
    connection_id="utility",
    program_id="peak",
    revision=0,
    status=EventStatus.FAR,
    created_at=NOON,
    starts_at=NOON,
    duration_s=3600.0,
    signals=(),
)


def acted(command_id: str, at: datetime = NOON, *, done: bool = True) -> CommandOutcome:
    return CommandOutcome(command_id=command_id, at=at, done=done, detail="in words")


def answer(opt: Opt, at: datetime) -> OptDecision:
    refusal = Refusal.OPERATOR if opt is Opt.OUT else None
    return OptDecision(
        connection_id="utility", event_id="e1", revision=0, opt=opt, decided_at=at, refusal=refusal, detail="by Zoë"
    )


async def test_commands_are_open_until_they_are_acted_on(ledger: Ledger) -> None:
    assert await ledger.open_commands() == ()
    for command in (OUT, BACK, OUT, replace(OUT, reason="another text under a known id")):
        await ledger.record_command(command)
    assert await ledger.open_commands() == (OUT, BACK)
    assert await ledger.command_outcome("c1") is None

    assert await ledger.record_acted(acted("c1")) is True

    assert await ledger.open_commands() == (BACK,)
    assert await ledger.command_outcome("c1") == acted("c1")


async def test_acting_and_the_new_answer_are_one_and_happen_once(ledger: Ledger) -> None:
    await ledger.record_event(EVENT, NOON)
    await ledger.record_decision(answer(Opt.IN, NOON))
    await ledger.record_command(OUT)

    line = LogEntry(connection_id="utility", event_id="e1", at=NOON, what="opt-out", detail="opted out by Zoë")
    assert await ledger.record_acted(acted("c1"), answer(Opt.OUT, NOON + SECOND), line) is True
    again = (acted("c1", NOON + SECOND, done=False), answer(Opt.IN, NOON + 2 * SECOND), replace(line, what="again"))
    assert await ledger.record_acted(*again) is False

    record = await ledger.event("utility", "e1")
    assert record is not None
    assert record.decision == answer(Opt.OUT, NOON + SECOND)
    assert await ledger.command_outcome("c1") == acted("c1")
    assert await ledger.log("utility", "e1") == (line,)


async def test_an_outcome_of_no_command_is_not_kept(ledger: Ledger) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        await ledger.record_acted(acted("nobody's"))
    assert await ledger.command_outcome("nobody's") is None


async def test_the_command_that_stands_is_the_last_that_was_done(ledger: Ledger) -> None:
    refused = replace(OUT, command_id="c3", at=NOON + 2 * SECOND)
    other = replace(OUT, command_id="c4", connection_id="market")
    for command in (OUT, BACK, refused, other):
        await ledger.record_command(command)
    assert await ledger.standing_command("utility", "e1") is None

    await ledger.record_acted(acted("c1"))
    assert await ledger.standing_command("utility", "e1") == OUT

    await ledger.record_acted(acted("c4"))
    await ledger.record_acted(acted("c3", done=False))
    assert await ledger.standing_command("utility", "e1") == OUT

    await ledger.record_acted(acted("c2"))
    assert await ledger.standing_command("utility", "e1") == BACK


async def test_an_event_says_since_when_we_are_out_of_it_by_an_operators_word(ledger: Ledger) -> None:
    async def left_at() -> datetime | None:
        record = await ledger.event("utility", "e1")
        assert record is not None
        assert record in await ledger.events()
        return record.left_at

    await ledger.record_event(EVENT, NOON)
    await ledger.record_decision(answer(Opt.IN, NOON))
    refused = replace(OUT, command_id="c3")
    for command in (OUT, BACK, refused):
        await ledger.record_command(command)
    await ledger.record_acted(acted("c1", NOON + SECOND), answer(Opt.OUT, NOON + SECOND))
    await ledger.record_acted(acted("c3", NOON + 2 * SECOND, done=False))
    assert await left_at() == NOON + SECOND

    await ledger.record_acted(acted("c2", NOON + 3 * SECOND), answer(Opt.IN, NOON + 3 * SECOND))
    assert await left_at() is None


async def test_what_was_done_is_untold_until_the_grid_was_told(ledger: Ledger) -> None:
    refused = replace(OUT, command_id="c3")
    other = replace(OUT, command_id="c4", connection_id="market")
    for command in (OUT, BACK, refused, other):
        await ledger.record_command(command)
    assert await ledger.untold_commands("utility") == ()

    await ledger.record_acted(acted("c2"))
    await ledger.record_acted(acted("c1"))
    await ledger.record_acted(acted("c3", done=False))
    await ledger.record_acted(acted("c4"))
    assert await ledger.untold_commands("utility") == (BACK, OUT)

    await ledger.record_told("c2", NOON)
    await ledger.record_told("c2", NOON + SECOND, "the first mark stays")
    assert await ledger.untold_commands("utility") == (OUT,)
    assert await ledger.untold_commands("market") == (other,)


async def test_an_event_says_whether_the_grid_has_its_present_answer(ledger: Ledger) -> None:
    async def told() -> bool:
        record = await ledger.event("utility", "e1")
        assert record is not None
        return is_answer_told(record)

    await ledger.record_event(EVENT, NOON)
    assert not await told()
    await ledger.record_decision(answer(Opt.IN, NOON))
    assert not await told()
    await ledger.record_acknowledged("utility", "e1", 0, NOON)
    assert await told()

    await ledger.record_command(OUT)
    await ledger.record_acted(acted("c1"), answer(Opt.OUT, NOON + SECOND))
    assert not await told()
    await ledger.record_told("c1", NOON + 2 * SECOND)
    assert await told()

    await ledger.record_command(BACK)
    await ledger.record_acted(acted("c2"), answer(Opt.IN, NOON + 3 * SECOND))
    await ledger.record_told("c2", NOON + 4 * SECOND, "the grid wants no answer to it")
    assert not await told()


async def test_whoever_waits_for_events_is_woken_by_what_was_done(ledger: Ledger) -> None:
    wake: asyncio.Event = ledger.subscribe(Topic.EVENTS)
    await ledger.record_command(OUT)
    for verb in (ledger.record_acted(acted("c1")), ledger.record_told("c1", NOON)):
        wake.clear()
        await verb
        assert wake.is_set()


async def test_a_command_of_another_process_is_seen(url: str, ledger: Ledger) -> None:
    """The command line writes while the gateway has the database open, and asks what became of it."""
    async with open_ledger(url, migrate=False) as terminal:
        await terminal.record_command(OUT)
        assert await ledger.open_commands() == (OUT,)
        await ledger.record_acted(acted("c1"))
        assert await terminal.command_outcome("c1") == acted("c1")
