"""What we hold back: the entries that the journal has of jobs and nodes, and what is known of each meanwhile."""

from collections.abc import Collection, Iterable, Mapping

from hardware.device import Fault
from hardware.errors import JournalUnreadable
from hardware.job import Asker
from hardware.journal import JournalPort
from hardware.lease import LeaseTable
from hardware.restraints import DRAIN, HOLD, PAUSE, RESTRAINTS, Held, Restraint

SAME_PAUSE_S = 5.0
"""A job that was let go for less than this has not got going: two pauses with less between them count as one."""


class OurRestraints:
    """What of one host's (or scheduler's) jobs and nodes is ours, over its journal and under these leases."""

    def __init__(self, journal: JournalPort, leases: LeaseTable) -> None:
        self._journal = journal
        self._leases = leases
        self.confirmed: set[str] = set()
        """What was seen to be in force."""
        self.since_s: dict[str, float] = {}
        """When each pause began."""
        self._paused_before: dict[str, tuple[float, float]] = {}
        """When the pause before it began and ended."""
        self.again: dict[str, tuple[float, float]] = {}
        """What could not be ended: when it is tried again, and how long was waited for that."""
        self.faults: dict[str, Fault] = {}
        """What is wrong with each job or node."""

    @property
    def epoch(self) -> int:
        """The highest epoch that was heard."""
        return self._journal.state.epoch

    def begin_pause(self, key: str, now_s: float) -> float:
        """When the pause began that is to be in force from now on."""
        began_s, ended_s = self._paused_before.pop(key, (now_s, now_s))
        return self.since_s.setdefault(key, began_s if now_s - ended_s < SAME_PAUSE_S else now_s)

    def forget(self, keys: Collection[str], now_s: float) -> None:
        """These are not ours any more."""
        gone = [Held.of_key(key) for key in keys]
        try:
            self.commit({one: self.of(one) - target_ids(gone, one) for one in RESTRAINTS})
        except JournalUnreadable:
            # They stay due, and are looked at again.
            for key, held in zip(keys, gone, strict=True):
                if held.target_id in self.of(held.restraint()):
                    self._leases.lapse(key)
            return
        for key, held in zip(keys, gone, strict=True):
            self._leases.end(key)
            self.confirmed.discard(key)
            if key in self.since_s:
                self._paused_before[key] = (self.since_s.pop(key), now_s)
            self.again.pop(key, None)
            self.faults.pop(held.target_id, None)

    def commit(self, ours: Mapping[Restraint, frozenset[str]], *, epoch: int | None = None) -> None:
        """Have on disk what is ours by each restraint. Raises ``JournalUnreadable``."""
        self._journal.commit(epoch=epoch, paused=ours[PAUSE], held=ours[HOLD], drained=ours[DRAIN])

    def of(self, restraint: Restraint) -> frozenset[str]:
        """What we hold back so, by the journal."""
        state = self._journal.state
        return {PAUSE: state.paused, HOLD: state.held, DRAIN: state.drained}[restraint]

    def recorded(self) -> list[str]:
        """The keys of all that the journal names. Whose it was is known from the leases; else it is the gateway's."""
        found = []
        for restraint in RESTRAINTS:
            for target_id in sorted(self.of(restraint)):
                operators = Held(Asker.OPERATOR, restraint.begins, target_id).key()
                gateways = Held(Asker.GATEWAY, restraint.begins, target_id).key()
                found.append(operators if self._leases.holds(operators) else gateways)
        return found


def target_ids(held: Iterable[Held], restraint: Restraint) -> frozenset[str]:
    """What of these is held back so."""
    return frozenset(one.target_id for one in held if one.verb is restraint.begins)
