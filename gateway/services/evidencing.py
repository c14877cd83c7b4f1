"""Evidencing: the record is logged by its fingerprints, and each day a signed head goes to those who rely on it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.clock import Clock
from gateway.domain.baseline.days import midnight
from gateway.domain.merkle import MerkleLog
from gateway.domain.tree_head import FORMAT, HeadsContradict, OtherKey, SignedHead, TreeHead, key_id_of, sign
from gateway.evidence_store import EvidenceStore
from gateway.ledger import LedgerUnavailable
from gateway.services.readiness import EXPECTED_FAULTS, Readiness

log = structlog.get_logger()

PART = "evidence"

LOOK_S = 60.0

CLOSES_AFTER = timedelta(minutes=20)
"""So long after its end a day's head is made: by then its last hour of readings is logged."""

_TRIES = 20
_AGAIN_AFTER = timedelta(seconds=0.25)
"""Where another process writes just then, a head on demand is tried again so often and so far apart."""


class NothingLogged(ValueError):
    """There is no head over nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadNow:
    """The last head, which is over everything on record; ``made`` says whether it had to be made."""

    head: SignedHead
    made: bool


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
    """Logs each minute and makes a head each day, by the site's own calendar, or one at once on demand.

    Several processes may do so at the same time: the store lets one entry and one head follow another.

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

    @property
    def takers(self) -> tuple[str, ...]:
        """The names of those whom heads are given to."""
        return tuple(taker.name for taker in self._takers)

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
            await self.deliver()
        except (*EXPECTED_FAULTS, HeadsContradict) as fault:
            self._readiness.faulty(PART, str(fault) or type(fault).__name__)
        else:
            self._readiness.well(PART)

    async def _log(self, stop: asyncio.Event) -> None:
        # At a stop one round must do: what is left is logged after the next start.
        while await self._store.log_new(self._clock.now()) and not stop.is_set():
            pass

    async def head_now(self) -> HeadNow:
        """Log everything that is on record, hours that are not over too, and sign a head over it.

        Where the last head is over all of it already, that one stands. ``deliver`` gives it to who takes heads.

        Raises ``NothingLogged``, ``HeadsContradict``, ``OtherKey`` where another key has signed the last head,
        ``LedgerUnavailable``, and ``OSError`` where it cannot be seen which heads were given.
        """
        for left in range(_TRIES, 0, -1):
            try:
                found = await self._try_head_now()
            except LedgerUnavailable:
                if left == 1:
                    raise
                found = None
            if found is not None:
                return found
            await self._clock.wait(self._clock.now() + _AGAIN_AFTER)
        raise LedgerUnavailable("another process makes heads all the time")

    async def deliver(self) -> None:
        """Give every taker the heads that it has not got, and have them stamped. Raises ``OSError`` where one fails."""
        faults: list[str] = []
        for step in (self._hand_out, self._have_stamped):
            try:
                await step()
            except OSError as fault:
                faults.append(str(fault) or type(fault).__name__)
        if faults:
            raise OSError("; ".join(faults))

    async def _try_head_now(self) -> HeadNow | None:
        """``None`` where another process made a head meanwhile."""
        now = self._clock.now()
        while await self._store.log_new(now):
            pass
        # What the service would log with the head of the day: as it is now, and once more when the day is over.
        await self._store.log_late(midnight(_open_day(now, self._zone), self._zone), now, now)
        await self._check_given()
        heads = await self._heads()
        ours = key_id_of(self._key.public_key().public_bytes_raw())
        if heads and heads[-1].key_id != ours:
            raise OtherKey(
                f"the key here is {ours}, and the last head was signed by {heads[-1].key_id}: make the head where the "
                "gateway keeps its key (state_dir)"
            )
        size = await self._store.size()
        if not size:
            raise NothingLogged("nothing is on record yet that a head could be over")
        if heads and heads[-1].head.size == size:
            return HeadNow(head=heads[-1], made=False)
        made = await self._make("", heads, now)
        return None if made is None else HeadNow(head=made, made=True)

    async def _close_days(self, now: datetime) -> None:
        """Make the head of the last day that is over, unless there is one."""
        day = _open_day(now, self._zone) - timedelta(days=1)
        heads = await self._heads()
        if max((one.head.day for one in heads), default="") >= day.isoformat():
            return
        if not heads and not await self._store.size():
            return
        start, end = midnight(day, self._zone), midnight(day + timedelta(days=1), self._zone)
        await self._store.log_late(start, end, now)
        made = await self._make(day.isoformat(), heads, now)
        if made is not None:
            log.info("head_made", day=made.head.day, size=made.head.size, root=made.head.root_sha256)

    async def _make(self, day: str, before: Sequence[SignedHead], now: datetime) -> SignedHead | None:
        """The head after those ``before``, kept; ``None`` where another process made one meanwhile."""
        last = before[-1].head if before else None
        tree = await self._whole_tree()
        if last is not None and not _fits(tree, last):
            raise HeadsContradict(
                f"the head of {last.made_at:%Y-%m-%d %H:%M}Z is not of this log: rows were changed. No head is made. "
                "See `gridgate evidence check`"
            )
        head = TreeHead(
            format=FORMAT,
            log_id=self._log_id,
            size=len(tree),
            root_sha256=tree.root().hex(),
            # Later than the one before, wherever the clock was set meanwhile: heads are told apart by it.
            made_at=now if last is None else max(now, last.made_at + timedelta(microseconds=1)),
            day=day,
            previous_sha256="" if last is None else last.sha256,
        )
        signed = sign(head, self._key)
        return signed if await self._store.record_head(signed) else None

    async def _heads(self) -> tuple[SignedHead, ...]:
        """The heads of this log, in the order in which they were made."""
        return tuple(one for one in await self._store.heads() if one.head.log_id == self._log_id)

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
                if not _fits(tree, head):
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
        heads = await self._heads()
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


def _open_day(now: datetime, zone: tzinfo) -> date:
    """The first local day that has no head of its own yet, where none is behind."""
    return (now - CLOSES_AFTER).astimezone(zone).date()


def _fits(tree: MerkleLog, head: TreeHead) -> bool:
    return head.size <= len(tree) and tree.root(head.size).hex() == head.root_sha256


def _after(heads: Sequence[SignedHead], given: str | None) -> Sequence[SignedHead]:
    """The heads after the one that was given; all of them where it is not known which."""
    names = [head.head.sha256 for head in heads]
    return heads[names.index(given) + 1 :] if given in names else heads
