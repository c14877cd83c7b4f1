"""The rules of a lease, for caps and pauses alike: epoch, sequence, expiry. Pure; time is a plain argument.

All times are seconds of the agent's boot-time clock, which neither steps nor stands still in sleep.
"""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from hardware.device import Lease, OnExpiry

LONGEST_S = 86_400.0
"""A lease over a day is as good as none, and refused."""

HIGHEST_NUMBER = 2**63 - 1
"""Of an epoch or a sequence: what every language on the way can hold."""


def malformed(lease: Lease) -> str | None:
    """Why this can be no lease at all, ``None`` where it can."""
    # Written so that no comparison holds for a duration that is not a number.
    if not 0.0 < lease.duration_s <= LONGEST_S:
        return f"a lease lasts over 0 and up to {LONGEST_S:.0f} s, not {lease.duration_s}"
    if not (0 <= lease.epoch <= HIGHEST_NUMBER and 0 <= lease.sequence <= HIGHEST_NUMBER):
        return "epoch and sequence are from 0 to 2^63 - 1"
    return None


def highest_epoch(known: int, leases: Iterable[Lease]) -> int:
    """The highest epoch heard of, with these leases counted where they are well formed."""
    return max([known, *(lease.epoch for lease in leases if lease.epoch > known and malformed(lease) is None)])


class KeptLease(NamedTuple):
    """A lease that runs (or whose cap is held over), as one process hands it to the next. All times on the boot clock.

    ``since_s`` is when its first lease began, ``None`` where that does not matter.
    """

    expires_s: float
    hold: bool
    epoch: int
    sequence: int
    since_s: float | None = None


class Kept(NamedTuple):
    """All leases that one process hands to the next, by device and by job (or node)."""

    limits: Mapping[str, KeptLease] = MappingProxyType({})
    jobs: Mapping[str, KeptLease] = MappingProxyType({})


class LeaseTable:
    """Which keys (devices, or jobs) are under a lease, until when, and what was heard of each.

    What was heard outlives the lease, so that a command that comes late or again after the end does not act anew.
    """

    def __init__(self) -> None:
        self._expires_s: dict[str, float] = {}
        self._holding: set[str] = set()
        self._told: set[str] = set()
        self._heard: dict[str, tuple[int, int]] = {}

    def refusal(self, key: str, lease: Lease, *, epoch: int, received_s: float, now_s: float) -> str | None:
        """Why the command may not act, ``None`` where it may (or is a repetition). ``epoch`` is the highest heard."""
        fault = malformed(lease)
        if fault is not None:
            return fault
        if lease.epoch < epoch:
            return f"epoch {lease.epoch} is over: a gateway of epoch {epoch} has spoken"
        heard = self._heard.get(key)
        if heard is not None and (lease.epoch, lease.sequence) < heard:
            return f"stale: sequence {lease.sequence} comes after {heard[1]}"
        if received_s + lease.duration_s <= now_s and heard != (lease.epoch, lease.sequence):
            return "its lease had ended before it could be acted on"
        return None

    def repeats(self, key: str, lease: Lease) -> bool:
        """Whether this very command was heard already."""
        heard = self._heard.get(key)
        return heard is not None and heard[1] == lease.sequence and heard[0] == lease.epoch

    def hear(self, key: str, lease: Lease) -> None:
        """Remember the command as heard, whatever becomes of it."""
        self._heard[key] = (lease.epoch, lease.sequence)

    def is_late(self, key: str, epoch: int, sequence: int) -> bool:
        """Whether a later command was heard already."""
        return self._heard.get(key, (0, 0)) > (epoch, sequence)

    def hear_end(self, key: str, epoch: int, sequence: int) -> None:
        """Remember that it was to be put back: what was sent before does not act any more."""
        self._heard[key] = (epoch, sequence)

    def grant(self, key: str, lease: Lease, expires_s: float) -> None:
        """Begin the lease, or renew it."""
        self._expires_s[key] = expires_s
        if lease.on_expiry is OnExpiry.HOLD:
            self._holding.add(key)
            self._told.discard(key)
        elif self._holding:
            self._holding.discard(key)

    def settle_hold(self, key: str, *, hold: bool) -> None:
        """Say what is to come of the lease at its end."""
        if hold:
            self._holding.add(key)
        else:
            self._holding.discard(key)

    def keep(self, key: str) -> None:
        """Hold on without a lease: what a crashed agent had been told to hold."""
        self._expires_s[key] = -math.inf
        self._holding.add(key)

    def lapse(self, key: str) -> None:
        """End the lease's time now; it stays due until ``end``."""
        self._expires_s[key] = -math.inf
        self._holding.discard(key)

    def ended_at_s(self, key: str) -> float | None:
        """When the lease of a key that is due ran out, ``None`` where it was ended before its time."""
        expires_s = self._expires_s[key]
        return None if expires_s == -math.inf else expires_s

    def kept(self) -> dict[str, KeptLease]:
        """The leases there are, for another process to go on with."""
        return {
            key: KeptLease(expires_s, key in self._holding, *self._heard.get(key, (0, 0)))
            for key, expires_s in self._expires_s.items()
        }

    def ended(self) -> dict[str, KeptLease]:
        """What was heard of keys that have no lease any more, for another process to remember."""
        return {
            key: KeptLease(-math.inf, False, *heard) for key, heard in self._heard.items() if key not in self._expires_s
        }

    def adopt(self, kept: Mapping[str, KeptLease]) -> None:
        """Go on with the leases of a process that died."""
        for key, lease in kept.items():
            self._expires_s[key] = lease.expires_s
            self._heard[key] = (lease.epoch, lease.sequence)
            if lease.hold:
                self._holding.add(key)

    def end(self, key: str) -> None:
        """Nothing of ours is left there."""
        self._expires_s.pop(key, None)
        self._holding.discard(key)
        self._told.discard(key)

    def holds(self, key: str) -> bool:
        """Whether something of ours is left there, its lease running or over."""
        return key in self._expires_s

    def due(self, now_s: float) -> tuple[str, ...]:
        """Keys whose lease is over and that are to be put back."""
        return tuple(
            key for key, expires_s in self._expires_s.items() if expires_s <= now_s and key not in self._holding
        )

    def newly_held_over(self, now_s: float) -> tuple[str, ...]:
        """Keys whose lease is over and that stay as they are; each is told once."""
        over = tuple(sorted(key for key in self._holding - self._told if self._expires_s[key] <= now_s))
        self._told.update(over)
        return over

    def runs(self, now_s: float) -> bool:
        """Whether any lease still has time to run."""
        return any(expires_s > now_s for expires_s in self._expires_s.values())
