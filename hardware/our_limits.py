"""Whose a limit is: the entries that the journal has, and whether what a device shows is our last write."""

from collections.abc import Iterable, Mapping

from hardware.errors import JournalUnreadable
from hardware.journal import JournalPort, PriorLimit
from hardware.limit_access import same


class OurLimits:
    """The limits of one host that are ours, over its journal."""

    def __init__(self, journal: JournalPort) -> None:
        self._journal = journal
        self._confirmed: set[str] = set()
        self._late_w: dict[str, set[float]] = {}
        """What was being put back: a write that was given up may be carried out yet, and is ours then, too."""
        self.earlier: frozenset[str] = frozenset()
        """Entries of the journal from before the machine was restarted: to be dropped, never to be followed."""

    @property
    def entries(self) -> Mapping[str, PriorLimit]:
        """What the journal has, by device."""
        return self._journal.state.limits

    @property
    def epoch(self) -> int:
        """The highest epoch that was heard."""
        return self._journal.state.epoch

    def from_before_restart(self) -> frozenset[str]:
        """Find which entries of the (opened) journal are from before the machine was restarted."""
        state = self._journal.state
        if state.boot_id and self._journal.boot_id and state.boot_id != self._journal.boot_id:
            self.earlier = frozenset(state.limits)
        return self.earlier

    def confirm(self, keys: Iterable[str]) -> None:
        """Our last write was read back there."""
        self._confirmed.update(keys)

    def about_to_write(self, keys: Iterable[str]) -> None:
        """The read-back of these decides from here on what counts as ours."""
        self._confirmed.difference_update(keys)

    def remember_raise(self, levels_w: Mapping[str, float]) -> None:
        """Remember what limits are raised to: it may come after an answer that says it failed."""
        for key, level_w in levels_w.items():
            self._late_w.setdefault(key, set()).add(level_w)

    def came(self, key: str, level_w: float) -> None:
        """What came in time does not come late. Somebody else may set this very limit one day."""
        self._late_w[key].discard(level_w)

    def forget(self, key: str) -> None:
        """Nothing of ours is left there."""
        self._confirmed.discard(key)
        self._late_w.pop(key, None)

    def is_ours(self, key: str, prior: PriorLimit, asked_w: float) -> bool:
        """Whether the limit that a device was asked for last is our write."""
        if asked_w == prior.written_w or same(asked_w, prior.written_w):
            return True
        if key not in self._confirmed and same(asked_w, prior.before_w):
            return True
        return any(same(asked_w, late_w) for late_w in self._late_w.get(key, ()))

    def present(self) -> dict[str, PriorLimit]:
        """A copy of the journal's entries, without those from before the machine was restarted."""
        limits = self.entries
        return {key: limits[key] for key in limits if key not in self.earlier} if self.earlier else dict(limits)

    def commit(self, epoch: int, limits: Mapping[str, PriorLimit]) -> None:
        """Have these on disk, and no others. Raises ``JournalUnreadable``."""
        self._journal.commit(epoch=max(epoch, self._journal.state.epoch), limits=limits)
        self.earlier = frozenset()

    def commit_each(self, epoch: int, limits: dict[str, PriorLimit]) -> dict[str, JournalUnreadable]:
        """Commit what the journal takes, and say what it does not take of single devices: that stays as it was.

        Raises ``JournalUnreadable`` where it takes nothing at all.
        """
        left_out: dict[str, JournalUnreadable] = {}
        while True:
            try:
                self.commit(epoch, limits)
            except JournalUnreadable as fault:
                key = fault.device_id
                if key is None or key in left_out:
                    raise
                left_out[key] = fault
                limits.pop(key, None)
                if key in self.entries:
                    limits[key] = self.entries[key]
            else:
                return left_out
