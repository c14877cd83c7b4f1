"""The site and what it was told about itself."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The site behind the meter.

    ``meter_id`` is the meter that settles; ``interval_s`` the length of its metered intervals (a divisor of an hour);
    ``import_limit_w`` the most the feed may draw, ``None`` where nobody said.
    """

    site_id: str
    timezone: ZoneInfo
    meter_id: str
    interval_s: int = 300
    import_limit_w: float | None = None
