"""``[[hardware]]`` that measures: site meters."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gateway.config.parts import Section


class MeterSettings(Section):
    """What site meters have in common. They are preferred in the order of the file."""

    name: str = Field(min_length=1)
    timeout_s: float = Field(default=0.8, ge=0.05, le=5.0)
    min_kw: float = Field(default=0.0, allow_inf_nan=False)
    max_kw: float | None = Field(default=None, allow_inf_nan=False)
    stale_after_s: float = Field(default=10.0, gt=0, le=300)
    stuck_after_s: float | None = Field(default=None, gt=0)
    """Off by default: a meter that rounds may well show the same power for long."""
    stuck_moved_fraction: float = Field(default=0.05, gt=0, lt=1)
    """It is stuck only where the devices' sum has moved by this share of itself meanwhile."""


class RegisterSettings(Section):
    """A number in a Modbus meter; addresses count from 0. ``scale`` turns it into watts or joules."""

    address: int = Field(ge=0, le=65535)
    kind: Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
    scale: float = Field(default=1.0, allow_inf_nan=False)
    words: Literal["high_first", "low_first"] = "high_first"
    table: Literal["holding", "input"] = "holding"
    exponent_at: int | None = Field(default=None, ge=0, le=65535)


class ModbusSettings(MeterSettings):
    """``[[hardware]]`` of kind ``modbus``: a site meter on Modbus TCP, with a shipped map or registers of its own."""

    kind: Literal["modbus"]
    host: str = Field(min_length=1)
    port: int = Field(default=502, ge=1, le=65535)
    unit_id: int = Field(default=1, ge=0, le=255)
    map: Literal["sunspec-int", "sunspec-float", "eastron-sdm630", "schneider-pm5000"] | None = None
    map_offset: int = Field(default=0, ge=0, le=65535)
    """Where a SunSpec meter's model block starts (the address of its ID register)."""
    power: RegisterSettings | None = None
    energy: RegisterSettings | None = None
    energy_wraps_at: int | None = Field(default=None, gt=1)

    @model_validator(mode="after")
    def _one_map(self) -> "ModbusSettings":
        if (self.map is None) is (self.power is None):
            raise ValueError("give either map (a shipped one) or power (a register)")
        return self


class PrometheusSettings(MeterSettings):
    """``[[hardware]]`` of kind ``prometheus``: metrics pages of exporters (``urls``), or a server (``server``)."""

    kind: Literal["prometheus"]
    urls: tuple[Annotated[str, Field(pattern=r"^https?://")], ...] = ()
    server: str | None = Field(default=None, pattern=r"^https?://")
    metric: str = Field(default="DCGM_FI_DEV_POWER_USAGE", pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")
    labels: dict[str, str] = Field(default_factory=dict)
    scale: float = Field(default=1.0, allow_inf_nan=False)
    expected: int | None = Field(default=None, ge=1)
    """So many series there must be: one fewer is no load that was shed."""
    once_by: str | None = None
    query: str | None = None
    window_s: int = Field(default=60, ge=1, le=300)

    @model_validator(mode="after")
    def _one_way(self) -> "PrometheusSettings":
        if bool(self.urls) is (self.server is not None):
            raise ValueError("give either urls (of exporters) or server (a Prometheus)")
        if self.query is not None and self.server is None:
            raise ValueError("a query needs server")
        return self
