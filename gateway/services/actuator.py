"""From caps and pauses wanted to leased commands, and from their results to the record."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from gateway.clock import Clock
from gateway.domain.electrical import in_words, shortfall_in_words
from gateway.domain.tree import ElectricalTree
from gateway.ledger import CapOutcome, Ledger, LedgerUnavailable
from gateway.services.epochs import Epochs
from gateway.services.tree_guard import Allowed, TreeGuard
from hardware.device import CapCommand, CapResult, Lease, OnExpiry, Outcome, PowerCap
from hardware.job import JobAction, JobControl, JobResult, JobState, Verb

log = structlog.get_logger()

SMALLEST_CHANGE_W = 1.0
"""A cap that would move by less is left as it is until its lease is renewed: few writes."""

RENEWALS_A_LEASE = 3
"""So that two renewals in a row may be lost."""

ACT_WAIT_S = 0.25
"""A step waits so long for jobs to be acted on; what is not done by then is asked about at the next step."""

STEPS_BACK = 4
"""At the end limits go back in so many steps at most: down, confirmed, up, and once more for what came late."""

_HELD = frozenset({Outcome.APPLIED, Outcome.CLAMPED})
_ASK_AGAIN = frozenset({Outcome.TIMED_OUT, Outcome.REFUSED})
"""A restore that came to this is not done. A lost device's limit is its host's to restore; a conflict is nobody's."""

_SETTLED = frozenset({Outcome.APPLIED, Outcome.CONFLICT})
"""After a restore that came to this nothing of ours is left there."""


class Fleet(PowerCap, JobControl, Protocol):
    """Devices and the jobs on them."""


class Actuator:
    """Holds what it is asked to hold: writes what changed, renews in time, and notes what came of it.

    What a host did not confirm is sent again at the next step. Somebody else's limit (``CONFLICT``) is left alone
    until the release.

    With an electrical ``tree`` nothing is written, nor put back, that could take a node over its limit. Devices that a
    node has no room for at their full limit keep a cap all the time, under a lease that holds at its end.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        ledger: Ledger,
        clock: Clock,
        epoch: int,
        lease_s: float,
        tree: ElectricalTree | None = None,
        epochs: Epochs | None = None,
        act_wait_s: float = ACT_WAIT_S,
    ) -> None:
        self._act_wait_s = act_wait_s
        self._epochs = epochs
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
        # Jobs are acted on beside the control steps: caps wait for no scheduler.
        self._acting: asyncio.Task[Sequence[JobResult]] | None = None
        # What a release has still to restore; None stands for every device.
        self._unrestored: set[str] | None = None
        self._guard = TreeGuard(tree)
        self._allowed: Allowed | None = None
        # Devices whose lease does not put them back at its end.
        self._holding: set[str] = set()
        # Whether the last release left limits to be raised once what it wrote was confirmed.
        self._rises = False

    @property
    def not_ours(self) -> Collection[str]:
        """Devices whose limit somebody else set."""
        return self._not_ours

    @property
    def caps_w(self) -> Mapping[str, float]:
        """The caps that were confirmed last, by device."""
        return self._caps_w

    @property
    def paused(self) -> Collection[str]:
        """The jobs that we asked to pause, confirmed or not."""
        return self._paused.keys()

    @property
    def guards(self) -> bool:
        """Whether the electrical tree has limits: then caps may be needed at any time."""
        return self._guard.watches

    @property
    def outbid(self) -> str | None:
        """That another gateway commands hosts of ours, in plain words."""
        return None if self._epochs is None else self._epochs.trouble

    @property
    def shortfall(self) -> str | None:
        """Which nodes of the tree may be over their limit whatever is capped, in plain words."""
        return None if self._allowed is None else shortfall_in_words(self._allowed.nodes)

    @property
    def held_back(self) -> str | None:
        """Which nodes of the tree keep devices from their full limit, in plain words."""
        if self._allowed is None or not self._allowed.held:
            return None
        full = in_words([node for node in self._allowed.nodes if node.free_w > node.limit_w])
        return f"{full}: no room for all at their full limit, {len(self._allowed.held)} devices keep a cap"

    async def hold(self, caps_w: Mapping[str, float], paused: Collection[str]) -> str | None:
        """Hold these caps and pauses from now on. Returns what went wrong in plain words, ``None`` if nothing did."""
        await self._stay_above()
        now = self._clock.now()
        renew = self._is_renewal_due(now)
        caps_w = self._allow(caps_w)
        self._unrestored = None
        lease = self._lease()
        troubles = await self._keep(caps_w, lease, renew=renew)
        # The hosts do not put these back by themselves.
        troubles += await self._restore(self._reachable(self._holding - caps_w.keys()))
        troubles += await self._pause(paused, lease, renew=renew)
        if renew:
            self._renewed_at = now
        return "; ".join(troubles[:3]) or None

    async def release(self) -> str | None:
        """Put back every limit and resume every job; what was not confirmed is said, and asked again at the next call.

        Returns ``None`` once there is nothing left to do, but to call again in time where the tree has devices keep a
        cap: those go as high as there is room, step by step.
        """
        await self._stay_above()
        now = self._clock.now()
        renew = self._is_renewal_due(now)
        lease = self._lease()
        troubles = await self._acted()
        troubles += await self._act(dict.fromkeys(self._paused, Verb.RESUME), lease)
        if self._unrestored is None:
            self._unrestored = set(self._fleet.devices())
            self._not_ours.clear()
            if not self._unrestored:
                self._unrestored = None
                return "no device is known yet"
        kept_w = self._allow({})
        troubles += await self._keep(kept_w, lease, renew=renew)
        self._unrestored |= set(self._reachable(self._holding))
        # A device that was lost gets no cap, and may be back by now: where there is no room it does not rise either.
        self._unrestored -= kept_w.keys() if self._allowed is None else kept_w.keys() | self._allowed.held
        troubles += await self._restore(sorted(self._unrestored))
        self._caps_w = {device_id: cap_w for device_id, cap_w in self._caps_w.items() if device_id in kept_w}
        self._renewed_at = (now if renew else self._renewed_at) if kept_w else None
        unconfirmed = self._paused or self._unrestored or kept_w.keys() - self._caps_w.keys() - self._not_ours
        self._rises = not unconfirmed and bool(self._allowed and self._allowed.rising)
        if self._allowed is not None and self._allowed.rising:
            troubles.append(f"limits go back step by step: waiting for room under {in_words(self._allowed.rising)}")
        return "; ".join(troubles[:3]) if unconfirmed or self._rises else None

    async def put_back(self) -> str | None:
        """Release, the last time: as far as the tree has room. Returns what was not put back and should have been."""
        for _ in range(STEPS_BACK):
            if self._acting is not None:
                # Nobody comes back for it: an answer takes a bounded time.
                await asyncio.wait([self._acting])
            trouble = await self.release()
            if not self._rises and self._acting is None:
                break
        if self._allowed is not None:
            # Caps that only confirm a limit that there is room for anyway.
            await self._restore(sorted(self._caps_w.keys() - self._allowed.held))
        if self.held_back is not None:
            log.warning("caps_stay", reason=self.held_back)
        return trouble

    async def _stay_above(self) -> None:
        """Command in an epoch above those that hosts came with since the start."""
        if self._epochs is None:
            return
        try:
            self._epoch = await self._epochs.above_all(self._epoch)
        except LedgerUnavailable as fault:
            # An epoch counts once it is durable; until then these hosts refuse us, and the others do not wait.
            log.warning("epoch_not_begun", reason=str(fault))

    def _allow(self, caps_w: Mapping[str, float]) -> Mapping[str, float]:
        """What the electrical tree makes of these caps."""
        if not self._guard.watches:
            return caps_w
        if self._renewed_at is not None and self._is_past(self._clock.now(), self._lease_s):
            self._guard.forget()
        self._allowed = self._guard.allowed(self._fleet.devices(), caps_w, self._not_ours, self._clock.now())
        return caps_w if self._allowed is None else self._allowed.caps_w

    async def _keep(self, caps_w: Mapping[str, float], lease: Lease, *, renew: bool) -> list[str]:
        """Write the caps that changed, and all of them where their leases are to be renewed."""
        if renew:
            # What is not wanted any more is left to its lease, and is written anew should it be wanted again.
            self._caps_w = {device_id: cap_w for device_id, cap_w in self._caps_w.items() if device_id in caps_w}
        held = frozenset[str]() if self._allowed is None else self._allowed.held
        due = [
            device_id
            for device_id, cap_w in caps_w.items()
            if device_id not in self._not_ours
            and (
                renew
                or device_id not in self._caps_w
                or abs(cap_w - self._caps_w[device_id]) >= SMALLEST_CHANGE_W
                or (device_id in held and self._is_pressing(device_id, cap_w))
            )
        ]
        if not due:
            return []
        holding = replace(lease, on_expiry=OnExpiry.HOLD)
        self._holding |= held.intersection(due)
        results = await self._fleet.apply(
            [
                CapCommand(device_id=device_id, cap_w=caps_w[device_id], lease=holding if device_id in held else lease)
                for device_id in due
            ]
        )
        self._holding -= {result.device_id for result in results if result.outcome in _HELD} - held
        return self._take(results)

    def _is_pressing(self, device_id: str, cap_w: float) -> bool:
        """Whether a command cannot wait for the renewal: its lease would not hold, or its node may be over."""
        urgent = self._allowed is not None and device_id in self._allowed.urgent
        return device_id not in self._holding or (urgent and cap_w < self._caps_w[device_id])

    async def _restore(self, device_ids: Collection[str]) -> list[str]:
        """Put limits back; says what was not confirmed."""
        if not device_ids:
            return []
        results = await self._fleet.restore(device_ids, self._epoch, self._sequence)
        self._note(results, restored=True)
        self._guard.put_back(results)
        undone = {result.device_id for result in results if result.outcome in _ASK_AGAIN}
        self._holding -= {result.device_id for result in results if result.outcome in _SETTLED}
        if self._unrestored is not None:
            self._unrestored &= undone
        for device_id in device_ids:
            self._caps_w.pop(device_id, None)
        return [_in_words(result) for result in results if result.device_id in undone]

    def _reachable(self, device_ids: Collection[str]) -> list[str]:
        """Those of the devices that are there. What was lost is looked at again once it is back."""
        if not device_ids:
            return []
        devices = self._fleet.devices()
        return sorted(device_id for device_id in device_ids if device_id in devices and devices[device_id].present)

    def _is_renewal_due(self, now: datetime) -> bool:
        return self._renewed_at is None or self._is_past(now, self._lease_s / RENEWALS_A_LEASE)

    def _is_past(self, now: datetime, seconds: float) -> bool:
        """Whether the renewal was so long ago. A clock that was set back counts: hosts count on clocks nobody sets."""
        since = timedelta(0) if self._renewed_at is None else now - self._renewed_at
        return not timedelta(0) <= since < timedelta(seconds=seconds)

    def _lease(self) -> Lease:
        self._sequence += 1
        return Lease(epoch=self._epoch, sequence=self._sequence, duration_s=self._lease_s)

    async def _pause(self, wanted: Collection[str], lease: Lease, *, renew: bool) -> list[str]:
        troubles = await self._acted()
        verbs = {job_id: Verb.PAUSE for job_id in wanted if renew or not self._paused.get(job_id)}
        verbs |= {job_id: Verb.RESUME for job_id in self._paused if job_id not in wanted}
        return troubles + await self._act(verbs, lease)

    async def _act(self, verbs: Mapping[str, Verb], lease: Lease) -> list[str]:
        """Pause and resume, unless something is being done still: then at a later step, as it is wanted by then."""
        if self._acting is not None:
            # A renewal that fell into this is made up for at the next step.
            self._paused |= dict.fromkeys(verbs.keys() & self._paused.keys(), False)
            return []
        if not verbs:
            return []
        self._paused = {job_id: False for job_id, verb in verbs.items() if verb is Verb.PAUSE} | self._paused
        actions = [JobAction(job_id=job_id, verb=verb, lease=lease) for job_id, verb in verbs.items()]
        self._acting = asyncio.ensure_future(self._fleet.act(actions))
        return await self._acted()

    async def _acted(self) -> list[str]:
        """Take what came of the last actions, where it is there in time; says what went wrong.

        A job stays ours until its host says that it runs or is not ours: answers get lost.
        """
        if self._acting is None:
            return []
        await asyncio.wait([self._acting], timeout=self._act_wait_s)
        if not self._acting.done():
            return ["jobs: their hosts have not answered yet"]
        acting, self._acting = self._acting, None
        troubles: list[str] = []
        for done in acting.result():
            runs = done.state not in {None, JobState.PAUSED, JobState.HELD}
            resumed = done.verb is Verb.RESUME and done.outcome is Outcome.APPLIED
            if runs or resumed or done.outcome in {Outcome.CONFLICT, Outcome.LOST}:
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
        self._guard.take(results)
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
