"""``gridgate vtn event`` at the terminal, a gateway's issuing service, and a VEN of ours that hears of it."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import app
from gateway.__main__ import main
from gateway.clock import SystemClock
from gateway.services.issuing import Issuing
from gateway.services.readiness import Readiness
from protocols.grid import EventStatus, GridEvent

CREATE = ("create", "--connection", "below", "--program", "peak", "--id", "e1", "--signal", "level", "--value", "2")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite+aiosqlite:///{tmp_path}/gridgate.db"
    asyncio.run(app.upgrade_database(url))
    monkeypatch.setenv("GRIDGATE_GATEWAY__DATABASE", url)
    return url


@pytest.fixture
def typed(url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    def typed(*words: str) -> Done:
        monkeypatch.setattr("sys.argv", ["gridgate", "vtn", "event", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        assert "internal error" not in captured.err
        return Done(code=ended.value.code, out=captured.out, err=captured.err)

    return typed


@contextmanager
def issuing(url: str) -> Iterator[None]:
    """A gateway's issuing service over a VTN of ours, in a thread with a record of its own."""
    ending = threading.Event()

    async def serve() -> None:
        async with app.open_record(url, migrate=False) as record:
            clock = SystemClock()
            vtn = app.built_in_vtn("below", record.parties, clock)
            service = Issuing(programs={"below": vtn}, ledger=record.ledger, clock=clock, readiness=Readiness())
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


def offered(url: str) -> list[GridEvent]:
    """What a VTN over this record would offer."""

    async def asked() -> list[GridEvent]:
        async with app.open_record(url, migrate=False) as record:
            return list(await app.built_in_vtn("below", record.parties, SystemClock()).events())

    return asyncio.run(asked())


def test_an_event_is_created_changed_and_cancelled(url: str, typed: Callable[..., Done]) -> None:
    with issuing(url):
        created = typed(*CREATE, "--duration", "30m", "--starts", "+1h", "--by", "ann")
        changed = typed("change", "e1", "--connection", "below", "--duration", "15m", "--json")
        again = typed("change", "e1", "--connection", "below", "--duration", "15m")
        cancelled = typed("cancel", "e1", "--connection", "below")
    assert (created.code, created.out, created.err) == (0, "event e1 is offered to all parties\n", "")
    assert (changed.code, changed.json["outcome"]["detail"]) == (0, "event e1 is changed: revision 1")
    assert (again.code, again.out) == (0, "event e1 is so already\n")
    assert (cancelled.code, cancelled.out) == (0, "event e1 is cancelled\n")
    (event,) = offered(url)
    assert (event.revision, event.status, event.duration_s) == (2, EventStatus.CANCELLED, 900.0)


def test_a_command_on_record_is_acted_on_when_a_gateway_runs_and_once(url: str, typed: Callable[..., Done]) -> None:
    waits = typed(*CREATE, "--duration", "30m", "--wait", "0")
    alone = typed("cancel", "e1", "--connection", "below", "--wait", "0.3")
    assert (waits.code, waits.out) == (0, "on record: a gateway acts on it as soon as it runs\n")
    assert alone.code == 1
    assert "no gateway has acted on it within 0.3 s: is it running, and has it a VTN called 'below'?" in alone.err
    with issuing(url):
        over = typed("change", "e1", "--connection", "below", "--duration", "1h")
    assert (over.code, over.err) == (1, "gridgate: refused: event e1 is cancelled: create another\n")


def test_what_cannot_be_is_refused_and_changes_nothing(url: str, typed: Callable[..., Done]) -> None:
    with issuing(url):
        nobody = typed("cancel", "e9", "--connection", "below")
        elsewhere = typed("cancel", "e9", "--connection", "above")
        endless = typed(*CREATE, "--duration", "0s")
        typed(*CREATE, "--duration", "30m")
        twice = typed(*CREATE[:-1], "3", "--duration", "30m")
    bad = typed(*CREATE, "--duration", "soon")
    assert (nobody.code, nobody.err) == (1, "gridgate: refused: no event 'e9' was issued by below\n")
    assert "this gateway has no VTN called 'above'" in elsewhere.err
    assert "a duration is over 0" in endless.err
    assert "event 'e1' is there already" in twice.err
    assert (bad.code, "no length of time" in bad.err) == (2, True)
    (event,) = offered(url)
    assert (event.revision, event.signals[0].intervals[0].value) == (0, 2.0)
    assert event.starts_at <= datetime.now(UTC)
