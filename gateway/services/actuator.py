"""From caps and pauses wanted to leased commands, and from their results to the record."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from gateway.clock import Clock
from gateway.ledger import CapOutcome, Ledger
from hardware.device import CapCommand, CapResult, Lease, Outcome, PowerCap
from hardware.job import JobAction, JobControl, JobState, Verb

SMALLEST_CHANGE_W = 1.0
"""A cap that would move by less is left as it is until its lease is renewed: few writes."""

RENEWALS_A_LEASE = 3
"""So that two renewals in a row may be lost."""

_HELD = frozenset({Outcome.APPLIED, Outcome.CLAMPED})
_ASK_AGAIN = frozenset({Outcome.TIMED_OUT, Outcome.REFUSED})
"""A restore that came to this is not done. A lost device's limit is its host's to restore; a conflict is nobody's."""


class Fleet(PowerCap, JobControl, Protocol):
    """Devices and the jobs on them."""


class Actuator:
    """Holds what it is asked to hold: writes what changed, renews in time, and notes what came of it.

    What a host did not confirm is sent again at the next step. Somebody else's limit (``CONFLICT``) is left alone
    until the release.
    """

    def __init__(self, *, fleet: Fleet, ledger: Ledger, clock: Clock, epoch: int, lease_s: float) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._clock = clock
        self._epoch = epoch
        self._lease_s = lease_s
        self._sequence = 0
        self._caps_w: dict[str, float] = {}
        self._renewed_at: datetime | None = None
        self._last: dict[str, tuple[float | None, str]] = {}
        self._not_ours: set[str] = set()
        # Jobs that we asked to pause, and whether the host confirmed it.
        self._paused: dict[str, bool] = {}
        # What a release has still to restore; None stands for every device.
        self._unrestored: set[str] | None = None

    @property
    def not_ours(self) -> Collection[str]:
        """Devices whose limit somebody else set."""
        return self._not_ours

    async def hold(self, caps_w: Mapping[str, float], paused: Collection[str]) -> str | None:
        """Hold these caps and pauses from now on. Returns what went wrong in plain words, ``None`` if nothing did."""
        now = self._clock.now()
        renew = self._is_renewal_due(now)
        if renew:
            # What is not wanted any more is left to its lease, and is written anew should it be wanted again.
            self._caps_w = {device_id: cap_w for device_id, cap_w in self._caps_w.items() if device_id in caps_w}
        due = [
            device_id
            for device_id, cap_w in caps_w.items()
            if device_id not in self._not_ours
            and (renew or device_id not in self._caps_w or abs(cap_w - self._caps_w[device_id]) >= SMALLEST_CHANGE_W)
        ]
        self._unrestored = None
        lease = self._lease()
        troubles: list[str] = []
        if due:
            commands = [CapCommand(device_id=device_id, cap_w=caps_w[device_id], lease=lease) for device_id in due]
            troubles += self._take(await self._fleet.apply(commands))
        troubles += await self._pause(paused, lease, renew=renew)
        if renew:
            self._renewed_at = now
        return "; ".join(troubles[:3]) or None

    async def release(self) -> str | None:
        """Put back every limit and resume every job; what was not confirmed is said, and asked again at the next call.

        Returns ``None`` once there is nothing left to do.
        """
        troubles = await self._act(dict.fromkeys(self._paused, Verb.RESUME), self._lease())
        asked = list(self._fleet.devices()) if self._unrestored is None else sorted(self._unrestored)
        if self._unrestored is None and not asked:
            return "no device is known yet"
        results = await self._fleet.restore(asked, self._epoch) if asked else ()
        self._note(results, restored=True)
        self._unrestored = {result.device_id for result in results if result.outcome in _ASK_AGAIN}
        self._caps_w.clear()
        self._not_ours.clear()
        self._renewed_at = None
        troubles += [_in_words(result) for result in results if result.device_id in self._unrestored]
        return "; ".join(troubles[:3]) if self._paused or self._unrestored else None

    def _is_renewal_due(self, now: datetime) -> bool:
        """A clock that was set back counts as time for it: hosts count a lease on clocks that nobody sets."""
        if self._renewed_at is None:
            return True
        return not timedelta(0) <= now - self._renewed_at < timedelta(seconds=self._lease_s / RENEWALS_A_LEASE)

    def _lease(self) -> Lease:
        self._sequence += 1
        return Lease(epoch=self._epoch, sequence=self._sequence, duration_s=self._lease_s)

    async def _pause(self, wanted: Collection[str], lease: Lease, *, renew: bool) -> list[str]:
        verbs = {job_id: Verb.PAUSE for job_id in wanted if renew or not self._paused.get(job_id)}
        verbs |= {job_id: Verb.RESUME for job_id in self._paused if job_id not in wanted}
        return await self._act(verbs, lease)

    async def _act(self, verbs: Mapping[str, Verb], lease: Lease) -> list[str]:
        """Pause and resume. A job stays ours until its host says that it runs or is not ours: answers get lost."""
        if not verbs:
            return []
        self._paused = {job_id: False for job_id, verb in verbs.items() if verb is Verb.PAUSE} | self._paused
        troubles: list[str] = []
        actions = [JobAction(job_id=job_id, verb=verb, lease=lease) for job_id, verb in verbs.items()]
        for done in await self._fleet.act(actions):
            runs = done.state is not None and done.state is not JobState.PAUSED
            if runs or done.outcome in {Outcome.CONFLICT, Outcome.LOST}:
                self._paused.pop(done.job_id, None)
            else:
                self._paused[done.job_id] = done.outcome in _HELD
            if done.outcome not in _HELD:
                troubles.append(f"job {done.job_id}: {done.verb} {done.outcome} {done.detail}".rstrip())
        return troubles

    def _take(self, results: Sequence[CapResult]) -> list[str]:
        """Remember what holds now; says what does not."""
        troubles: list[str] = []
        for result in results:
            if result.outcome in _HELD:
                self._caps_w[result.device_id] = result.requested_w
            else:
                self._caps_w.pop(result.device_id, None)
                troubles.append(_in_words(result))
            if result.outcome is Outcome.CONFLICT:
                self._not_ours.add(result.device_id)
        self._note(results, restored=False)
        return troubles

    def _note(self, results: Sequence[CapResult], *, restored: bool) -> None:
        """Keep in the ledger what changed. A restore of what was never capped is no change."""
        now = self._clock.now()
        outcomes: list[CapOutcome] = []
        for result in results:
            state = (result.applied_w, str(result.outcome))
            known = self._last.get(result.device_id)
            if known == state or (known is None and restored and result.outcome is Outcome.APPLIED):
                continue
            self._last[result.device_id] = state
            outcomes.append(
                CapOutcome(
                    at=now,
                    device_id=result.device_id,
                    requested_w=None if restored else result.requested_w,
                    applied_w=result.applied_w,
                    outcome=str(result.outcome),
                    detail=result.detail,
                )
            )
        self._ledger.note_outcomes(outcomes)


def _in_words(result: CapResult) -> str:
    return f"{result.device_id}: {result.outcome} {result.detail}".rstrip()
