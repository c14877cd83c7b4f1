"""Power limits under a lease: the limit found is journaled before the first write and is what a restore puts back.

What must hold whatever fails (ARCHITECTURE.md, safety):

* no limit is written that is not in the device's range, or that is above the limit found or the device's ceiling;
* no limit is written before the limit found is on disk;
* a limit that somebody else changed is left as it is, and forgotten;
* a limit counts as put back only when it was read back.

Whose a limit is shows in what was *asked* of the device; what a cap is worth, in what is in *force*. The two differ
where a limiter out of band holds the device lower: nobody has changed our limit then, and the one found is put back.

Everything goes in phases, each over all devices at once: read, decide, commit to the journal, write and read back. Only
reading and writing go over the lanes; a device whose call hangs is told as such and holds none of the others up.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import structlog

from hardware.device import CapCommand, CapResult, DeviceDriver, DeviceView, Fault, OnExpiry, Outcome
from hardware.errors import Condition, HardwareError, JournalUnreadable
from hardware.journal import JournalPort, PriorLimit
from hardware.lanes import FanOut, Serial
from hardware.lease import HIGHEST_NUMBER, KeptLease, LeaseTable, highest_epoch
from hardware.limit_access import Back, HalfDone, LimitAccess, Seen, limit_of, same
from hardware.limit_results import conflict, failed, not_in_force, refused, result
from hardware.limit_terms import Ceilings, RestoreRamp
from hardware.limit_way_back import WayBack
from hardware.our_limits import OurLimits

log = structlog.get_logger()

_SERIAL = Serial()
_NO_CEILINGS = Ceilings()
_AT_ONCE = RestoreRamp()


class _Step(NamedTuple):
    """One command that may act: what to write, and whether that is what was asked."""

    command: CapCommand
    target_w: float
    seen: Seen
    clamped: bool
    write: bool


class LimitKeeper:
    """The limits of one host's devices. Blocking, for one thread. Expected faults become results, none is raised.

    ``raise_back(device_id, limit_w)`` makes the writes that put a limit back, the driver where it is ``None``. It
    raises ``HardwareError``, and is called from several lanes at once.
    """

    def __init__(
        self,
        driver: DeviceDriver,
        journal: JournalPort,
        *,
        lanes: FanOut = _SERIAL,
        ceilings: Ceilings = _NO_CEILINGS,
        ramp: RestoreRamp = _AT_ONCE,
        raise_back: Callable[[str, float], None] | None = None,
    ) -> None:
        self._access = LimitAccess(driver, lanes)
        self._ours = OurLimits(journal)
        self._ceilings = ceilings
        self._leases = LeaseTable()
        self._way_back = WayBack(
            self._access, self._ours, self._leases, ceilings=ceilings, ramp=ramp, raise_back=raise_back
        )
        self._answers: dict[str, CapResult] = {}
        self._alarmed: dict[str, Fault] = {}

    def apply(self, commands: Sequence[CapCommand], *, received_s: float, now_s: float) -> tuple[CapResult, ...]:
        """Act on commands that were received at ``received_s``: one result each, in order."""
        epoch = highest_epoch(self._ours.epoch, [command.lease for command in commands])
        results, places = self._sifted(commands, epoch, received_s, now_s)
        limits = self._ours.present()
        seen = self._access.read(places)
        steps: dict[str, _Step] = {}
        for key, place in places.items():
            decided = self._decide(commands[place], seen[key], limits)
            if isinstance(decided, _Step):
                steps[key] = decided
            else:
                results[place] = decided
        try:
            left_out = self._ours.commit_each(epoch, limits)
        except JournalUnreadable as fault:
            for key in self._ours.entries.keys() - limits.keys():
                self._leases.lapse(key)
            left_out = dict.fromkeys(steps, fault)
        for key in left_out.keys() & steps.keys():
            results[places[key]] = failed(key, steps.pop(key).command.cap_w, left_out[key])
        for key, done in self._carry_out(steps, received_s):
            results[places[key]] = done
        told = tuple(map(results.__getitem__, range(len(commands))))
        changed_by_others = [done.device_id for done in told if done.outcome is Outcome.CONFLICT]
        if changed_by_others:
            self._way_back.drop(changed_by_others, epoch)
        self._alarm(told)
        return told

    def restore(self, device_ids: Collection[str], epoch: int, sequence: int | None = None) -> tuple[CapResult, ...]:
        """Put back what is ours of these, at once; what is not is left alone. One result each, in order.

        With a ``sequence`` none that a later cap was heard for is put back.
        """
        known = self._ours.epoch
        if not known <= epoch <= HIGHEST_NUMBER:
            return self._not_put_back(device_ids, f"epoch {epoch} is over: a gateway of epoch {known} has spoken")
        if sequence is None:
            return self._way_back.put_back(device_ids, epoch)
        if not 0 <= sequence <= HIGHEST_NUMBER:
            return self._not_put_back(device_ids, "a sequence is from 0 to 2^63 - 1")
        late = dict.fromkeys(key for key in device_ids if self._leases.is_late(key, epoch, sequence))
        timely = [key for key in device_ids if key not in late]
        results = dict(zip(timely, self._way_back.put_back(timely, epoch), strict=True))
        for key in timely:
            self._leases.hear_end(key, epoch, sequence)
        results |= zip(
            late, self._not_put_back(late, f"stale: sequence {sequence} comes after a later one"), strict=True
        )
        return tuple(results[key] for key in device_ids)

    def restore_all(self) -> tuple[CapResult, ...]:
        """Put back everything that is ours, at once, but for what is to be held: that stays until somebody asks."""
        left = self._ours.entries
        return self._way_back.put_back([key for key, prior in left.items() if not prior.hold], self._ours.epoch)

    def limits_found(self) -> dict[str, float]:
        """What a restore leaves each device at that has a limit of ours, in watts: the limit found, or the ceiling."""
        return {key: self._way_back.goal_w(key, prior.found_w) for key, prior in self._ours.present().items()}

    def caps_w(self) -> dict[str, float]:
        """The caps of ours that should be in force now, in watts."""
        return {key: prior.written_w for key, prior in self._ours.present().items()}

    def expire(self, now_s: float) -> tuple[CapResult, ...]:
        """Put back what has no lease any more; what cannot be put back is tried again at the next call.

        With a ramp each call raises the limits by what is due; a result comes with the end, or with a fault.
        """
        due = self._leases.due(now_s)
        if not due:
            return ()
        return self._way_back.go_on(due, now_s)

    def newly_held_over(self, now_s: float) -> tuple[str, ...]:
        """Devices whose cap stays in force although its lease is over; each is named once."""
        return self._leases.newly_held_over(now_s)

    def runs(self, now_s: float) -> bool:
        """Whether any lease still has time to run."""
        return self._leases.runs(now_s)

    def shown(self, views: Sequence[DeviceView]) -> tuple[DeviceView, ...]:
        """The driver's views, with what it cannot know: a cap that was taken and is not in force, another's hand."""
        if not self._alarmed:
            return tuple(views)
        return tuple(view if view.fault else replace(view, fault=self._alarmed.get(view.device_id)) for view in views)

    def kept_leases(self) -> dict[str, KeptLease]:
        """The leases that there are, for another process to go on with if this one dies."""
        return self._leases.ended() | self._leases.kept()

    def adopt(self, kept: Mapping[str, KeptLease]) -> None:
        """Go on with the leases of a process that died; before ``recover``, with the journal open.

        Of devices that the journal does not name nothing of ours is left, and their leases only count as heard. Whether
        a cap is to be held stands in the journal, which was written before the cap: who died may not have told it yet.
        """
        self._leases.adopt(kept)
        entries = self._ours.entries
        for key in kept:
            if key in entries:
                self._leases.settle_hold(key, hold=entries[key].hold)
            else:
                self._leases.end(key)

    def recover(self) -> tuple[CapResult, ...]:
        """Put back what an agent that died left in the (opened) journal, but for the leases that were adopted.

        What was to be held is held on. What is from before the machine was restarted is dropped and not written: the
        devices have forgotten it, and whoever set a limit since then is somebody else.
        """
        earlier = self._ours.from_before_restart()
        left = {key: prior for key, prior in self._ours.entries.items() if not self._leases.holds(key)}
        for key, prior in left.items():
            if prior.hold and key in earlier:
                log.error("hold_lost_with_restart", device_id=key, held_w=prior.written_w)
            elif prior.hold:
                self._leases.keep(key)
        return self._way_back.put_back(
            [key for key, prior in left.items() if not prior.hold or key in earlier], self._ours.epoch
        )

    def _not_put_back(self, device_ids: Collection[str], detail: str) -> tuple[CapResult, ...]:
        ours = self._ours.entries
        seen = self._access.look([key for key in device_ids if key in ours])
        return tuple(
            result(key, ours[key].found_w if key in ours else 0.0, limit_of(seen.get(key)), Outcome.REFUSED, detail)
            for key in device_ids
        )

    def _sifted(
        self, commands: Sequence[CapCommand], epoch: int, received_s: float, now_s: float
    ) -> tuple[dict[int, CapResult], dict[str, int]]:
        """By place in the message: what is answered without a look at the device, and what is not."""
        results: dict[int, CapResult] = {}
        places: dict[str, int] = {}
        named: set[str] = set()
        for place, command in enumerate(commands):
            key = command.device_id
            if key in named:
                results[place] = refused(command, "named twice in one message")
                continue
            named.add(key)
            fault = self._leases.refusal(key, command.lease, epoch=epoch, received_s=received_s, now_s=now_s)
            if not 0.0 <= command.cap_w < math.inf:
                fault = f"{command.cap_w} is no power cap"
            if fault is None:
                places[key] = place
            else:
                results[place] = refused(command, fault)
        for key, cause in self._access.unknown(places).items():
            place = places.pop(key)
            results[place] = failed(key, commands[place].cap_w, cause)
        return results, places

    def _decide(
        self, command: CapCommand, seen: Seen | HardwareError, limits: dict[str, PriorLimit]
    ) -> _Step | CapResult:
        """Decide on one command, entering into ``limits`` what must be on disk before it is written."""
        key, lease, cap_w = command.device_id, command.lease, command.cap_w
        if self._leases.repeats(key, lease):
            return self._again(command, seen)
        if isinstance(seen, HardwareError):
            return failed(key, cap_w, seen)
        asked_w, limit_w = seen
        prior = limits.get(key)
        if prior is not None and not self._ours.is_ours(key, prior, asked_w):
            del limits[key]
            return self._forget(command, limit_w)
        cap_range, ceiling_w = self._access.ranges[key], self._ceilings.of(key)
        found_w = asked_w if prior is None else prior.found_w
        most_w = min(found_w, cap_range.max_w, ceiling_w)
        if most_w < cap_range.min_w:
            what = "ceiling" if most_w == ceiling_w else "limit found"
            return refused(command, f"the {what}, {most_w:g} W, is under the device's floor", limit_w)
        target_w = min(max(cap_w, cap_range.min_w), most_w)
        hold = lease.on_expiry is OnExpiry.HOLD
        there = asked_w == target_w
        stands = prior is not None and prior.written_w == target_w and (there or same(asked_w, target_w))
        if prior is None or not stands:
            limits[key] = PriorLimit(found_w, target_w, asked_w, hold)
        elif prior.hold != hold:
            limits[key] = prior._replace(hold=hold)
        clamped = cap_w != target_w and not same(target_w, cap_w)
        return _Step(command, target_w, seen, clamped, not (stands or there))

    def _carry_out(self, steps: Mapping[str, _Step], received_s: float) -> list[tuple[str, CapResult]]:
        writing = {key: step.target_w for key, step in steps.items() if step.write}
        self._ours.about_to_write(writing)
        for key, step in steps.items():
            lease = step.command.lease
            self._leases.grant(key, lease, received_s + lease.duration_s)
        self._way_back.capped_anew(steps)
        back = self._access.write(writing) if writing else {}
        results = []
        for key, step in steps.items():
            done = self._answers[key] = self._answer(step, back[key] if step.write else step.seen)
            self._leases.hear(key, step.command.lease)
            results.append((key, done))
        return results

    def _answer(self, step: _Step, back: Back) -> CapResult:
        """What became of a command, by what was read back (or, where it stood already, read a moment ago)."""
        key, cap_w, target_w = step.command.device_id, step.command.cap_w, step.target_w
        if not isinstance(back, Seen):
            return failed(key, cap_w, back.fault if isinstance(back, HalfDone) else back, limit_of(back))
        asked_w, limit_w = back
        if not (asked_w == target_w or same(asked_w, target_w)):
            if same(asked_w, step.seen.asked_w):
                return not_in_force(key, cap_w, limit_w, "taken by the driver, but not in force")
            return conflict(key, cap_w, limit_w)
        self._ours.confirm([key])
        if limit_w is None or limit_w == target_w or same(limit_w, target_w):
            outcome = Outcome.CLAMPED if step.clamped else Outcome.APPLIED
            return CapResult(device_id=key, requested_w=cap_w, applied_w=limit_w, outcome=outcome)
        if limit_w > target_w:
            return not_in_force(key, cap_w, limit_w, "asked for, but not in force")
        return result(key, cap_w, limit_w, Outcome.CLAMPED, "a lower limit from elsewhere is in force")

    def _again(self, command: CapCommand, seen: Seen | HardwareError) -> CapResult:
        """Answer a command that was heard already, by us or by who died before us, without acting."""
        key, answer = command.device_id, self._answers.get(command.device_id)
        if answer is not None and answer.outcome is Outcome.CONFLICT:
            return answer
        prior = self._ours.entries.get(key)
        if prior is None or not self._leases.holds(key):
            return refused(command, "its lease has ended", limit_of(seen))
        if isinstance(seen, HardwareError):
            return failed(key, command.cap_w, seen)
        if answer is not None:
            return result(key, command.cap_w, seen.limit_w, answer.outcome, answer.detail, answer.fault)
        before = Seen(prior.before_w, None)
        clamped = not same(prior.written_w, command.cap_w)
        return self._answer(_Step(command, prior.written_w, before, clamped, write=False), seen)

    def _forget(self, command: CapCommand, limit_w: float | None) -> CapResult:
        """Somebody else has the limit now. The command counts as heard, so that its repetition does not act."""
        key = command.device_id
        self._leases.hear(key, command.lease)
        self._way_back.end(key)
        self._answers[key] = conflict(key, command.cap_w, limit_w)
        return self._answers[key]

    def _alarm(self, results: Iterable[CapResult]) -> None:
        """Say once that a cap is not in force or somebody else's hand is there, and once that it is over."""
        for done in results:
            fault = done.fault
            if fault is None:
                if done.device_id in self._alarmed and done.outcome is not Outcome.REFUSED:
                    del self._alarmed[done.device_id]
                    log.info("cap_in_force_again", device_id=done.device_id)
            elif fault.condition in {Condition.NOT_IN_FORCE, Condition.CONFLICT}:
                if self._alarmed.get(done.device_id) != fault:
                    log.warning("cap_not_in_force", device_id=done.device_id, detail=fault.detail, cure=fault.cure)
                self._alarmed[done.device_id] = fault
