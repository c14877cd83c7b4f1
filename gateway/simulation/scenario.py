"""Scenario files: a fleet, its jobs, what the grid asks, and what goes wrong, in TOML."""

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, Field, ValidationError, model_validator

from gateway.config.contracts import ContractSettings
from gateway.config.explained import explain
from gateway.config.meters import MeterSettings
from gateway.config.parts import Section, rule, zone
from gateway.config.site import SupplySettings
from gateway.domain.tree import ElectricalTree
from hardware.job_terms import MIN_THROUGHPUT
from hardware.workloads import WORKLOADS, SimulatedJob

Name = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(gt=0, le=1)]


SITE_ID = "simulated-site"

FIRST_S = 10.0
"""No event begins sooner: it would have nothing to be measured from."""


class ScenarioError(Exception):
    """The scenario cannot be played; the text says where and why."""


def _workload(name: str) -> str:
    if name not in WORKLOADS:
        raise ValueError(f"no workload is called {name!r}; known: {', '.join(sorted(WORKLOADS))}")
    return name


def _tier(name: str) -> str:
    if name not in MIN_THROUGHPUT:
        raise ValueError(f"no tier is called {name!r}; known: {', '.join(MIN_THROUGHPUT)}")
    return name


class JobPart(Section):
    """``[[fleet.job]]``: a job on the next free devices. ``burst_fraction`` over 0 makes its load a bursty one."""

    id: Name
    workload: Annotated[str, AfterValidator(_workload)]
    tier: Annotated[str, AfterValidator(_tier)]
    devices: int = Field(ge=1)
    weight: float = Field(default=1.0, gt=0)
    max_pause_s: float = Field(default=0.0, ge=0)
    burst_fraction: float = Field(default=0.0, ge=0, lt=1)
    burst_s: float = Field(default=60.0, ge=10)

    def job(self) -> SimulatedJob:
        """The simulated fleet's word for it."""
        return SimulatedJob(
            job_id=self.id,
            workload=self.workload,
            tier=self.tier,
            devices=self.devices,
            weight=self.weight,
            max_pause_s=self.max_pause_s,
            burst_fraction=self.burst_fraction,
            burst_s=self.burst_s,
        )


class FleetPart(Section):
    """``[fleet]``. Devices without a job stay idle."""

    hosts: int = Field(ge=1, le=1024)
    devices_per_host: int = Field(default=8, ge=1, le=64)
    job: tuple[JobPart, ...]

    @property
    def host_ids(self) -> tuple[str, ...]:
        """As the simulated fleet names them."""
        return tuple(f"h{host:02d}" for host in range(self.hosts))

    def host_of_device(self) -> dict[str, str]:
        """As the simulated fleet names them."""
        return {f"{host}-d{slot}": host for host in self.host_ids for slot in range(self.devices_per_host)}

    @model_validator(mode="after")
    def _jobs_fit(self) -> "FleetPart":
        if not self.job:
            raise ValueError("it needs a job")
        there, asked = self.hosts * self.devices_per_host, sum(job.devices for job in self.job)
        if asked > there:
            raise ValueError(f"its jobs ask for {asked} devices, and it has {there}")
        _unique("job id", [job.id for job in self.job])
        return self


class ProgramPart(Section):
    """``[program]``: what settles the events and what is paid.

    The site has no past before the scenario: of the rules, those that look at days before have nothing to stand on.
    """

    baseline: Annotated[str, AfterValidator(rule)] = "meter-before-after"
    price_per_kwh: Decimal = Field(default=Decimal(0), ge=0)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    contract: ContractSettings | None = None
    """``[program.contract]`` as the config file has it. A call outside of it is refused, as it would be."""


class RegulationPart(Section):
    """``[event.regulation]``: a made-up fast signal around a basepoint, both shares of the mean power before it."""

    basepoint_fraction: Share
    amplitude_fraction: Share
    """Of the basepoint: the signal goes from one less this to one more this of it."""
    step_s: float = Field(default=4.0, ge=1)
    seed: int = 1


class EventPart(Section):
    """``[[event]]``: what the grid asks, and from when on it can be heard.

    ``values`` are pairs of seconds and a value: a fraction of the live baseline, or kilowatts. ``received_s`` is when
    the utility publishes it (default: at the start), ``cancelled_s`` when it cancels it. ``day`` counts from 0, for all
    three. ``times`` and ``every_s`` repeat it.
    """

    id: Name
    kind: Literal["fraction", "adjust", "limit", "setpoint", "regulation"] = "fraction"
    day: int = Field(default=0, ge=0)
    starts_s: float = Field(ge=0)
    received_s: float | None = Field(default=None, ge=0)
    cancelled_s: float | None = Field(default=None, ge=0)
    duration_s: float = Field(gt=0)
    ramp_s: float = 0.0
    """Negative ends at the start, positive begins there (``x-eiRampUp``)."""
    recovery_s: float = 0.0
    """Negative ends at the event's end, positive begins there (``x-eiRecovery``)."""
    values: tuple[tuple[float, float], ...] = ()
    regulation: RegulationPart | None = None
    times: int = Field(default=1, ge=1)
    every_s: float = Field(default=86400.0, gt=0)

    @model_validator(mode="after")
    def _asks_for_something(self) -> "EventPart":
        if (self.kind == "regulation") != (self.regulation is not None):
            raise ValueError('kind = "regulation" and a table [event.regulation] go together')
        if self.regulation is None and not self.values:
            raise ValueError("values are missing: pairs of seconds and a value")
        if sum(seconds for seconds, _ in self.values) > self.duration_s:
            raise ValueError("values last longer than the event")
        if self.duration_s <= max(0.0, self.ramp_s) + max(0.0, -self.recovery_s):
            raise ValueError("its ramp and recovery leave no time to hold anything")
        if self.starts_s + min(0.0, self.ramp_s) < FIRST_S:
            raise ValueError(f"its ramp or start comes sooner than {FIRST_S:g} s: there is nothing to measure it from")
        if self.received_s is not None and self.received_s > self.starts_s + min(0.0, self.ramp_s):
            raise ValueError("it would be received after its ramp or start")
        received_s = self.starts_s if self.received_s is None else self.received_s
        if self.cancelled_s is not None and not received_s < self.cancelled_s < self.starts_s + self.duration_s:
            raise ValueError("it is cancelled between its receipt and its end")
        return self


Fault = Literal[
    "hosts_lost", "hosts_silent", "meter_silent", "meter_stuck", "meter_wrong", "meter_jumps", "gateway_killed"
]


class FaultPart(Section):
    """``[[fault]]``: what goes wrong at ``at_s``, for ``lasts_s`` (for good where none is given).

    ``hosts_lost`` takes the first ``share`` of the hosts, rounded up. A gateway that is killed leaves everything as it
    is; ``lasts_s`` later another is started on the same record. ``hosts_silent`` has the last ``share`` of the
    hosts, rounded up, go on as they are without an answer to anything.

    The site's meter may be silent, stuck at what it showed last, wrong (all that it shows is ``factor`` of the truth),
    or jump (one reading in ``every_s`` is ``factor`` of the truth). It lies to the gateway alone.
    """

    what: Fault
    at_s: float = Field(ge=0)
    lasts_s: float | None = Field(default=None, gt=0)
    share: Share = 0.05
    factor: float | None = Field(default=None, ge=0)
    """Default: 0.7 of a meter that is wrong, 10 of one that jumps."""
    every_s: float = Field(default=20.0, ge=2)

    @property
    def size(self) -> float:
        """What the meter shows, as a share of the truth."""
        if self.factor is not None:
            return self.factor
        return 10.0 if self.what == "meter_jumps" else 0.7

    @property
    def of_the_meter(self) -> bool:
        """Whether it is the site's meter that goes wrong."""
        return self.what.startswith("meter_")

    @model_validator(mode="after")
    def _a_gateway_comes_back(self) -> "FaultPart":
        if self.what == "gateway_killed" and self.lasts_s is None:
            raise ValueError("a gateway that is killed needs lasts_s: how long until it is started again")
        return self


class Stretch(Section):
    """A part of the scenario that is played through, in seconds after its start."""

    from_s: float
    to_s: float


class Scenario(Section):
    """All of it. ``around_events_s`` plays only so much before and after each event, and skips the time between."""

    name: str = ""
    title: str = ""
    seed: int = Field(default=1, ge=0)
    extra_seeds: tuple[Annotated[int, Field(ge=0)], ...] = ()
    starts_at: AwareDatetime
    timezone: Annotated[str, AfterValidator(zone)] = "UTC"
    duration_s: float = Field(gt=0)
    around_events_s: tuple[float, float] | None = None
    interval_s: Literal[60, 300, 900] = 300
    site: SupplySettings = SupplySettings()
    """``[site]`` as the config file has it: the electrical tree, and what is drawn beside the devices."""
    meter: MeterSettings = MeterSettings(name="site meter")
    """``[meter]``: what is believed of the site's meter, as of one in ``[[hardware]]``."""
    fleet: FleetPart
    program: ProgramPart = ProgramPart()
    event: tuple[EventPart, ...] = ()
    fault: tuple[FaultPart, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> "Scenario":
        _unique("event id", [event.id for event in self.event])
        for event in self.event:
            last_s = event.day * 86400.0 + event.starts_s + (event.times - 1) * event.every_s
            if last_s + event.duration_s + max(0.0, event.recovery_s) > self.duration_s:
                raise ValueError(f"event {event.id!r} is not over by duration_s = {self.duration_s:g}")
        late = [fault.what for fault in self.fault if fault.at_s >= self.duration_s]
        if late:
            raise ValueError(f"fault {late[0]!r} comes after duration_s = {self.duration_s:g}")
        if self.around_events_s is not None and min(self.around_events_s[0] - FIRST_S, self.around_events_s[1]) < 0.0:
            raise ValueError(f"around_events_s is at least {FIRST_S:g} before an event, and 0 after it")
        if self.starts_at.microsecond:
            raise ValueError("starts_at is a whole second")
        tree = self.tree()
        unknown = () if tree is None else tree.unknown_names(self.fleet.host_of_device())
        if unknown:
            raise ValueError(f"site: the fleet has no {', '.join(unknown[:3])}; its hosts are h00, h01 and so on")
        return self

    def tree(self) -> ElectricalTree | None:
        """The site's electrical tree, ``None`` where nothing has a limit."""
        return self.site.tree_under(SITE_ID)

    @property
    def zero(self) -> datetime:
        """When it begins, in UTC."""
        return self.starts_at.astimezone(UTC)

    @property
    def zone(self) -> ZoneInfo:
        """The site's."""
        return ZoneInfo(self.timezone)

    def events(self) -> tuple[EventPart, ...]:
        """Each event by itself, in order of the time it is published, with ``starts_s`` from the scenario's start."""
        found: list[EventPart] = []
        for event in self.event:
            for turn in range(event.times):
                later_s = event.day * 86400.0 + turn * event.every_s
                received_s = event.starts_s if event.received_s is None else event.received_s
                found.append(
                    event.model_copy(
                        update={
                            "id": event.id if event.times == 1 else f"{event.id}-{turn + 1:02d}",
                            "day": 0,
                            "times": 1,
                            "starts_s": event.starts_s + later_s,
                            "received_s": received_s + later_s,
                            "cancelled_s": None if event.cancelled_s is None else event.cancelled_s + later_s,
                        }
                    )
                )
        return tuple(sorted(found, key=lambda event: (event.received_s, event.id)))

    def stretches(self) -> tuple[Stretch, ...]:
        """What is played through: all of it, or the time around events."""
        events = self.events()
        if self.around_events_s is None or not events:
            return (Stretch(from_s=0.0, to_s=self.duration_s),)
        before_s, after_s = self.around_events_s
        wanted = sorted(
            (
                max(0.0, min(event.received_s or 0.0, event.starts_s + min(0.0, event.ramp_s)) - before_s),
                min(self.duration_s, event.starts_s + event.duration_s + max(0.0, event.recovery_s) + after_s),
            )
            for event in events
        )
        joined = [wanted[0]]
        for from_s, to_s in wanted[1:]:
            if from_s <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], to_s))
            else:
                joined.append((from_s, to_s))
        return tuple(Stretch(from_s=float(int(from_s)), to_s=to_s) for from_s, to_s in joined)

    def at(self, time_s: float) -> datetime:
        """The instant so many seconds after the start."""
        return self.zero + timedelta(seconds=time_s)


def _unique(what: str, names: list[str]) -> None:
    for one, following in pairwise(sorted(names)):
        if one == following:
            raise ValueError(f"{what} {one!r} is used twice; give each its own")


def shipped() -> tuple[str, ...]:
    """The names of the scenarios that come with the product."""
    folder = files("gateway.simulation") / "scenarios"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load(name_or_path: str) -> Scenario:
    """A shipped scenario by its name, or the one in a TOML file. Raises ``ScenarioError``."""
    if name_or_path in shipped():
        text = (files("gateway.simulation") / "scenarios" / f"{name_or_path}.toml").read_text(encoding="utf-8")
        return parsed(text, source=name_or_path, name=name_or_path)
    path = Path(name_or_path)
    if path.suffix != ".toml":
        names = ", ".join(shipped())
        raise ScenarioError(f"no scenario is called {name_or_path!r}; shipped: {names}; or name a .toml file")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as cause:
        raise ScenarioError(f"cannot read {path}: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise ScenarioError(f"cannot read {path}: it is not text in UTF-8") from cause
    return parsed(text, source=str(path), name=path.stem)


def parsed(text: str, *, source: str, name: str) -> Scenario:
    """A scenario from TOML. Raises ``ScenarioError`` with all that is wrong, a line each."""
    try:
        declared = tomllib.loads(text)
    except tomllib.TOMLDecodeError as cause:
        raise ScenarioError(f"{source} is not TOML: {cause}") from cause
    return scenario_from({"name": name, **declared}, source=source)


def scenario_from(declared: Mapping[str, Any], *, source: str) -> Scenario:
    """A scenario from values that were read already. Raises ``ScenarioError``."""
    try:
        return Scenario.model_validate(declared)
    except ValidationError as cause:
        raise ScenarioError("\n".join(f"{source}: {explain(error, Scenario)}" for error in cause.errors())) from cause
