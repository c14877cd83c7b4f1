"""``[site]``: the site and what stands between the devices and the feed."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from gateway.config.parts import Section, zone
from gateway.domain.fleet import Site

SITE_METER_ID = "site"


class OverheadSettings(Section):
    """``[site.overhead]``: what the site draws beside its devices, for reconciling and, if asked, estimating."""

    min_kw: float = Field(ge=0)
    max_kw: float = Field(ge=0)
    min_fraction: float = Field(default=0.0, ge=0)
    max_fraction: float = Field(default=0.0, ge=0)
    estimate: bool = False
    """Fall back on the sum of the devices and the middle of this where every meter is silent. Such readings are
    suspect: control gets no feedback from them."""


class SiteSettings(Section):
    """``[site]``."""

    id: str = Field(min_length=1)
    timezone: Annotated[str, AfterValidator(zone)] = "UTC"
    import_limit_kw: float | None = Field(default=None, gt=0)
    interval_s: Literal[60, 300, 900, 1800, 3600] = 300
    overhead: OverheadSettings | None = None

    def site(self) -> Site:
        """The domain's word for it."""
        return Site(
            site_id=self.id,
            timezone=ZoneInfo(self.timezone),
            meter_id=SITE_METER_ID,
            interval_s=self.interval_s,
            import_limit_w=None if self.import_limit_kw is None else self.import_limit_kw * 1000.0,
        )
