"""The site that is played with, the same site without any event beside it, and its agent."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from gateway.attach import MeteredFleet, agent_over, reached_in_process, simulated_fleet
from gateway.clock import Clock
from gateway.simulation.scenario import Scenario
from hardware.device import DeviceView, PowerReading
from hardware.faults import Faults
from hardware.job import JobView
from hardware.physics import Possible


class Truth(Protocol):
    """A simulated site as only its judge sees it."""

    def metered(self) -> PowerReading: ...

    def drawn_j(self) -> float: ...

    def possible(self) -> Possible: ...

    def work_s(self) -> Mapping[str, float]: ...

    def devices(self) -> tuple[DeviceView, ...]: ...

    def jobs(self) -> tuple[JobView, ...]: ...

    def inject(self, faults: Faults) -> None: ...


class CountingAgent:
    """The site's agent; counts the commands that come to it."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        self._asked = False
        self.cap_commands = 0
        self.restores = 0

    def handle(self, request: Any) -> Any:
        self._asked = True
        match request.kind:
            case "apply":
                self.cap_commands += len(request.commands)
            case "restore":
                self.restores += len(request.device_ids)
        return self._agent.handle(request)

    def tick(self) -> None:
        """What an agent does by itself: look at its leases, where nobody has asked it anything since the last time."""
        if not self._asked:
            self._agent.expire()
        self._asked = False


class PlayedSite:
    """The site, ``real``, and its ``twin``: the same seed with no event. What is lost is lost to both."""

    def __init__(self, scenario: Scenario, seed: int, clock: Clock) -> None:
        jobs = [job.job() for job in scenario.fleet.job]

        def opened() -> Any:
            return simulated_fleet(
                hosts=scenario.fleet.hosts,
                devices_per_host=scenario.fleet.devices_per_host,
                seed=seed,
                now=clock.now,
                jobs=jobs,
            )

        began = clock.now()

        def boot_s() -> float:
            return (clock.now() - began).total_seconds()

        self.jobs = tuple(jobs)
        self.real: Truth = opened()
        self.twin: Truth = opened()
        self.agent = CountingAgent(agent_over(self.real, boot_s=boot_s))
        self._faults = Faults()

    def reached(self) -> MeteredFleet:
        """The gateway's side of the agent, as a gateway that was just started has it."""
        return reached_in_process(self.agent)

    def lose(self, host_ids: Collection[str]) -> None:
        """Let these hosts' devices, and no others, be gone."""
        lost = frozenset(device.device_id for device in self.real.devices() if device.host_id in host_ids)
        self._set(replace(self._faults, lost=lost))

    def silence(self, meter_ids: Collection[str]) -> None:
        """Let these meters, and no others, be silent."""
        self._set(replace(self._faults, silent_meters=frozenset(meter_ids)))

    def _set(self, faults: Faults) -> None:
        self._faults = faults
        self.real.inject(faults)
        self.twin.inject(faults)


def work_of(truth: Truth, job_ids: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The jobs' registers of work, in this order."""
    work_s = truth.work_s()
    return np.array([work_s[job_id] for job_id in job_ids])
