"""``[[hardware]]`` of kind ``sites``: the sites below us, which a VTN of ours limits."""

from typing import Literal

from pydantic import Field, model_validator

from gateway.config.parts import Section


class SiteBelowSettings(Section):
    """``[[hardware.site]]``: one site, by the name under which its gateway registers."""

    party: str = Field(min_length=1)
    connection: str = Field(min_length=1)
    """Name of the ``[[connection]]`` of role ``vtn`` that it registers with."""
    min_kw: float = Field(ge=0, allow_inf_nan=False)
    """Under this no limit goes: what it needs to keep its own promises."""
    max_kw: float = Field(gt=0, allow_inf_nan=False)
    """The most that it draws: with this it counts while it is silent and nothing else is known."""

    @model_validator(mode="after")
    def _least_is_less(self) -> "SiteBelowSettings":
        if self.min_kw >= self.max_kw:
            raise ValueError(f"min_kw {self.min_kw:g} is not under max_kw {self.max_kw:g}")
        return self


class SitesSettings(Section):
    """Each site is a device to plans and control: its reports are its meter, a limit on its import is its cap."""

    kind: Literal["sites"]
    program: str = Field(min_length=1)
    """Program under which they are limited, as they know it."""
    hold_s: float = Field(default=300.0, ge=30, le=3600)
    """A limit ends by itself so long after its last renewal: a site that loses us is free again by then."""
    least_gap_s: float = Field(default=5.0, ge=0, le=300)
    """No site gets a new limit within so long of the last, unless it is a renewal."""
    silent_after_s: float = Field(default=30.0, ge=2, le=3600)
    """A site that has reported nothing for so long counts with what it usually draws, and is not asked for more."""
    site: tuple[SiteBelowSettings, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> "SitesSettings":
        names = [one.party for one in self.site]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"party {twice[0]!r} is declared twice")
        return self
