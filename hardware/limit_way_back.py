"""The way of limits back to how they were found: at once or in steps, read back, and only then forgotten."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

import structlog

from hardware.device import CapResult, Fault, Outcome
from hardware.errors import JournalUnreadable
from hardware.journal import PriorLimit
from hardware.lease import LeaseTable
from hardware.limit_access import Back, HalfDone, LimitAccess, Seen, limit_of, same
from hardware.limit_results import conflict, failed, not_in_force, of_an_earlier_life, put_back, result
from hardware.limit_rise import Rises
from hardware.limit_terms import LEAST_STEP_W, Ceilings, RestoreRamp
from hardware.our_limits import OurLimits

log = structlog.get_logger()


class WayBack:
    """Puts limits of one host back. What cannot be is ours still, and due at the next expiry.

    ``raise_back(device_id, limit_w)`` makes the writes, the driver where it is ``None``.
    """

    def __init__(
        self,
        access: LimitAccess,
        ours: OurLimits,
        leases: LeaseTable,
        *,
        ceilings: Ceilings,
        ramp: RestoreRamp,
        raise_back: Callable[[str, float], None] | None,
    ) -> None:
        self._access = access
        self._ours = ours
        self._leases = leases
        self._ceilings = ceilings
        self._rises = Rises(ramp)
        self._raise_back = raise_back

    def capped_anew(self, keys: Iterable[str]) -> None:
        """These are not on their way any more."""
        self._rises.forget(keys)

    def go_on(self, due: Collection[str], now_s: float) -> tuple[CapResult, ...]:
        """Go on with limits whose lease is over: at once, or by what is due of the ramp.

        With a ramp a result comes with the end, or with a fault.
        """
        if self._rises.at_once:
            return self.put_back(due, self._ours.epoch)
        ended, levels_w = self._risen(due, now_s)
        stepped = self._step_up(levels_w) if levels_w else ()
        return stepped + (self.put_back(ended, self._ours.epoch) if ended else ())

    def put_back(self, device_ids: Collection[str], epoch: int) -> tuple[CapResult, ...]:
        """Put back what is ours of these, at once. One result each, in order."""
        ours = self._ours.entries
        keys = dict.fromkeys(device_ids)
        back: dict[str, Back] = dict(self._access.unknown([key for key in keys if key not in ours]))
        back.update(self._access.look([key for key in keys if key not in back]))
        goals_w = {key: self.goal_w(key, ours[key].found_w) for key in keys if key in ours}
        writing = {
            key: goal_w
            for key, goal_w in goals_w.items()
            if key not in self._ours.earlier and self._to_write(key, ours[key], back[key], goal_w)
        }
        self._ours.about_to_write(writing)
        back.update(self._raised(writing))
        results: dict[str, CapResult] = {}
        done: list[str] = []
        undone: list[str] = []
        for key in keys:
            results[key], settled = self._ended(key, goals_w.get(key), back[key])
            (done if settled else undone).append(key)
        for key in undone:
            # Ours still: tried again at every expiry from now on.
            self._leases.lapse(key)
        self._hold_no_more(undone)
        for key, fault in self.drop(done, epoch).items():
            if key in goals_w:
                # It is as it was found, and the entry stays: no other hand is in this.
                self._ours.remember_raise({key: goals_w[key]})
            results[key] = replace(results[key], detail=str(fault), fault=results[key].fault or Fault.of(fault))
        return tuple(results[key] for key in device_ids)

    def _hold_no_more(self, keys: Iterable[str]) -> None:
        """Note that these go back as soon as they can, whoever is there by then."""
        limits = self._ours.present()
        held = [key for key in keys if key in limits and limits[key].hold]
        if not held:
            return
        limits.update({key: limits[key]._replace(hold=False) for key in held})
        try:
            self._ours.commit(self._ours.epoch, limits)
        except JournalUnreadable as fault:
            log.warning("hold_stays_in_journal", device_ids=held, reason=str(fault))

    def _raised(self, levels_w: Mapping[str, float]) -> dict[str, Back]:
        """Have limits raised, and remember what was asked for: it may come after an answer that says it failed."""
        self._ours.remember_raise(levels_w)
        return dict(self._access.write(levels_w, self._raise_back))

    def _ended(self, key: str, goal_w: float | None, back: Back) -> tuple[CapResult, bool]:
        """What became of putting one limit back; true where nothing of ours is left there."""
        prior, limit_w = self._ours.entries.get(key), limit_of(back)
        if prior is not None and key in self._ours.earlier:
            return of_an_earlier_life(key, prior.found_w, limit_w, prior.written_w if prior.hold else None), True
        if not isinstance(back, Seen):
            fault = back.fault if isinstance(back, HalfDone) else back
            return failed(key, 0.0 if goal_w is None else goal_w, fault, limit_w), prior is None
        if prior is None or goal_w is None:
            in_force_w = back.asked_w if limit_w is None else limit_w
            return result(key, in_force_w, limit_w, Outcome.APPLIED, "nothing of ours to put back"), True
        if same(back.asked_w, goal_w):
            return put_back(key, prior.found_w, goal_w, limit_w), True
        if self._ours.is_ours(key, prior, back.asked_w):
            return not_in_force(key, goal_w, limit_w, "taken by the driver, but not in force"), False
        return conflict(key, goal_w, limit_w), True

    def _risen(self, due: Iterable[str], now_s: float) -> tuple[list[str], dict[str, float]]:
        """Of limits on their way back up: those that are to be put back now, and the next level of the others."""
        ended: list[str] = []
        levels_w: dict[str, float] = {}
        for key in due:
            prior, ended_at_s = self._ours.entries.get(key), self._leases.ended_at_s(key)
            if prior is None or ended_at_s is None:
                ended.append(key)
                continue
            level_w = self._rises.level_w(
                key, ended_at_s=ended_at_s, now_s=now_s, from_w=prior.written_w, goal_w=self.goal_w(key, prior.found_w)
            )
            if level_w is None:
                ended.append(key)
            elif level_w >= prior.written_w + LEAST_STEP_W:
                levels_w[key] = level_w
        return ended, levels_w

    def _step_up(self, levels_w: Mapping[str, float]) -> tuple[CapResult, ...]:
        """Raise limits on their way back; results only of those where that fails."""
        back: dict[str, Back] = dict(self._access.look(levels_w))
        limits = self._ours.present()
        writing: dict[str, float] = {}
        for key, level_w in levels_w.items():
            seen = back[key]
            if isinstance(seen, Seen) and self._ours.is_ours(key, limits[key], seen.asked_w):
                limits[key] = limits[key]._replace(written_w=level_w, before_w=seen.asked_w)
                writing[key] = level_w
        try:
            self._ours.commit(self._ours.epoch, limits)
        except JournalUnreadable as fault:
            return tuple(failed(key, level_w, fault, limit_of(back[key])) for key, level_w in levels_w.items())
        self._ours.about_to_write(writing)
        back.update(self._raised(writing))
        results = [self._ended(key, level_w, back[key]) for key, level_w in levels_w.items()]
        reached = {done.device_id for done, _ in results if done.outcome is Outcome.APPLIED}
        self._ours.confirm(reached)
        for key in reached & writing.keys():
            self._ours.came(key, writing[key])
        self.drop([done.device_id for done, gone in results if gone and done.device_id not in reached], 0)
        return tuple(done for done, _ in results if done.device_id not in reached)

    def goal_w(self, key: str, found_w: float) -> float:
        """What a restore puts back: the limit found, or the ceiling where that is lower, but no less than the floor."""
        ceiling_w = self._ceilings.of(key)
        if found_w <= ceiling_w:
            return found_w
        floor_w = 0.0 if self._access.unknown([key]) else self._access.ranges[key].min_w
        return min(found_w, max(ceiling_w, floor_w))

    def _to_write(self, key: str, prior: PriorLimit, seen: Back, goal_w: float) -> bool:
        return isinstance(seen, Seen) and seen.asked_w != goal_w and self._ours.is_ours(key, prior, seen.asked_w)

    def drop(self, keys: Collection[str], epoch: int) -> dict[str, JournalUnreadable]:
        """Forget entries. Those of which the journal cannot say so stay due, and are looked at again: why."""
        gone = set(keys)
        limits = {key: prior for key, prior in self._ours.present().items() if key not in gone}
        try:
            left = self._ours.commit_each(epoch, limits)
        except JournalUnreadable as fault:
            left = dict.fromkeys(gone & set(self._ours.entries), fault)
        for key in gone:
            if key in left:
                self._leases.lapse(key)
            else:
                self.end(key)
        return left

    def end(self, key: str) -> None:
        """Nothing of ours is left there."""
        self._leases.end(key)
        self._ours.forget(key)
        self._rises.forget([key])
