"""Settings: one TOML file, ``GRIDGATE_*`` environment variables over it, secret files under both.

``GRIDGATE_GATEWAY__DATABASE`` overrides ``database`` in ``[gateway]``; a file named ``gridgate_gateway__database`` in
``$CREDENTIALS_DIRECTORY`` (as systemd sets it) is read where neither says otherwise.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.contract import Program
from gateway.domain.fleet import Site

SITE_METER_ID = "site"


LONGEST_STATE_DIR_BYTES = 92
"""The path of a local socket has 104 bytes on macOS and 108 on Linux, its end included; ours is ``agent.sock``."""


class ConfigError(Exception):
    """The settings cannot be used; the text says where and what to do."""


def _zone(key: str) -> str:
    try:
        ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError, OSError) as cause:
        raise ValueError(f"no time zone is called {key!r}; use a name such as America/Phoenix or UTC") from cause
    return key


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not host:port, such as 127.0.0.1:8080")
    return text


def _room_for_a_socket(path: Path) -> Path:
    if len(os.fsencode(path)) > LONGEST_STATE_DIR_BYTES:
        raise ValueError(
            f"{path} is longer than the {LONGEST_STATE_DIR_BYTES} bytes that leave room for a local socket;"
            " use a shorter path, such as /var/lib/gridgate"
        )
    return path


def _rule(rule_id: str) -> str:
    rules = list(shipped_rules())
    if rule_id not in rules:
        raise ValueError(f"no baseline rule is called {rule_id!r}; known: {', '.join(rules)}")
    return rule_id


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GatewaySettings(_Section):
    """``[gateway]``: where the record is kept and where the page is served."""

    database: str = "sqlite+aiosqlite:///gridgate.db"
    listen: Annotated[str, AfterValidator(_address)] = "127.0.0.1:8080"
    state_dir: Annotated[Path, AfterValidator(_room_for_a_socket)] = Path("gridgate-state")
    """Sockets, journals and device state of agents that this gateway starts."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class OverheadSettings(_Section):
    """``[site.overhead]``: what the site draws beside its devices, for reconciling and, if asked, estimating."""

    min_kw: float = Field(ge=0)
    max_kw: float = Field(ge=0)
    min_fraction: float = Field(default=0.0, ge=0)
    max_fraction: float = Field(default=0.0, ge=0)
    estimate: bool = False
    """Fall back on the sum of the devices and the middle of this where every meter is silent. Such readings are
    suspect: control gets no feedback from them."""


class SiteSettings(_Section):
    """``[site]``."""

    id: str = Field(min_length=1)
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
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


class ConnectionSettings(_Section):
    """``[[connection]]``: one counterparty."""

    kind: Literal["openadr2b"]
    role: Literal["ven"] = "ven"
    url: str = Field(pattern=r"^https?://")
    name: str = Field(min_length=1)
    poll_s: float = Field(default=10.0, ge=0.1, le=3600)


class ProgramSettings(_Section):
    """``[[program]]``: what was agreed."""

    id: str = Field(min_length=1)
    levels: dict[int, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    signal: str | None = None
    baseline: Annotated[str, AfterValidator(_rule)] = "meter-before-after"
    price_per_kwh: Decimal = Field(default=Decimal(0), ge=0)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")

    def program(self) -> Program:
        """The domain's word for it."""
        return Program(
            program_id=self.id,
            levels=self.levels,
            signal=self.signal,
            baseline_rule=self.baseline,
            price_per_kwh=self.price_per_kwh,
            currency=self.currency,
        )


class SimulatedSettings(_Section):
    """``[[hardware]]`` of kind ``simulated``: a fleet, reached through an agent process on a local socket."""

    kind: Literal["simulated"]
    hosts: int = Field(default=4, ge=1, le=4096)
    devices_per_host: int = Field(default=8, ge=1, le=64)
    seed: int = 1


class NvmlSettings(_Section):
    """``[[hardware]]`` of kind ``nvml``: the NVIDIA GPUs of this host, found by themselves, behind the same agent."""

    kind: Literal["nvml"]


class MeterSettings(_Section):
    """What site meters have in common. They are preferred in the order of the file."""

    name: str = Field(min_length=1)
    timeout_s: float = Field(default=0.8, ge=0.05, le=5.0)
    min_kw: float = Field(default=0.0, allow_inf_nan=False)
    max_kw: float | None = Field(default=None, allow_inf_nan=False)
    stale_after_s: float = Field(default=10.0, gt=0, le=300)
    stuck_after_s: float | None = Field(default=None, gt=0)
    """Off by default: a meter that rounds may well show the same power for long."""


class RegisterSettings(_Section):
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


FleetSettings = SimulatedSettings | NvmlSettings
HardwareSettings = Annotated[
    SimulatedSettings | NvmlSettings | ModbusSettings | PrometheusSettings, Field(discriminator="kind")
]


class ControlSettings(_Section):
    """``[control]``: the loop that holds the site at its target."""

    lease_s: float = Field(default=15.0, ge=3.0, le=300.0)
    """A cap that is not renewed for so long is restored by its host."""


class Settings(BaseSettings):
    """All of it."""

    model_config = SettingsConfigDict(
        env_prefix="GRIDGATE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        secrets_dir=os.environ.get("CREDENTIALS_DIRECTORY"),
    )

    gateway: GatewaySettings = GatewaySettings()
    site: SiteSettings
    connection: tuple[ConnectionSettings, ...] = ()
    program: tuple[ProgramSettings, ...] = ()
    hardware: tuple[HardwareSettings, ...] = ()
    control: ControlSettings = ControlSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file over secrets."""
        return env_settings, init_settings, file_secret_settings

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Settings":
        for what, names in (
            ("[[connection]] name", [connection.name for connection in self.connection]),
            ("[[program]] id", [program.id for program in self.program]),
            ("[[hardware]] name", [meter.name for meter in self.meters]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is used twice; give each its own")
        if len(self.fleets) > 1:
            raise ValueError("one [[hardware]] section with devices is supported; put all hosts into it")
        return self

    @property
    def fleets(self) -> tuple[FleetSettings, ...]:
        """What has devices."""
        return tuple(one for one in self.hardware if isinstance(one, FleetSettings))

    @property
    def meters(self) -> tuple[ModbusSettings | PrometheusSettings, ...]:
        """The site meters in the order of preference."""
        return tuple(one for one in self.hardware if isinstance(one, MeterSettings))

    def programs(self) -> Mapping[str, Program]:
        """The declared programs by id."""
        return {program.id: program.program() for program in self.program}


def load_config(path: Path) -> Settings:
    """Read, merge and check the settings. Raises ``ConfigError`` with one line for each thing that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as cause:
        raise ConfigError(f"cannot read {path}: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise ConfigError(f"cannot read {path}: it is not text in UTF-8") from cause
    try:
        declared = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise ConfigError(f"{path} is not TOML: {cause}") from cause
    return settings_from(declared, source=str(path))


def settings_from(declared: Mapping[str, Any], *, source: str) -> Settings:
    """Check settings that were already read. Raises ``ConfigError``."""
    try:
        return Settings(**declared)
    except ValidationError as cause:
        raise ConfigError("\n".join(f"{source}: {_explain(error)}" for error in cause.errors())) from cause


def _explain(error: Any) -> str:
    """One error of pydantic's in plain words, naming the nearest known key where a key is unknown."""
    place: Sequence[str | int] = error["loc"]
    where = ".".join(str(part) for part in place) or "settings"
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg'].removeprefix('Value error, ')}"
    known = sorted(_fields_at(place[:-1]))
    nearest = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.0)
    return f"{where}: unknown key; did you mean {nearest[0]!r}? Known here: {', '.join(known)}"


def _fields_at(place: Sequence[str | int]) -> Sequence[str]:
    """Names of the keys that are known at a place in the settings."""
    models: list[type[BaseModel]] = [Settings]
    for part in place:
        if isinstance(part, int):
            continue
        if part in models[0].model_fields:
            models = list(_models_in(models[0].model_fields[part].annotation))
        else:
            # Pydantic names the kind that was chosen among several.
            models = [model for model in models if part in get_args(model.model_fields["kind"].annotation)]
    return list(models[0].model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
