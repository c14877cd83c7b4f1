"""Settings: one TOML file, ``GRIDGATE_*`` environment variables over it, secret files under both.

``GRIDGATE_GATEWAY__DATABASE`` overrides ``database`` in ``[gateway]``; a file named ``gridgate_gateway__database`` in
``$CREDENTIALS_DIRECTORY`` (as systemd sets it) is read where neither says otherwise.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
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


class SiteSettings(_Section):
    """``[site]``."""

    id: str = Field(min_length=1)
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    import_limit_kw: float | None = Field(default=None, gt=0)
    interval_s: Literal[60, 300, 900, 1800, 3600] = 300

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


class HardwareSettings(_Section):
    """``[[hardware]]``: attached hardware, reached through an agent process on a local socket.

    ``nvml`` is the NVIDIA GPUs of this host, found by themselves; the other keys are of ``simulated``.
    """

    kind: Literal["simulated", "nvml"]
    hosts: int = Field(default=4, ge=1, le=4096)
    devices_per_host: int = Field(default=8, ge=1, le=64)
    seed: int = 1

    @model_validator(mode="after")
    def _keys_fit_the_kind(self) -> "HardwareSettings":
        foreign = sorted(self.model_fields_set - {"kind"})
        if self.kind != "simulated" and foreign:
            raise ValueError(
                f'{foreign[0]!r} is of kind "simulated"; GPUs of kind {self.kind!r} are found, not declared'
            )
        return self


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
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is used twice; give each its own")
        if len(self.hardware) > 1:
            raise ValueError("one [[hardware]] section is supported; put all hosts into it")
        return self

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
    model: type[BaseModel] = Settings
    for part in place:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        nested = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        model = next(kind for kind in nested if issubclass(kind, BaseModel))
    return list(model.model_fields)
