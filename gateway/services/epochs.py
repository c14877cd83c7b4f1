"""The epoch of a running gateway: begun anew, above it, where a host comes with a higher one.

Such a host was away at the start, and its journal knows a life of ours that the ledger has forgotten, as after a backup
was restored. Without a new epoch it would refuse us until the next start. What two gateways do that are alive at once
is decided by who began last: the other one sees its hosts taken, says so, and does not begin again by itself.
"""

from collections.abc import Collection
from typing import Protocol

import structlog

from gateway.ledger import Ledger

log = structlog.get_logger()


class Commanded(Protocol):
    """Agents that are commanded in an epoch."""

    @property
    def epoch_to_pass(self) -> int | None:
        """The highest epoch above ours that an agent came with, ``None`` for none or while another gateway is alive."""

    @property
    def taken(self) -> Collection[str]:
        """Agents that another gateway commands now."""

    def begin(self, epoch: int) -> None:
        """From now on we command in this epoch."""


class Epochs:
    """Keeps the epoch above those of all agents."""

    def __init__(self, fleet: Commanded, ledger: Ledger) -> None:
        self._fleet = fleet
        self._ledger = ledger

    async def above_all(self, epoch: int) -> int:
        """The same, or a new one, durable, where an agent came with a higher one. Raises ``LedgerUnavailable``."""
        passed = self._fleet.epoch_to_pass
        if passed is None or passed <= epoch:
            return epoch
        begun = await self._ledger.begin_epoch(above=passed)
        self._fleet.begin(begun)
        log.warning("epoch_begun_anew", epoch=begun, before=epoch, found=passed)
        return begun

    @property
    def trouble(self) -> str | None:
        """In plain words, that another gateway commands agents of ours."""
        taken = sorted(self._fleet.taken)
        if not taken:
            return None
        names = ", ".join(taken[:3]) + (f" and {len(taken) - 3} more" if len(taken) > 3 else "")
        return (
            f"another gateway commands {names}, which refuse us: end one of the two gateways; if this one is to"
            " command, restart it"
        )
