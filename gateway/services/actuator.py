"""From caps and pauses wanted to leased commands, and from their results to the record."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from gateway.clock import Clock
from gateway.ledger import CapOutcome, Ledger
from hardware.device import CapCommand, CapResult, Lease, Outcome, PowerCap
from hardware.job import JobAction, JobControl, JobState, Verb

log = structlog.get_logger()

SMALLEST_CHANGE_W = 1.0
"""A cap that would move by less is left as it is until its lease is renewed: few writes."""

RENEWALS_A_LEASE = 3
"""So that two renewals in a row may be lost."""


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
        self._renew_at: datetime | None = None
        self._last: dict[str, tuple[float | None, str]] = {}
        self._not_ours: set[str] = set()
        self._paused: set[str] = set()
        self._unrestored: set[str] = set()

    @property
    def holding(self) -> bool:
        """Whether anything is held, as far as we know."""
        return bool(self._caps_w or self._paused or self._unrestored)

    @property
    def not_ours(self) -> Collection[str]:
        """Devices whose limit somebody else set."""
        return self._not_ours

    async def hold(self, caps_w: Mapping[str, float], paused: Collection[str]) -> str | None:
        """Hold these caps and pauses from now on. Returns what went wrong in plain words, ``None`` if nothing did."""
        now = self._clock.now()
        renew = self._renew_at is None or now >= self._renew_at
        due = [
            device_id
            for device_id, cap_w in caps_w.items()
            if device_id not in self._not_ours
            and (renew or device_id not in self._caps_w or abs(cap_w - self._caps_w[device_id]) >= SMALLEST_CHANGE_W)
        ]
        if renew:
            self._renew_at = now + timedelta(seconds=self._lease_s / RENEWALS_A_LEASE)
        lease = self._lease()
        troubles: list[str] = []
        if due:
            commands = [CapCommand(device_id=device_id, cap_w=caps_w[device_id], lease=lease) for device_id in due]
            troubles += self._note(await self._fleet.apply(commands))
        troubles += await self._pause(paused, lease, renew=renew)
        return "; ".join(troubles[:3]) or None

    async def release(self) -> str | None:
        """Put back every limit and resume every job. Repeated by the caller until nothing went wrong."""
        troubles: list[str] = []
        if self._paused:
            lease = self._lease()
            actions = [JobAction(job_id=job_id, verb=Verb.RESUME, lease=lease) for job_id in sorted(self._paused)]
            for done in await self._fleet.act(actions):
                if done.state is JobState.PAUSED or done.outcome is Outcome.TIMED_OUT:
                    troubles.append(f"job {done.job_id} is not resumed: {done.detail or done.outcome}")
                else:
                    self._paused.discard(done.job_id)
        results = await self._fleet.restore(list(self._fleet.devices()), self._epoch)
        troubles += self._note(results, restored=True)
        self._unrestored = {result.device_id for result in results if result.outcome is Outcome.TIMED_OUT}
        self._caps_w.clear()
        self._not_ours.clear()
        self._renew_at = None
        return "; ".join(troubles[:3]) or None

    async def _pause(self, wanted: Collection[str], lease: Lease, *, renew: bool) -> list[str]:
        due = [(job_id, Verb.PAUSE) for job_id in wanted if renew or job_id not in self._paused]
        due += [(job_id, Verb.RESUME) for job_id in self._paused if job_id not in wanted]
        if not due:
            return []
        troubles: list[str] = []
        actions = [JobAction(job_id=job_id, verb=verb, lease=lease) for job_id, verb in due]
        for done in await self._fleet.act(actions):
            if done.state is JobState.PAUSED:
                self._paused.add(done.job_id)
            elif done.state is not None:
                self._paused.discard(done.job_id)
            if done.outcome not in {Outcome.APPLIED, Outcome.CLAMPED}:
                troubles.append(f"job {done.job_id}: {done.verb} {done.outcome} {done.detail}".rstrip())
        return troubles

    def _lease(self) -> Lease:
        self._sequence += 1
        return Lease(epoch=self._epoch, sequence=self._sequence, duration_s=self._lease_s)

    def _note(self, results: Iterable[CapResult], *, restored: bool = False) -> list[str]:
        """Remember what holds; keep in the ledger what changed; say what went wrong.

        A restore of what was never capped is no change.
        """
        now = self._clock.now()
        outcomes: list[CapOutcome] = []
        troubles: list[str] = []
        for result in results:
            if result.outcome in {Outcome.APPLIED, Outcome.CLAMPED}:
                self._caps_w[result.device_id] = result.requested_w
            else:
                self._caps_w.pop(result.device_id, None)
                troubles.append(f"{result.device_id}: {result.outcome} {result.detail}".rstrip())
            if result.outcome is Outcome.CONFLICT:
                self._not_ours.add(result.device_id)
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
        return troubles
