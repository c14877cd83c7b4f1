"""What is asked and cannot be delivered: into the history of each event, at once and once."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from gateway.domain.overlap import EventKey
from gateway.services.decided import Decided

OVER_FRACTION = 0.01
OVER_FOR = timedelta(seconds=15)
"""A site that is over its target by more than so much, for so long, with nothing left to give, does not come under it
by itself: caps are down within seconds."""


class Shortfalls:
    """Told again only after it was over."""

    def __init__(self, decided: Decided) -> None:
        self._decided = decided
        self._told: dict[str, set[EventKey]] = {}
        self._over_since: datetime | None = None

    def tell(self, keys: Sequence[EventKey], kind: str, short: str | None) -> None:
        """``short`` is what is short in plain words, ``None`` where nothing is (any more)."""
        if short is None:
            self._told.pop(kind, None)
            return
        told = self._told.setdefault(kind, set())
        for key in keys:
            if key not in told:
                told.add(key)
                self._decided.say(key, "shortfall", short)

    def at_the_meter(self, now: datetime, *, site_w: float | None, target_w: float, spent: bool) -> str | None:
        """What the site draws over its target with nothing left to give (``spent``), in words, once that lasts."""
        if site_w is None or not spent or site_w - target_w <= OVER_FRACTION * abs(target_w):
            self._over_since = None
            return None
        self._over_since = self._over_since or now
        if now - self._over_since < OVER_FOR:
            return None
        over_kw = (site_w - target_w) / 1000.0
        return f"the site draws {over_kw:.2f} kW over its target, and no job has anything left to give"
