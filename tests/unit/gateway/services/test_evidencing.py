"""What is recorded is logged each minute, a head is made each day, and nobody is given one that contradicts another."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from gateway.domain.merkle import MerkleLog
from gateway.domain.tree_head import (
    HeadsContradict,
    OtherKey,
    SignedHead,
    check_chain,
    check_later,
    check_signature,
    sign,
)
from gateway.ledger import LogEntry
from gateway.services.evidencing import Evidencing, NothingLogged, StampsHeads, TakesHeads
from gateway.storage.head_folder import HeadFolder
from gateway.storage.sql_evidence import SqlEvidenceStore
from tests.unit.gateway.services.rig import SITE, Rig

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Auditor:
    """Takes heads, unless it is away."""

    name = "auditor"

    def __init__(self) -> None:
        self.heads: list[SignedHead] = []
        self.away = False

    async def last(self) -> SignedHead | None:
        return self.heads[-1] if self.heads else None

    async def take(self, head: SignedHead) -> None:
        if self.away:
            raise OSError("no route to host")
        self.heads.append(head)


class Authority:
    """Stamps heads, unless something is wrong with it."""

    def __init__(self) -> None:
        self.wrong: Exception | None = None

    async def stamp(self, head: SignedHead) -> bytes:
        if self.wrong is not None:
            raise self.wrong
        return b"stamp of " + head.head.sha256.encode()


def evidencing(rig: Rig, *takers: TakesHeads, log_id: str = "lab-1", stamps: StampsHeads | None = None) -> Evidencing:
    return Evidencing(
        store=SqlEvidenceStore(rig.ledger),
        key=KEY,
        log_id=log_id,
        zone=SITE.timezone,
        takers=takers,
        stamps=stamps,
        clock=rig.clock,
        readiness=rig.readiness,
    )


async def a_day(rig: Rig, service: Evidencing) -> None:
    """A few minutes of the service, and the rest of the day in a leap."""
    await rig.run(service, for_s=120.0)
    rig.clock._now += timedelta(days=1, seconds=-120)


async def a_line(rig: Rig, what: str) -> None:
    await rig.ledger.record_log(LogEntry(connection_id="utility", event_id="e1", at=rig.clock.now(), what=what))


async def test_a_head_is_made_of_each_day_and_the_log_only_grows(rig: Rig) -> None:
    auditor, store = Auditor(), SqlEvidenceStore(rig.ledger)
    service = evidencing(rig, auditor)
    for what in ("received", "planned", "settled"):
        await a_line(rig, what)
        await a_day(rig, service)
    heads = [one.head for one in auditor.heads]
    assert [head.day for head in heads] == ["2026-07-14", "2026-07-15", "2026-07-16"]
    assert [head.size for head in heads] == [1, 2, 3]
    check_chain(heads)
    tree = MerkleLog(await store.leaves())
    for earlier, later in pairwise(heads):
        check_later(earlier, later, tree.consistency(earlier.size, later.size))
    for signed in auditor.heads:
        check_signature(signed, auditor.heads[0].key_id)


async def test_a_day_is_closed_some_minutes_after_midnight_of_the_site(rig: Rig) -> None:
    auditor = Auditor()
    await a_line(rig, "received")
    service = evidencing(rig, auditor)
    await rig.run(service, for_s=60.0)
    # The site's midnight is at 07:00Z.
    rig.clock._now += timedelta(hours=8, minutes=15)
    await rig.run(service, for_s=1800.0)
    made_at = auditor.heads[-1].head.made_at.astimezone(SITE.timezone)
    assert (made_at.date().isoformat(), made_at.hour) == ("2026-07-16", 0)
    assert 20 <= made_at.minute <= 21


async def test_an_empty_log_has_no_head(rig: Rig) -> None:
    auditor = Auditor()
    await a_day(rig, evidencing(rig, auditor))
    assert auditor.heads == []


async def test_an_auditor_that_was_away_gets_every_head_in_order_and_keeps_nobody_waiting(rig: Rig) -> None:
    away, there = Auditor(), Auditor()
    away.away, there.name = True, "utility"
    service = evidencing(rig, away, there)
    await a_line(rig, "received")
    for _ in range(2):
        await a_day(rig, service)
    assert rig.readiness.parts()["evidence"] == "heads were not taken: auditor: no route to host"
    assert (len(there.heads), away.heads) == (2, [])
    away.away = False
    await a_day(rig, service)
    assert away.heads == there.heads
    assert len(away.heads) == 3
    assert rig.readiness.parts()["evidence"] is None


async def test_a_restart_makes_no_head_twice(rig: Rig, tmp_path: Path) -> None:
    folder = HeadFolder(tmp_path / "heads")
    await a_line(rig, "received")
    await rig.run(evidencing(rig, folder), for_s=120)
    await rig.run(evidencing(rig, folder), for_s=120)
    (head,) = await SqlEvidenceStore(rig.ledger).heads()
    assert await folder.last() == head
    assert len(list((tmp_path / "heads").iterdir())) == 1


async def test_a_log_that_does_not_fit_a_head_that_was_given_makes_no_head_and_says_so(rig: Rig) -> None:
    auditor = Auditor()
    await a_line(rig, "received")
    await rig.run(evidencing(rig, auditor), for_s=120)
    # The auditor's head is of more than this record has: a backup was restored.
    given = auditor.heads[-1].head
    auditor.heads[-1] = sign(replace(given, size=given.size + 5), KEY)
    service = evidencing(rig, auditor)
    for _ in range(2):
        await a_day(rig, service)
    assert len(auditor.heads) == 1
    fault = rig.readiness.parts()["evidence"]
    assert fault is not None
    assert "which this log of 1 does not fit: a backup was restored or rows were changed" in fault
    # Logging goes on all the same, and under another name so do heads.
    await a_line(rig, "planned")
    await rig.run(evidencing(rig, auditor, log_id="lab-1 after restore"), for_s=120)
    assert [one.head.log_id for one in auditor.heads] == ["lab-1", "lab-1 after restore"]
    assert auditor.heads[-1].head.size == 2


async def test_a_late_reading_is_in_the_head_of_its_day(rig: Rig) -> None:
    store = SqlEvidenceStore(rig.ledger)
    auditor = Auditor()
    await rig.run(rig.metering(), for_s=30)
    service = evidencing(rig, auditor)
    rig.clock._now += timedelta(hours=2)
    await rig.run(service, for_s=60.0)
    (reading, *_) = [one for one in rig.ledger.latest_readings().values() if one.meter_id == SITE.meter_id]
    rig.ledger.publish([replace(reading, measured_at=reading.measured_at - timedelta(minutes=2))])
    await rig.ledger.flush()
    for _ in range(2):
        await a_day(rig, service)
    key = f"{reading.measured_at:%Y-%m-%dT%H}:00:00Z/{SITE.meter_id}"
    assert len(await store.find("reading", key)) == 2
    assert not await store.mismatches()


async def test_a_head_on_demand_is_over_everything_and_given_to_everybody(rig: Rig, tmp_path: Path) -> None:
    store, folder, auditor = SqlEvidenceStore(rig.ledger), HeadFolder(tmp_path / "heads"), Auditor()
    service = evidencing(rig, folder, auditor, stamps=Authority())
    with pytest.raises(NothingLogged, match="nothing is on record yet"):
        await service.head_now()
    await a_line(rig, "received")
    await rig.run(rig.metering(), for_s=30)
    found = await service.head_now()
    # The hour that runs is in it, too.
    assert {one.kind for one in await store.entries(0, found.head.head.size)} >= {"event_log", "reading"}
    assert (found.made, found.head.head.size, found.head.head.day) == (True, await store.size(), "")
    await service.deliver()
    assert await folder.last() == found.head
    assert auditor.heads == [found.head]
    assert await store.unstamped() == ()
    again = await service.head_now()
    assert (again.made, again.head) == (False, found.head)
    await a_line(rig, "planned")
    later = await service.head_now()
    check_chain([found.head.head, later.head.head])


async def test_a_head_on_demand_changes_nothing_about_the_heads_of_days(rig: Rig) -> None:
    store, auditor = SqlEvidenceStore(rig.ledger), Auditor()
    service = evidencing(rig, auditor)
    await a_line(rig, "received")
    for _ in range(2):
        await a_day(rig, service)
        await a_line(rig, "planned")
        await service.head_now()
        await rig.run(service, for_s=120.0)
    assert [one.head.day for one in await store.heads()] == ["2026-07-14", "", "2026-07-15", "", "2026-07-16"]
    check_chain([one.head for one in auditor.heads])
    assert rig.readiness.parts()["evidence"] is None


async def test_of_two_at_once_heads_follow_each_other(rig: Rig) -> None:
    store = SqlEvidenceStore(rig.ledger)
    ours, theirs = evidencing(rig), evidencing(rig)
    for turn in range(4):
        await a_line(rig, f"line {turn}")
        for service in (ours, theirs):
            await a_line(rig, f"line {turn} for {id(service)}")
            assert (await service.head_now()).made
    heads = [one.head for one in await store.heads()]
    assert len(heads) == 8
    check_chain(heads)


async def test_a_head_that_another_process_was_first_with_is_made_anew_after_it(rig: Rig) -> None:
    store = SqlEvidenceStore(rig.ledger)
    await a_line(rig, "received")

    class Late(SqlEvidenceStore):
        """Somebody else makes a head between our look at the heads and ours."""

        once = True

        async def leaves(self, first: int = 0) -> tuple[bytes, ...]:
            if self.once:
                self.once = False
                rig.clock._now += timedelta(seconds=1)
                await evidencing(rig).head_now()
                await a_line(rig, "planned")
            return await super().leaves(first)

    service = evidencing(rig)
    service._store = Late(rig.ledger)
    found = await service.head_now()
    heads = await store.heads()
    assert heads[-1] == found.head
    assert [one.head.size for one in heads] == [1, 2]
    check_chain([one.head for one in heads])


async def test_a_clock_that_was_set_back_puts_no_head_before_another(rig: Rig) -> None:
    store = SqlEvidenceStore(rig.ledger)
    service = evidencing(rig)
    for back in (timedelta(), timedelta(hours=3)):
        await a_line(rig, f"back by {back}")
        rig.clock._now -= back
        await service.head_now()
    first, second = [one.head for one in await store.heads()]
    assert second.made_at > first.made_at
    check_chain([first, second])


async def test_no_head_is_signed_by_another_key_or_over_a_log_that_was_changed(rig: Rig) -> None:
    store = SqlEvidenceStore(rig.ledger)
    await a_line(rig, "received")
    await evidencing(rig).head_now()
    await a_line(rig, "planned")
    other = evidencing(rig)
    other._key = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    with pytest.raises(OtherKey, match="make the head where the gateway keeps its key"):
        await other.head_now()
    async with rig.ledger.database.write() as connection:
        await connection.execute(text("DROP TRIGGER evidence_entry_no_update"))
        await connection.execute(text("UPDATE evidence_entry SET leaf = printf('%064d', 0) WHERE number = 0"))
    with pytest.raises(HeadsContradict, match="is not of this log: rows were changed"):
        await evidencing(rig).head_now()
    assert len(await store.heads()) == 1


async def test_every_head_is_stamped_once_its_authority_answers(rig: Rig) -> None:
    store, authority, auditor = SqlEvidenceStore(rig.ledger), Authority(), Auditor()
    service = evidencing(rig, auditor, stamps=authority)
    await a_line(rig, "received")
    for wrong, said in (
        (ConnectionError("no authority answers"), "no authority answers"),
        (ValueError("another nonce"), "the time-stamp authority's answer proves nothing: another nonce"),
    ):
        authority.wrong = wrong
        await a_day(rig, service)
        assert rig.readiness.parts()["evidence"] == said
    # Heads are handed out all the same.
    assert len(auditor.heads) == 2
    authority.wrong = None
    await a_day(rig, service)
    assert await store.unstamped() == ()
    for head in await store.heads():
        assert await store.stamp(head.head.sha256) == b"stamp of " + head.head.sha256.encode()
    assert rig.readiness.parts()["evidence"] is None
