"""The operator's word at the terminal, with and without a gateway that listens: exit codes, and what is on record."""

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.__main__ import main
from gateway.clock import SystemClock
from gateway.domain.contract import Program
from gateway.services.operating import Operating
from gateway.services.readiness import Readiness
from gateway.storage.sql_ledger import open_ledger
from protocols.grid import EventStatus, GridEvent, Opt, OptDecision

NOW = datetime.now(UTC)
EVENT = GridEvent(
    event_id="peak-1",
    connection_id="utility",
    program_id="peak",
    revision=0,
    status=EventStatus.FAR,
    created_at=NOW,
    starts_at=NOW + timedelta(hours=1),
    duration_s=3600.0,
    signals=(),
)
MUST = replace(EVENT, event_id="must-1", program_id="must")
PROGRAMS = {"peak": Program(program_id="peak"), "must": Program(program_id="must", mandatory=True)}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a record of three events, one of whose ids came over two connections."""

    async def fill() -> None:
        async with open_ledger(f"sqlite+aiosqlite:///{tmp_path}/gridgate.db", migrate=True) as ledger:
            twice = replace(EVENT, event_id="twice")
            for event in (EVENT, MUST, twice, replace(twice, connection_id="market")):
                await ledger.record_event(event, NOW)
                await ledger.record_decision(
                    OptDecision(
                        connection_id=event.connection_id,
                        event_id=event.event_id,
                        revision=0,
                        opt=Opt.IN,
                        decided_at=NOW,
                    )
                )

    asyncio.run(fill())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRIDGATE_GATEWAY__DATABASE", raising=False)
    return tmp_path


@pytest.fixture
def typed(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def typed(*words: str) -> Done:
        monkeypatch.setattr("sys.argv", ["gridgate", "event", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        assert "internal error" not in captured.err
        return Done(code=ended.value.code, out=captured.out, err=captured.err)

    return typed


def on_record(folder: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / "gridgate.db")) as connection:
        found = connection.execute("SELECT document FROM operator_command ORDER BY id").fetchall()
    return [json.loads(document) for (document,) in found]


@contextmanager
def listening(folder: Path) -> Iterator[None]:
    """A gateway's operating service on the record, in a thread with a ledger of its own."""
    ending = threading.Event()

    async def serve() -> None:
        async with open_ledger(f"sqlite+aiosqlite:///{folder}/gridgate.db", migrate=False) as ledger:
            service = Operating(programs=PROGRAMS, ledger=ledger, clock=SystemClock(), readiness=Readiness())
            stop = asyncio.Event()
            running = asyncio.create_task(service.run(stop))
            await asyncio.to_thread(ending.wait)
            stop.set()
            await running

    # What it logs is not the command's.
    with capture_logs():
        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()


@contextmanager
def busy(folder: Path, for_s: float) -> Iterator[None]:
    """Another process in the middle of a write for so long."""
    held = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(folder / "gridgate.db", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            held.set()
            time.sleep(for_s)
            connection.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        thread.join()


def test_the_gateway_obeys_and_says_so(folder: Path, typed: Callable[..., Done]) -> None:
    with listening(folder):
        out = typed("opt-out", "peak-1", "--reason", "chiller\n  down", "--by", "ann")
        again = typed("opt-out", "peak-1", "--reason", "once more", "--by", "bob")
        back = typed("opt-in", "peak-1", "--reason", "it runs", "--by", "ann", "--json")
    assert (out.code, out.err) == (0, "")
    assert out.out == "we are out of event peak-1; what is held for it alone is let go, and it is not settled\n"
    assert (again.code, again.out) == (1, "")
    assert again.err == "gridgate: refused: we are out of event peak-1 already: opted out by ann: chiller down\n"
    assert (back.code, back.json["outcome"]["done"]) == (0, True)
    assert back.json["command"]["kind"] == "opt_in"

    shown = typed("show", "peak-1").out
    assert "opt-out opted out by ann: chiller down" in shown
    assert "opt-in opted in again by ann: it runs" in shown
    assert "opt-out refused we are out of event peak-1 already" in shown


def test_a_mandatory_event_is_refused(folder: Path, typed: Callable[..., Done]) -> None:
    with listening(folder):
        text = typed("opt-out", "must-1", "--reason", "x")
        data = typed("opt-out", "must-1", "--reason", "x", "--json")
    says = "refused: program must is mandatory: its events cannot be opted out of"
    assert (text.code, text.out, text.err) == (1, "", f"gridgate: {says}\n")
    assert (data.code, data.json["error"], data.json["outcome"]["done"]) == (1, says, False)


def test_without_a_gateway_the_command_stands_and_the_exit_code_is_not_that_of_done(
    folder: Path, typed: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "carol")
    text = typed("opt-out", "peak-1", "--reason", "chiller down", "--wait", "0.5")
    assert (text.code, text.out) == (1, "")
    assert "on record and stands, but no gateway has acted on it within 0.5 s" in text.err
    assert [(one["by"], one["reason"], one["event_id"]) for one in on_record(folder)] == [
        ("carol", "chiller down", "peak-1")
    ]
    assert "opt-out asked by carol, not acted on yet" in typed("show", "peak-1").out

    with listening(folder):
        late = typed("opt-in", "peak-1", "--reason", "it runs")
    assert late.code == 0, "the gateway that came acted on the first command before the second"


def test_who_does_not_want_to_wait_is_told_that_it_is_on_record(folder: Path, typed: Callable[..., Done]) -> None:
    done = typed("opt-out", "peak-1", "--reason", "x", "--wait", "0", "--json")
    assert (done.code, done.json["outcome"]) == (0, None)
    assert [one["command_id"] for one in on_record(folder)] == [done.json["command"]["command_id"]]


def test_a_record_that_is_busy_is_tried_again_within_the_wait(folder: Path, typed: Callable[..., Done]) -> None:
    with busy(folder, for_s=1.5):
        done = typed("opt-out", "peak-1", "--reason", "x", "--wait", "3")
    assert "on record and stands" in done.err
    assert len(on_record(folder)) == 1

    with busy(folder, for_s=2.5):
        failed = typed("opt-out", "peak-1", "--reason", "x", "--wait", "0.5")
    assert (failed.code, failed.out) == (1, "")
    assert "not recorded, give it again: another process holds the database" in failed.err
    assert failed.err.count("\n") == 1
    assert len(on_record(folder)) == 1


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("nope", "--reason", "x"), 1, "no event 'nope' on record; see: gridgate event list"),
        (("peak-1", "--reason", "x", "--connection", "y"), 1, "no event 'peak-1' on record over 'y'"),
        (("twice", "--reason", "x"), 1, "event 'twice' came over market, utility: choose with --connection"),
        (("peak-1", "--reason", " \n"), 2, "--reason is empty"),
        (("peak-1", "--reason", "x\x07"), 2, "--reason is to be text"),
        (("peak-1", "--reason", "x" * 301), 2, "--reason is to be text of at most 300 characters"),
        (("peak-1", "--reason", "x", "--by", ""), 2, "--by is empty"),
        (("peak-1", "--reason", "x", "--database", "sqlite+aiosqlite:///absent.db"), 1, "there is no absent.db"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("verb", ["opt-out", "opt-in"])
def test_a_command_that_cannot_be_is_one_line_and_nothing_is_written(
    folder: Path, typed: Callable[..., Done], verb: str, words: tuple[str, ...], code: int, says: str
) -> None:
    done = typed(verb, *words, "--wait", "0")
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("gridgate: ")
    assert says in done.err
    assert done.err.count("\n") == 1
    assert on_record(folder) == []


def test_an_id_of_two_connections_is_chosen_by_the_connection(folder: Path, typed: Callable[..., Done]) -> None:
    done = typed("opt-out", "twice", "--reason", "x", "--connection", "market", "--wait", "0")
    assert done.code == 0
    assert [one["connection_id"] for one in on_record(folder)] == ["market"]


@pytest.mark.parametrize("options", [(), ("--reason", "x", "--wait", "nan"), ("--reason", "x", "--wait", "-1")])
def test_wrong_usage_writes_nothing(folder: Path, typed: Callable[..., Done], options: tuple[str, ...]) -> None:
    assert typed("opt-out", "peak-1", *options).code == 2
    assert on_record(folder) == []
