"""The replay window: a signed message counts once, and only while it is fresh.

A sender stamps what it signs with the time and a nonce. A stamp older or further ahead than the window is refused;
within it each stamp is remembered, and the second message with the same one is refused too. The window bounds what must
be remembered, and may be wide: how far apart two clocks may be is a question of operation, not of security.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from protocols.errors import NotAuthentic, OutOfTime, Replayed

PAST_S = 300.0
FUTURE_S = 60.0
"""What WS-Security stacks take for fresh, too: five minutes of age, a minute ahead."""

MOST_PER_SIGNER = 10_000
"""Signed messages of one sender within a window: more than 27 a second over six minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What makes a signed message this one: who signed it (a certificate's fingerprint), when, and a nonce."""

    signer: str
    signed_at: datetime
    nonce: str


class NonceStore(Protocol):
    """The stamps that were admitted. What it says is durable when it returns: a replay survives a restart."""

    async def remember(self, stamp: Stamp, *, now: datetime, until: datetime) -> bool:
        """Keep a stamp; false where it is kept already. Of two calls at once with the same stamp, one is false.

        After ``until`` it may be forgotten. Raises ``NotAuthentic`` where there is no room for one more.
        """


class ReplayWindow:
    """How old (``past_s``) and how far ahead of our clock (``future_s``) a stamp may be, and that it counts once."""

    def __init__(self, store: NonceStore, *, past_s: float = PAST_S, future_s: float = FUTURE_S) -> None:
        if not (past_s > 0 and future_s >= 0):
            raise ValueError(f"a replay window from -{past_s} s to {future_s} s has no room for a message")
        self._store = store
        self._past_s = past_s
        self._future_s = future_s

    def check(self, stamp: Stamp, now: datetime) -> None:
        """Raise ``OutOfTime`` for a stamp outside the window."""
        ahead_s = (stamp.signed_at - now).total_seconds()
        if -self._past_s <= ahead_s <= self._future_s:
            return
        signed_at = stamp.signed_at.astimezone(UTC).isoformat(timespec="milliseconds")
        if ahead_s > 0:
            raise OutOfTime(
                f"signed at {signed_at}, {ahead_s:.1f} s ahead of our clock, of which {self._future_s:g} s are "
                "accepted: set the sender's clock or ours right",
                signer=stamp.signer,
                ahead_s=ahead_s,
            )
        raise OutOfTime(
            f"signed at {signed_at}, {-ahead_s:.1f} s ago by our clock, of which {self._past_s:g} s are accepted: "
            "set the sender's clock or ours right, or have the message signed anew",
            signer=stamp.signer,
            ahead_s=ahead_s,
        )

    async def admit(self, stamp: Stamp, now: datetime) -> None:
        """Take a stamp, once. Raises ``OutOfTime`` and ``Replayed``."""
        self.check(stamp, now)
        # As long as the stamp can pass the check, and as much longer as our clock may be set back meanwhile.
        until = stamp.signed_at + timedelta(seconds=2 * self._past_s + self._future_s)
        if not await self._store.remember(stamp, now=now, until=until):
            raise Replayed(
                f"nonce {stamp.nonce!r} of {stamp.signer} was taken before: a message that is sent again must be "
                "signed anew",
                signer=stamp.signer,
            )


class MemoryNonces:
    """A ``NonceStore`` for one process and its lifetime: a restart opens the window once more."""

    def __init__(self, most_per_signer: int = MOST_PER_SIGNER) -> None:
        self._most_per_signer = most_per_signer
        self._until: dict[Stamp, datetime] = {}
        self._count: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._until)

    async def remember(self, stamp: Stamp, *, now: datetime, until: datetime) -> bool:
        self._forget(now)
        if stamp in self._until:
            return False
        # By signer, so that one who sends too much shuts out nobody else.
        if self._count[stamp.signer] >= self._most_per_signer:
            raise NotAuthentic(
                f"{self._most_per_signer} signed messages of {stamp.signer} within the replay window, more than are "
                "remembered",
                signer=stamp.signer,
            )
        self._until[stamp] = until
        self._count[stamp.signer] += 1
        return True

    def _forget(self, now: datetime) -> None:
        """Drop what is over, oldest first: what came later ends later, but for the width of the window."""
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] >= now:
                return
            del self._until[oldest]
            self._count[oldest.signer] -= 1
            if not self._count[oldest.signer]:
                del self._count[oldest.signer]
