"""Power limits under a lease: the limit found is journaled before the first write and is what a restore puts back.

What must hold whatever fails (ARCHITECTURE.md, safety):

* no limit is written that is not in the device's range, or that is above the limit found;
* no limit is written before the limit found is on disk;
* a limit that somebody else changed is left as it is, and forgotten;
* a limit counts as put back only when it was read back.

Whose a limit is shows in what was *asked* of the device; what a cap is worth, in what is in *force*. The two differ
where a limiter out of band holds the device lower: nobody has changed our limit then, and the one found is put back.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from hardware.device import CapCommand, CapRange, CapResult, DeviceDriver, OnExpiry, Outcome
from hardware.errors import DeviceLost, HardwareError, JournalUnreadable
from hardware.journal import Journal, PriorLimit
from hardware.lease import HIGHEST_NUMBER, LeaseTable, highest_epoch

TOLERANCE_W = 0.5
"""Limits closer than this are the same: drivers round to whole watts or milliwatts."""


class _Step(NamedTuple):
    """One command that may act: what to write, and whether that is what was asked."""

    command: CapCommand
    target_w: float
    asked_w: float
    limit_w: float
    clamped: bool
    write: bool


class LimitKeeper:
    """The limits of one host's devices. Blocking, for one thread. Expected faults become results, none is raised."""

    def __init__(self, driver: DeviceDriver, journal: Journal) -> None:
        self._driver = driver
        self._journal = journal
        self._leases = LeaseTable()
        self._answers: dict[str, CapResult] = {}
        self._confirmed: set[str] = set()
        self._ranges: dict[str, CapRange] = {}

    def apply(self, commands: Sequence[CapCommand], *, received_s: float, now_s: float) -> tuple[CapResult, ...]:
        """Act on commands that were received at ``received_s``: one result each, in order."""
        epoch = highest_epoch(self._journal.state.epoch, [command.lease for command in commands])
        limits = dict(self._journal.state.limits)
        named: set[str] = set()
        intents: list[CapResult | _Step] = []
        for command in commands:
            if command.device_id in named:
                intents.append(_refused(command, "named twice in one message"))
            else:
                named.add(command.device_id)
                intents.append(self._intend(command, limits, epoch, received_s, now_s))
        try:
            self._journal.commit(epoch=epoch, limits=limits)
        except JournalUnreadable as fault:
            for key in self._journal.state.limits.keys() - limits.keys():
                self._leases.lapse(key)
            return tuple(
                _refused(intent.command, str(fault)) if isinstance(intent, _Step) else intent for intent in intents
            )
        results = tuple(
            self._carry_out(intent, received_s) if isinstance(intent, _Step) else intent for intent in intents
        )
        changed_by_others = [result.device_id for result in results if result.outcome is Outcome.CONFLICT]
        if changed_by_others:
            self._drop(changed_by_others, epoch)
        return results

    def restore(self, device_ids: Collection[str], epoch: int) -> tuple[CapResult, ...]:
        """Put back what is ours of these; what is not is left alone. One result each, in order."""
        known = self._journal.state.epoch
        if not known <= epoch <= HIGHEST_NUMBER:
            detail = f"epoch {epoch} is over: a gateway of epoch {known} has spoken"
            return tuple(
                _result(key, self._found_w(key), self._readable(key), Outcome.REFUSED, detail) for key in device_ids
            )
        return self._put_back_all(device_ids, epoch)

    def restore_all(self) -> tuple[CapResult, ...]:
        """Put back everything that is ours, held caps too."""
        return self._put_back_all(tuple(self._journal.state.limits), self._journal.state.epoch)

    def expire(self, now_s: float) -> tuple[CapResult, ...]:
        """Put back what has no lease any more; what cannot be put back is tried again at the next call."""
        due = self._leases.due(now_s)
        return self._put_back_all(due, self._journal.state.epoch) if due else ()

    def newly_held_over(self, now_s: float) -> tuple[str, ...]:
        """Devices whose cap stays in force although its lease is over; each is named once."""
        return self._leases.newly_held_over(now_s)

    def runs(self, now_s: float) -> bool:
        """Whether any lease still has time to run."""
        return self._leases.runs(now_s)

    def recover(self) -> tuple[CapResult, ...]:
        """Put back what an agent that died left in the (opened) journal; what was to be held is held on."""
        left = self._journal.state.limits
        for device_id, prior in left.items():
            if prior.hold:
                self._leases.keep(device_id)
        return self._put_back_all([key for key, prior in left.items() if not prior.hold], self._journal.state.epoch)

    def _intend(
        self, command: CapCommand, limits: dict[str, PriorLimit], epoch: int, received_s: float, now_s: float
    ) -> _Step | CapResult:
        """Decide on one command, entering into ``limits`` what must be on disk before it is written."""
        key, lease, cap_w = command.device_id, command.lease, command.cap_w
        fault = self._leases.refusal(key, lease, epoch=epoch, received_s=received_s, now_s=now_s)
        if not (math.isfinite(cap_w) and cap_w >= 0.0):
            fault = f"{cap_w} is no power cap"
        if fault is not None:
            return _refused(command, fault)
        try:
            if self._leases.repeats(key, lease):
                return self._again(command)
            cap_range = self._range(key)
            asked_w, limit_w = self._driver.asked_w(key), self._driver.limit_w(key)
        except HardwareError as cause:
            return _failed(command, cause)
        prior = limits.get(key)
        if prior is not None and not self._is_ours(key, prior, asked_w):
            del limits[key]
            return self._forget(command, limit_w)
        found_w = asked_w if prior is None else prior.found_w
        ceiling_w = min(found_w, cap_range.max_w)
        if ceiling_w < cap_range.min_w:
            return _refused(command, f"the limit found, {found_w:g} W, is under the device's floor", limit_w)
        target_w = min(max(cap_w, cap_range.min_w), ceiling_w)
        hold = lease.on_expiry is OnExpiry.HOLD
        stands = prior is not None and prior.written_w == target_w and _same(asked_w, target_w)
        if prior is None or not stands:
            limits[key] = PriorLimit(found_w, target_w, asked_w, hold)
        elif prior.hold != hold:
            limits[key] = prior._replace(hold=hold)
        write = not (stands or asked_w == target_w)
        return _Step(command, target_w, asked_w, limit_w, not _same(target_w, cap_w), write)

    def _carry_out(self, step: _Step, received_s: float) -> CapResult:
        key, lease = step.command.device_id, step.command.lease
        self._leases.grant(key, lease, received_s + lease.duration_s)
        result = self._answers[key] = self._write(step)
        self._leases.hear(key, lease)
        return result

    def _write(self, step: _Step) -> CapResult:
        """Write and read back; what stands already was read a moment ago."""
        command, key, asked_w, limit_w = step.command, step.command.device_id, step.asked_w, step.limit_w
        if step.write:
            self._confirmed.discard(key)
            try:
                self._driver.set_limit_w(key, step.target_w)
                asked_w, limit_w = self._driver.asked_w(key), self._driver.limit_w(key)
            except HardwareError as cause:
                return _failed(command, cause, self._readable(key))
        if not _same(asked_w, step.target_w):
            if _same(asked_w, step.asked_w):
                return _refused(command, "taken by the driver, but not in force", limit_w)
            return _conflict(key, command.cap_w, limit_w)
        self._confirmed.add(key)
        if limit_w > step.target_w + TOLERANCE_W:
            return _refused(command, "asked for, but not in force", limit_w)
        if limit_w < step.target_w - TOLERANCE_W:
            return _result(key, command.cap_w, limit_w, Outcome.CLAMPED, "a lower limit from elsewhere is in force")
        return _result(key, command.cap_w, limit_w, Outcome.CLAMPED if step.clamped else Outcome.APPLIED)

    def _again(self, command: CapCommand) -> CapResult:
        """Answer a command that was heard already, without acting."""
        key, answer = command.device_id, self._answers[command.device_id]
        if answer.outcome is Outcome.CONFLICT:
            return answer
        if not self._leases.holds(key):
            return _refused(command, "its lease has ended", self._readable(key))
        limit_w = self._driver.limit_w(key)
        return _result(key, command.cap_w, limit_w, answer.outcome, answer.detail)

    def _forget(self, command: CapCommand, limit_w: float) -> CapResult:
        """Somebody else has the limit now. The command counts as heard, so that its repetition does not act."""
        key = command.device_id
        self._leases.hear(key, command.lease)
        self._leases.end(key)
        self._confirmed.discard(key)
        self._answers[key] = _conflict(key, command.cap_w, limit_w)
        return self._answers[key]

    def _put_back_all(self, device_ids: Collection[str], epoch: int) -> tuple[CapResult, ...]:
        results = []
        done = []
        for key in device_ids:
            result, settled = self._put_back(key)
            results.append(result)
            if settled:
                done.append(key)
            else:
                # Ours still: tried again at every expiry from now on.
                self._leases.lapse(key)
        self._drop(done, epoch)
        return tuple(results)

    def _put_back(self, key: str) -> tuple[CapResult, bool]:
        """Put one limit back; true where nothing of ours is left there."""
        prior = self._journal.state.limits.get(key)
        found_w = self._found_w(key)
        try:
            asked_w = self._driver.asked_w(key)
            if prior is None:
                in_force_w = self._driver.limit_w(key)
                return _result(key, in_force_w, in_force_w, Outcome.APPLIED, "nothing of ours to put back"), True
            if asked_w != found_w and self._is_ours(key, prior, asked_w):
                # The read-back decides from here on what counts as ours.
                self._confirmed.discard(key)
                self._driver.set_limit_w(key, found_w)
                asked_w = self._driver.asked_w(key)
        except HardwareError as cause:
            outcome = Outcome.LOST if isinstance(cause, DeviceLost) else Outcome.REFUSED
            return _result(key, found_w, self._readable(key), outcome, str(cause)), prior is None
        limit_w = self._readable(key)
        if _same(asked_w, found_w):
            return _result(key, found_w, limit_w, Outcome.APPLIED), True
        if self._is_ours(key, prior, asked_w):
            return _result(key, found_w, limit_w, Outcome.REFUSED, "taken by the driver, but not in force"), False
        return _conflict(key, found_w, limit_w), True

    def _drop(self, keys: Collection[str], epoch: int) -> None:
        """Forget entries. Where the journal cannot say so they stay due, and are looked at again."""
        gone = set(keys)
        limits = {key: prior for key, prior in self._journal.state.limits.items() if key not in gone}
        try:
            self._journal.commit(epoch=max(epoch, self._journal.state.epoch), limits=limits)
        except JournalUnreadable:
            for key in gone & set(self._journal.state.limits):
                self._leases.lapse(key)
            return
        for key in gone:
            self._leases.end(key)
            self._confirmed.discard(key)

    def _is_ours(self, key: str, prior: PriorLimit, asked_w: float) -> bool:
        if _same(asked_w, prior.written_w):
            return True
        return key not in self._confirmed and _same(asked_w, prior.before_w)

    def _range(self, key: str) -> CapRange:
        if key not in self._ranges:
            self._ranges = {view.device_id: view.cap_range for view in self._driver.devices()}
        if key not in self._ranges:
            raise DeviceLost("no such device on this host", device_id=key)
        return self._ranges[key]

    def _found_w(self, key: str) -> float:
        """What a restore would put back; 0 where nothing of ours is there."""
        prior = self._journal.state.limits.get(key)
        return 0.0 if prior is None else prior.found_w

    def _readable(self, key: str) -> float | None:
        try:
            return self._driver.limit_w(key)
        except HardwareError:
            return None


def _same(one_w: float, other_w: float) -> bool:
    return abs(one_w - other_w) <= TOLERANCE_W


def _result(key: str, requested_w: float, applied_w: float | None, outcome: Outcome, detail: str = "") -> CapResult:
    return CapResult(device_id=key, requested_w=requested_w, applied_w=applied_w, outcome=outcome, detail=detail)


def _refused(command: CapCommand, detail: str, applied_w: float | None = None) -> CapResult:
    return _result(command.device_id, command.cap_w, applied_w, Outcome.REFUSED, detail)


def _failed(command: CapCommand, cause: HardwareError, applied_w: float | None = None) -> CapResult:
    outcome = Outcome.LOST if isinstance(cause, DeviceLost) else Outcome.REFUSED
    return _result(command.device_id, command.cap_w, applied_w, outcome, str(cause))


def _conflict(key: str, requested_w: float, limit_w: float | None) -> CapResult:
    return _result(key, requested_w, limit_w, Outcome.CONFLICT, "somebody else changed the limit: left as it is")
