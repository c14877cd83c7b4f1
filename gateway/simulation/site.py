"""The site that is played with, the same site without any event beside it, and its agent."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.attach import MeteredFleet, agent_over, reached_in_process, simulated_fleet
from gateway.clock import Clock
from gateway.domain.electrical import ceilings_w
from gateway.domain.tree import Node, Wiring, wire
from gateway.simulation.meter import PlayedMeter
from gateway.simulation.scenario import Scenario
from hardware.device import DeviceView, PowerReading
from hardware.faults import Faults
from hardware.job import JobView
from hardware.physics import Possible

Floats = NDArray[np.float64]


class Truth(Protocol):
    """A simulated site as only its judge sees it."""

    def metered(self) -> PowerReading: ...

    def drawn_j(self) -> float: ...

    def branch_j(self) -> Floats: ...

    def site_j(self) -> float: ...

    def possible(self) -> Possible: ...

    def work_s(self) -> Mapping[str, float]: ...

    def devices(self) -> tuple[DeviceView, ...]: ...

    def set_limit_w(self, device_id: str, limit_w: float) -> None: ...

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
    """The site, ``real``, and its ``twin``: the same seed with no event. What is lost is lost to both.

    ``real`` begins with every limit as it came, and its gateway brings it under the electrical tree. The ``twin`` has
    no gateway: its devices stand at what the tree has room for from the beginning, where the gateway comes to.
    """

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
        self.wiring = _wiring(scenario)
        self._guard_the_twin(scenario)
        self.meter = PlayedMeter(self.real.metered)
        self.agent = CountingAgent(agent_over(self.real, boot_s=boot_s))
        self._faults = Faults()

    def reached(self) -> MeteredFleet:
        """The gateway's side of the agent, as a gateway that was just started has it."""
        return reached_in_process(self.agent)

    def lose(self, host_ids: Collection[str]) -> None:
        """Let these hosts' devices, and no others, be gone."""
        self._set(replace(self._faults, lost=self._on(host_ids)))

    def hang(self, host_ids: Collection[str]) -> None:
        """Let these hosts' devices, and no others, answer nothing, and go on as they are."""
        self._set(replace(self._faults, hanging=self._on(host_ids)))

    def _on(self, host_ids: Collection[str]) -> frozenset[str]:
        return frozenset(device.device_id for device in self.real.devices() if device.host_id in host_ids)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes of the electrical tree that have a limit."""
        return () if self.wiring is None else self.wiring.nodes

    def node_j(self) -> Floats:
        """What each of the nodes has truly drawn: running registers."""
        if self.wiring is None:
            return np.zeros(0)
        drawn_j = self.wiring.sums(self.real.branch_j())[:-1]
        if self.nodes[0].parent_id is None:
            # All that the site draws beside the hosts comes in there.
            drawn_j[0] = self.real.site_j()
        return drawn_j

    def node_most_w(self) -> Floats:
        """What each node would draw with every device at its limit in force, overshoot and overhead included."""
        if self.wiring is None:
            return np.zeros(0)
        limit_w = np.array([device.limit_w for device in self.real.devices()])
        most_w: Floats = (self.wiring.sums(limit_w) * self.wiring.draw + self.wiring.fixed_w)[:-1]
        return most_w

    def _guard_the_twin(self, scenario: Scenario) -> None:
        tree = scenario.tree()
        if tree is None:
            return
        devices = {device.device_id: device for device in self.twin.devices()}
        for device_id, most_w in ceilings_w(tree, devices).items():
            self.twin.set_limit_w(device_id, most_w)

    def _set(self, faults: Faults) -> None:
        self._faults = faults
        self.real.inject(faults)
        self.twin.inject(faults)


def _wiring(scenario: Scenario) -> Wiring | None:
    tree = scenario.tree()
    return None if tree is None else wire(tree, scenario.fleet.host_of_device())


def work_of(truth: Truth, job_ids: Sequence[str]) -> Floats:
    """The jobs' registers of work, in this order."""
    work_s = truth.work_s()
    return np.array([work_s[job_id] for job_id in job_ids])
