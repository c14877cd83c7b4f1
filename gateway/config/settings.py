"""Settings: one TOML file, ``GRIDGATE_*`` environment variables over it, secret files under both.

``GRIDGATE_GATEWAY__DATABASE`` overrides ``database`` in ``[gateway]``; a file named ``gridgate_gateway__database`` in
``$CREDENTIALS_DIRECTORY`` (as systemd sets it) is read where neither says otherwise.
"""

import os
import tomllib
from collections.abc import Collection, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.config.agents import AgentSettings, AgentsSettings
from gateway.config.connections import ConnectionSettings, VenSettings, VtnSettings
from gateway.config.contracts import ContractSettings
from gateway.config.devices import NvmlSettings, SimulatedSettings
from gateway.config.evidence import ArchiveSettings, EvidenceSettings
from gateway.config.explained import explain
from gateway.config.jobs import ProcessJobSettings, ProcessSettings, SlurmSettings
from gateway.config.meters import MeterSettings, ModbusSettings, PrometheusSettings
from gateway.config.parts import Section, address, known_tariff, room_for_a_socket, rule
from gateway.config.site import SiteSettings
from gateway.config.sites import SitesSettings
from gateway.domain.contract import Program
from gateway.domain.control import ControlSettings as LoopSettings
from gateway.domain.settlement import PLAIN_TARIFF
from gateway.domain.tariff.sheet import find_tariff, shipped_tariffs
from gateway.domain.tariff.terms import Part
from hardware.nats_names import WHAT_A_NAME_IS, is_name


class ConfigError(Exception):
    """The settings cannot be used; the text says where and what to do."""


class GatewaySettings(Section):
    """``[gateway]``: where the record is kept and where the page is served."""

    database: str = "sqlite+aiosqlite:///gridgate.db"
    listen: Annotated[str, AfterValidator(address)] = "127.0.0.1:8080"
    state_dir: Annotated[Path, AfterValidator(room_for_a_socket)] = Path("gridgate-state")
    """Sockets, journals and device state of agents that this gateway starts."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class ProgramSettings(Section):
    """``[[program]]``: what was agreed."""

    id: str = Field(min_length=1)
    levels: dict[int, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    signal: str | None = None
    baseline: Annotated[str, AfterValidator(rule)] = "meter-before-after"
    price_per_kwh: Decimal = Field(default=Decimal(0), ge=0)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    tariff: Annotated[str, AfterValidator(known_tariff)] = PLAIN_TARIFF
    """The sheet that prices a delivery; see ``gridgate tariff list``."""
    agreed: dict[Part, Annotated[Decimal, Field(ge=0)]] = Field(default_factory=dict)
    """What the contract pays for parts of the tariff other than energy, such as ``{ capacity = "4.50" }``."""
    dispute_days: float = Field(default=60.0, ge=0, le=3660)
    """So long after a statement was issued it may be disputed."""
    stacks: bool = False
    """Its reductions come on top of those of other programs that stack, too."""
    verification: Literal["meter", "sites"] = "meter"
    """By our meter and ``baseline``, or as the sum of what the sites below have verified."""
    sites_patience_s: float = Field(default=900.0, ge=0, le=7 * 86400)
    """So long after an event sites may take to settle it; what is missing then is named on the statement."""
    mandatory: bool = False
    """Its events cannot be opted out of."""
    capacity_kw: float | None = Field(default=None, gt=0)
    """What a fraction of the site's capacity is of; the site's ``import_limit_kw`` where it is not given."""
    declared_kw: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """The level declared to the program, for a ``baseline`` that holds the meter against one."""
    contract: ContractSettings | None = None
    """When and how often it may call. A call outside is opted out of, unless the program is mandatory."""

    @model_validator(mode="after")
    def _in_one_currency(self) -> Self:
        found = find_tariff(shipped_tariffs(), self.tariff)
        if found.currency not in {"agreed", self.currency}:
            raise ValueError(f'tariff {self.tariff} is in {found.currency}: give currency = "{found.currency}"')
        if Part.ENERGY in self.agreed:
            raise ValueError("agreed: the price of energy is price_per_kwh")
        return self

    def program(self, capacity_kw: float | None) -> Program:
        """The domain's word for it; ``capacity_kw`` is the site's own."""
        capacity_kw = self.capacity_kw or capacity_kw
        return Program(
            program_id=self.id,
            levels=self.levels,
            signal=self.signal,
            baseline_rule=self.baseline,
            price_per_kwh=self.price_per_kwh,
            currency=self.currency,
            tariff=self.tariff,
            agreed=self.agreed,
            dispute_days=self.dispute_days,
            stacks=self.stacks,
            mandatory=self.mandatory,
            by_sites=self.verification == "sites",
            sites_patience_s=self.sites_patience_s,
            contract=None if self.contract is None else self.contract.contract(),
            declared_w=None if self.declared_kw is None else self.declared_kw * 1000.0,
            capacity_w=None if capacity_kw is None else capacity_kw * 1000.0,
        )


FleetSettings = SimulatedSettings | NvmlSettings
HardwareSettings = Annotated[
    SimulatedSettings
    | NvmlSettings
    | AgentsSettings
    | ModbusSettings
    | PrometheusSettings
    | ProcessSettings
    | SlurmSettings
    | SitesSettings,
    Field(discriminator="kind"),
]


class ControlSettings(Section):
    """``[control]``: the loop that holds the site at its target."""

    lease_s: float = Field(default=15.0, ge=3.0, le=300.0)
    """A cap that is not renewed for so long is restored by its host."""
    meter_averaged_s: float = Field(default=1.0, gt=0, le=10.0)
    """How long a mean the site meter shows. Where it is over a few seconds the site swings, unless the loop knows."""
    learn_curves: bool = False
    """Learn the jobs' power curves from what their devices draw, from the declared ones on."""

    def loop(self) -> LoopSettings:
        """The domain's figures of the loop."""
        return LoopSettings(averaged_s=self.meter_averaged_s)


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
    agent: AgentSettings = AgentSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    archive: ArchiveSettings | None = None

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
            ("[[hardware]] name", [one.name for one in (*self._all_meters, *self.slurms)]),
            ("[[hardware.job]] id", [job.id for job in self.process_jobs]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is used twice; give each its own")
        if self.site.generator_meter is not None and self.generator_meter is None:
            raise ValueError(
                f"[site] generator_meter {self.site.generator_meter!r} names no [[hardware]] that is a meter"
            )
        if len(self.fleets) > 1:
            raise ValueError("one [[hardware]] section with devices is supported; put all hosts into it")
        sites = [one for one in self.hardware if isinstance(one, SitesSettings)]
        if sites and (len(sites) > 1 or self.of_this_host or self.agents is not None):
            raise ValueError('[[hardware]] of kind "sites" stands alone: other devices are those sites\' own')
        named = {one.connection for section in sites for one in section.site} - {one.name for one in self.vtns}
        if named:
            raise ValueError(f'[[hardware.site]] connection {min(named)!r} names no [[connection]] of role "vtn"')
        self._sites_can_verify({one.connection for section in sites for one in section.site})
        agents = [one for one in self.hardware if isinstance(one, AgentsSettings)]
        if len(agents) > 1:
            raise ValueError('one [[hardware]] section of kind "agents" is supported; it has all servers')
        if agents and not is_name(self.site.id):
            raise ValueError(f"[site] id {self.site.id!r} cannot name a fleet: with agents it is {WHAT_A_NAME_IS}")
        return self

    def _sites_can_verify(self, below: Collection[str]) -> None:
        """Raises ``ValueError`` where a program rests on reports that nobody is asked for."""
        resting = next((one.id for one in self.program if one.verification == "sites"), None)
        if resting is None:
            return
        if not below:
            raise ValueError(f'[[program]] {resting!r} is verified by sites: that wants [[hardware]] of kind "sites"')
        for vtn in self.vtns:
            if vtn.name in below and vtn.verified_s is None:
                raise ValueError(
                    f"[[program]] {resting!r} is verified by sites: give [[connection]] {vtn.name!r} a verified_s"
                )

    @property
    def vens(self) -> tuple[VenSettings, ...]:
        """Where we are asked."""
        return tuple(one for one in self.connection if isinstance(one, VenSettings))

    @property
    def vtns(self) -> tuple[VtnSettings, ...]:
        """Where we ask."""
        return tuple(one for one in self.connection if isinstance(one, VtnSettings))

    @property
    def fleets(self) -> tuple[FleetSettings, ...]:
        """What has devices."""
        return tuple(one for one in self.hardware if isinstance(one, FleetSettings))

    @property
    def of_this_host(self) -> bool:
        """Whether anything is declared that an agent of this very host has to do with."""
        return bool(self.fleets or self.process_jobs or self.slurms)

    @property
    def has_devices(self) -> bool:
        """Whether anything is declared that can be capped. A utility's VTN has nothing of its own."""
        return bool(self.of_this_host or self.agents or self.sites)

    @property
    def agents(self) -> AgentsSettings | None:
        """The hosts elsewhere, where there are any."""
        return next((one for one in self.hardware if isinstance(one, AgentsSettings)), None)

    @property
    def sites(self) -> SitesSettings | None:
        """The sites below us, where there are any."""
        return next((one for one in self.hardware if isinstance(one, SitesSettings)), None)

    @property
    def process_jobs(self) -> tuple[ProcessJobSettings, ...]:
        """The jobs of this host that are plain processes."""
        return tuple(job for one in self.hardware if isinstance(one, ProcessSettings) for job in one.job)

    @property
    def slurms(self) -> tuple[SlurmSettings, ...]:
        """The Slurm clusters that the agent of this host acts on."""
        return tuple(one for one in self.hardware if isinstance(one, SlurmSettings))

    @property
    def meters(self) -> tuple[ModbusSettings | PrometheusSettings, ...]:
        """The site meters in the order of preference."""
        return tuple(one for one in self._all_meters if one.name != self.site.generator_meter)

    @property
    def generator_meter(self) -> ModbusSettings | PrometheusSettings | None:
        """The meter at the output of a generator behind the site meter, where there is one."""
        return next((one for one in self._all_meters if one.name == self.site.generator_meter), None)

    @property
    def _all_meters(self) -> tuple[ModbusSettings | PrometheusSettings, ...]:
        return tuple(one for one in self.hardware if isinstance(one, MeterSettings))

    def programs(self) -> Mapping[str, Program]:
        """The declared programs by id."""
        return {program.id: program.program(self.site.import_limit_kw) for program in self.program}


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
        raise ConfigError("\n".join(f"{source}: {explain(error, Settings)}" for error in cause.errors())) from cause
