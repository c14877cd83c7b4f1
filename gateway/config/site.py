"""``[site]``: the site and what stands between the devices and the feed."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from gateway.config.parts import Section, zone
from gateway.config.tree import NodeSettings, site_tree
from gateway.domain.fleet import Site
from gateway.domain.tree import OVERSHOOT_FRACTION, ElectricalTree, Node, NodeKind

SITE_METER_ID = "site"
GENERATOR_METER_ID = "generator"
"""What the record calls the meter at a generator's output."""


class OverheadSettings(Section):
    """``[site.overhead]``: what the site draws beside its devices, for reconciling and, if asked, estimating."""

    min_kw: float = Field(ge=0)
    max_kw: float = Field(ge=0)
    min_fraction: float = Field(default=0.0, ge=0)
    max_fraction: float = Field(default=0.0, ge=0)
    estimate: bool = False
    """Fall back on the sum of the devices and the middle of this where every meter is silent. Such readings are
    suspect: control gets no feedback from them."""


class SupplySettings(Section):
    """What stands between the devices and the grid: limits, and what is drawn beside the devices."""

    import_limit_kw: float | None = Field(default=None, gt=0)
    overhead: OverheadSettings | None = None
    node: tuple[NodeSettings, ...] = ()
    """The electrical tree under the site. A device that no node names hangs on the site."""
    overshoot_fraction: float = Field(default=OVERSHOOT_FRACTION, ge=0, le=0.5)
    """What a device may draw over its cap."""

    def tree_under(self, site_id: str) -> ElectricalTree | None:
        """The electrical tree, ``None`` where nothing has a limit. Raises ``ValueError`` for what is none."""
        root = Node(
            node_id=site_id,
            kind=NodeKind.SITE,
            limit_w=None if self.import_limit_kw is None else self.import_limit_kw * 1000.0,
            overhead_w=0.0 if self.overhead is None else self.overhead.max_kw * 1000.0,
            overhead_fraction=0.0 if self.overhead is None else self.overhead.max_fraction,
        )
        return site_tree(root, self.node, overshoot_fraction=self.overshoot_fraction)


class SiteSettings(SupplySettings):
    """``[site]``."""

    id: str = Field(min_length=1)
    timezone: Annotated[str, AfterValidator(zone)] = "UTC"
    interval_s: Literal[60, 300, 900, 1800, 3600] = 300
    generator_meter: str | None = None
    """Name of the ``[[hardware]]`` meter at the output of a generator behind the site meter, which reads positive."""

    @model_validator(mode="after")
    def _nodes_are_a_tree(self) -> "SiteSettings":
        self.tree()
        return self

    def tree(self) -> ElectricalTree | None:
        """The electrical tree, ``None`` where nothing has a limit. Raises ``ValueError`` for what is none."""
        return self.tree_under(self.id)

    def site(self) -> Site:
        """The domain's word for it."""
        return Site(
            site_id=self.id,
            timezone=ZoneInfo(self.timezone),
            meter_id=SITE_METER_ID,
            interval_s=self.interval_s,
            generator_meter_id=None if self.generator_meter is None else GENERATOR_METER_ID,
            import_limit_w=None if self.import_limit_kw is None else self.import_limit_kw * 1000.0,
            tree=self.tree(),
        )
