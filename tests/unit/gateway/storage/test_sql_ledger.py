from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.ledger import CapOutcome, Topic
from gateway.storage import metering_rows
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from hardware.device import PowerReading

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqlLedger]:
    async with open_ledger(f"sqlite+aiosqlite:///{tmp_path / 'ledger.db'}", migrate=True) as one:
        yield one


@pytest.mark.parametrize("question", ["readings", "outcomes"])
async def test_what_a_flush_stores_in_the_middle_of_a_question_is_not_missed(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    asked = getattr(metering_rows, question)

    async def ask_then_flush(*arguments):
        answer = await asked(*arguments)
        await ledger.flush()
        return answer

    monkeypatch.setattr(metering_rows, question, ask_then_flush)
    ledger.publish([PowerReading(meter_id="site", power_w=1.0, measured_at=NOON)])
    ledger.note_outcomes([CapOutcome(at=NOON, device_id="g", requested_w=1.0, applied_w=1.0, outcome="applied")])

    readings = await ledger.readings_between("site", NOON, NOON + HOUR)
    outcomes = await ledger.outcomes_between(NOON, NOON + HOUR)

    assert (len(readings), len(outcomes)) == (1, 1)


async def test_a_subscriber_that_went_away_is_forgotten(ledger: SqlLedger) -> None:
    kept = ledger.subscribe(Topic.READINGS)
    gone = ledger.subscribe(Topic.READINGS)
    del gone

    ledger.publish([PowerReading(meter_id="site", power_w=1.0, measured_at=NOON)])

    assert kept.is_set()
    assert len(ledger._subscribers[Topic.READINGS]) == 1


async def test_what_readers_are_given_does_not_change_under_them(ledger: SqlLedger) -> None:
    latest = ledger.latest_readings()

    ledger.publish([PowerReading(meter_id="site", power_w=1.0, measured_at=NOON)])

    assert latest == {}
