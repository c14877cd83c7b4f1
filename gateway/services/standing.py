"""How the site stands, for reports of its state: put together from what dispatch and capability know."""

from collections.abc import Callable
from datetime import datetime

from gateway.domain.capability import Capability
from gateway.domain.fleet import Site
from gateway.ledger import Ledger
from gateway.services.dispatch import Dispatch
from protocols.grid_report import ResourceState


class Standing:
    """Answers from memory. ``capability`` is the latest, ``None`` before there is one."""

    def __init__(
        self,
        *,
        site: Site,
        ledger: Ledger,
        dispatch: Dispatch,
        capability: Callable[[], Capability | None],
        now: Callable[[], datetime],
    ) -> None:
        self._site = site
        self._ledger = ledger
        self._dispatch = dispatch
        self._capability = capability
        self._now = now

    def state(self) -> ResourceState:
        """The site as a resource. How low it can go is what is expected to be held for the shortest time."""
        reading = self._ledger.latest_readings().get(self._site.meter_id)
        power_w = None if reading is None else reading.power_w
        available_w = self.available_w()
        return ResourceState(
            online=True,
            overridden=self._dispatch.overridden_at(self._now()),
            curtailed=self._dispatch.holds,
            power_w=power_w,
            normal_w=None if self._dispatch.holds else power_w,
            lowest_w=None if power_w is None or available_w is None else max(0.0, power_w - available_w),
            highest_w=self._site.import_limit_w,
        )

    def available_w(self) -> float | None:
        """By how much consumption could go down now, as expected, for the shortest time that is looked at."""
        capability = self._capability()
        return capability.held[0].expected_w if capability is not None and capability.held else None

    def available_in(self, start: datetime, end: datetime) -> float | None:
        """By how much it could go down from an instant to another, the least of the hours that are looked at.

        ``None`` where they do not reach so far.
        """
        capability = self._capability()
        rows = () if capability is None else capability.hours
        if not rows or start < rows[0].starts_at or end > rows[-1].ends_at:
            return None
        return min(row.expected_w for row in rows if row.starts_at < end and start < row.ends_at)
