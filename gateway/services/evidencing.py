"""Evidencing: the record is logged by its fingerprints, and each day a signed head goes to those who rely on it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta, tzinfo
from typing import Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.clock import Clock
from gateway.domain.baseline.days import midnight
from gateway.domain.merkle import MerkleLog
from gateway.domain.tree_head import FORMAT, HeadsContradict, SignedHead, TreeHead, sign
from gateway.evidence_store import EvidenceStore
from gateway.services.readiness import EXPECTED_FAULTS, Readiness

log = structlog.get_logger()

PART = "evidence"

LOOK_S = 60.0

CLOSES_AFTER = timedelta(minutes=20)
"""So long after its end a day's head is made: by then its last hour of readings is logged."""


class TakesHeads(Protocol):
    """Somebody whom heads are given to: a folder, a counterparty's address."""

    @property
    def name(self) -> str: ...

    async def last(self) -> SignedHead | None:
        """The last head that was given, as far as that is known there. May raise ``OSError``."""

    async def take(self, head: SignedHead) -> None:
        """Give a head; one given again is as good as one given once. Raises ``OSError`` where it was not taken."""


class StampsHeads(Protocol):
    """An authority that says when a head was there."""

    async def stamp(self, head: SignedHead) -> bytes:
        """Its answer, checked. Raises ``OSError`` without one, ``ValueError`` for one that proves nothing."""


class Evidencing:
    """Logs each minute and makes a head each day, by the site's own calendar.

    Where somebody has a head that this log does not fit (a backup was restored, rows were changed), no head is made any
    more and readiness says so: to go on under the same name would be to rewrite what others rely on.
    """

    def __init__(
        self,
        *,
        store: EvidenceStore,
        key: Ed25519PrivateKey,
        log_id: str,
        zone: tzinfo,
        takers: Sequence[TakesHeads],
        stamps: StampsHeads | None = None,
        clock: Clock,
        readiness: Readiness,
    ) -> None:
        self._store = store
        self._key = key
        self._log_id = log_id
        self._zone = zone
        self._takers = tuple(takers)
        self._stamps = stamps
        self._clock = clock
        self._readiness = readiness
        self._tree = MerkleLog()
        self._checked: set[str] = set()
        self._given: dict[str, str] = {}
        readiness.expect(PART)

    async def run(self, stop: asyncio.Event) -> None:
        """Log, and make and hand out heads, until told to stop; what is new is logged once more at the end."""
        while not stop.is_set():
            await self._turn(stop)
            await self._clock.wait(self._clock.now() + timedelta(seconds=LOOK_S), stop)
        with suppress(*EXPECTED_FAULTS):
            await self._log(stop)

    async def _turn(self, stop: asyncio.Event) -> None:
        try:
            await self._log(stop)
            await self._check_given()
            await self._close_days(self._clock.now())
            await self._hand_out()
            await self._have_stamped()
        except (*EXPECTED_FAULTS, HeadsContradict) as fault:
            self._readiness.faulty(PART, str(fault) or type(fault).__name__)
        else:
            self._readiness.well(PART)

    async def _log(self, stop: asyncio.Event) -> None:
        # At a stop one round must do: what is left is logged after the next start.
        while await self._store.log_new(self._clock.now()) and not stop.is_set():
            pass

    async def _close_days(self, now: datetime) -> None:
        """Make the head of the last day that is over, unless there is one."""
        day = (now - CLOSES_AFTER).astimezone(self._zone).date() - timedelta(days=1)
        last = await self._last_head()
        if last is not None and (last.day or "") >= day.isoformat():
            return
        if last is None and not await self._store.size():
            return
        await self._make(day, last, now)

    async def _make(self, day: date, last: TreeHead | None, now: datetime) -> None:
        start, end = midnight(day, self._zone), midnight(day + timedelta(days=1), self._zone)
        await self._store.log_late(start, end, now)
        tree = await self._whole_tree()
        head = TreeHead(
            format=FORMAT,
            log_id=self._log_id,
            size=len(tree),
            root_sha256=tree.root().hex(),
            made_at=now,
            day=day.isoformat(),
            previous_sha256="" if last is None else last.sha256,
        )
        await self._store.record_head(sign(head, self._key))
        log.info("head_made", day=head.day, size=head.size, root=head.root_sha256)

    async def _last_head(self) -> TreeHead | None:
        heads = [one.head for one in await self._store.heads() if one.head.log_id == self._log_id]
        return heads[-1] if heads else None

    async def _whole_tree(self) -> MerkleLog:
        """The tree over everything logged; kept, so that each entry is put in once."""
        leaves = await self._store.leaves(len(self._tree))

        def grow() -> None:
            for leaf in leaves:
                self._tree.append(leaf)

        await asyncio.to_thread(grow)
        return self._tree

    async def _check_given(self) -> None:
        """Hold the log against the last head that each taker has, once. Raises ``HeadsContradict``."""
        for taker in self._takers:
            if taker.name in self._checked:
                continue
            given = await taker.last()
            if given is not None and given.head.log_id == self._log_id:
                tree = await self._whole_tree()
                head = given.head
                if len(tree) < head.size or tree.root(head.size).hex() != head.root_sha256:
                    raise HeadsContradict(
                        f"{taker.name} has a head of {head.made_at:%Y-%m-%d %H:%M}Z over {head.size} entries, which "
                        f"this log of {len(tree)} does not fit: a backup was restored or rows were changed. No head is "
                        "made. See `gridgate evidence check`; to go on, give the log another [evidence] log_id"
                    )
                self._given[taker.name] = head.sha256
            self._checked.add(taker.name)

    async def _have_stamped(self) -> None:
        """Have an authority stamp the heads that it has not stamped yet, the oldest first."""
        if self._stamps is None:
            return
        for head in await self._store.unstamped():
            if head.head.log_id != self._log_id:
                continue
            try:
                response = await self._stamps.stamp(head)
            except ValueError as fault:
                raise OSError(f"the time-stamp authority's answer proves nothing: {fault}") from fault
            await self._store.record_stamp(head.head.sha256, response, self._clock.now())
            log.info("head_stamped", day=head.head.day, size=head.head.size)

    async def _hand_out(self) -> None:
        """Give every taker the heads that it has not got. One that is away keeps nobody else waiting."""
        heads = [one for one in await self._store.heads() if one.head.log_id == self._log_id]
        failed: list[str] = []
        for taker in self._takers:
            for head in _after(heads, self._given.get(taker.name)):
                try:
                    await taker.take(head)
                except OSError as fault:
                    failed.append(f"{taker.name}: {fault}")
                    break
                self._given[taker.name] = head.head.sha256
        if failed:
            raise OSError(f"heads were not taken: {'; '.join(failed)}")


def _after(heads: Sequence[SignedHead], given: str | None) -> Sequence[SignedHead]:
    """The heads after the one that was given; all of them where it is not known which."""
    names = [head.head.sha256 for head in heads]
    return heads[names.index(given) + 1 :] if given in names else heads
