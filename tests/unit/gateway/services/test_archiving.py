"""Days that are over go into the archive once, and once more where a statement about them has changed."""

import asyncio
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

from gateway.archive import ArchiveUnavailable
from gateway.domain.closed_day import ClosedDay, DayManifest
from gateway.services.archiving import LOOKED_BACK, Archiving
from gateway.storage.closed_days import ClosedDays
from tests.unit.gateway.services.rig import SITE, Rig

WEDNESDAY = date(2026, 7, 15)
"""The site's own day: in UTC the event of these tests is on the same, the end of their day on the next."""


class Watched(ClosedDays):
    """An archive that counts what it is asked to write, and can be out of reach."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[date] = []
        self.away = False

    def write(self, day: ClosedDay, at: datetime) -> DayManifest:
        if self.away:
            raise ArchiveUnavailable("the disk is full")
        self.asked.append(day.day)
        return super().write(day, at)


def archiving(rig: Rig, archive: ClosedDays) -> Archiving:
    return Archiving(
        archive=archive, site=SITE, ledger=rig.ledger, clock=rig.clock, readiness=rig.readiness, open_days=2
    )


async def settled(rig: Rig) -> None:
    await rig.take(rig.event(in_s=120, lasts_s=90))
    await rig.run(rig.metering(), rig.settling(), for_s=280)


async def days_later(rig: Rig, service: Archiving, days: int, for_s: float = 30.0) -> None:
    rig.clock._now += timedelta(days=days)
    await rig.run(service, for_s=for_s)


async def test_a_day_is_written_when_it_has_been_over_for_long_enough(rig: Rig, tmp_path: Path) -> None:
    await settled(rig)
    archive = Watched(tmp_path / "closed")
    await days_later(rig, archiving(rig, archive), 2)
    assert archive.manifests() == ()
    await days_later(rig, archiving(rig, archive), 1)
    (manifest,) = archive.manifests()
    assert (manifest.day, manifest.version, manifest.timezone) == ("2026-07-15", 1, "America/Phoenix")
    (total,) = archive.totals(WEDNESDAY, WEDNESDAY)
    (statement,) = await rig.ledger.statements()
    assert (total.statement_id, total.stated_kwh, total.agrees) == (
        statement.statement_id,
        statement.delivered_kwh,
        True,
    )


async def test_the_service_waits_for_the_day_to_close(rig: Rig, tmp_path: Path) -> None:
    await settled(rig)
    archive = Watched(tmp_path / "closed")
    await rig.run(archiving(rig, archive), for_s=timedelta(days=4).total_seconds())
    assert archive.asked == [WEDNESDAY]


async def test_a_new_statement_makes_a_new_version_of_its_day(rig: Rig, tmp_path: Path) -> None:
    await settled(rig)
    archive = Watched(tmp_path / "closed")
    rig.clock._now += timedelta(days=3)
    (statement,) = await rig.ledger.statements()

    async def correct() -> None:
        corrected = replace(statement, statement_id=f"{statement.statement_id}-v2", issued_at=rig.clock.now())
        await rig.ledger.record_statement(corrected)

    await rig.run(archiving(rig, archive), for_s=60, script={20: correct})
    assert [manifest.version for manifest in archive.manifests()] == [2]
    assert archive.asked == [WEDNESDAY, WEDNESDAY]
    assert not archive.check()


async def test_an_archive_out_of_reach_is_told_and_tried_again(rig: Rig, tmp_path: Path) -> None:
    await settled(rig)
    archive = Watched(tmp_path / "closed")
    archive.away = True
    rig.clock._now += timedelta(days=3)
    said: list[str | None] = []

    def back() -> None:
        said.append(rig.readiness.parts()["archive"])
        archive.away = False

    await rig.run(archiving(rig, archive), for_s=120, script={20: back})
    assert said == ["the disk is full"]
    assert rig.readiness.parts()["archive"] is None
    assert len(archive.manifests()) == 1


async def test_days_of_which_nothing_is_known_are_no_files(rig: Rig, tmp_path: Path) -> None:
    archive = Watched(tmp_path / "closed")
    await rig.run(archiving(rig, archive), for_s=30)
    assert archive.asked == []
    assert not (tmp_path / "closed").exists()


async def test_days_older_than_what_is_caught_up_on_are_left_to_the_command(rig: Rig, tmp_path: Path) -> None:
    await settled(rig)
    archive = Watched(tmp_path / "closed")
    await days_later(rig, archiving(rig, archive), LOOKED_BACK + 3)
    assert archive.asked == []


async def test_a_stop_is_heeded_between_days(rig: Rig, tmp_path: Path) -> None:
    await settled(rig)
    stop = asyncio.Event()
    stop.set()
    archive = Watched(tmp_path / "closed")
    rig.clock._now += timedelta(days=3)
    await archiving(rig, archive)._write_due(rig.clock.now(), stop)
    assert archive.asked == []
