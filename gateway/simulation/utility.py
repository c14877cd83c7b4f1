"""The other side of a scenario: publishes its events through a VTN, each in its time, and cancels them."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from gateway.clock import Clock
from gateway.simulation.life import PROGRAM_ID
from gateway.simulation.regulation import regulation_signal
from gateway.simulation.scenario import EventPart, Scenario, Stretch
from protocols.grid import EventInterval, EventStatus, GridEvent, GridProgram, Signal, SignalKind

MEAN_OVER_S = 900.0


class Utility:
    """Publishes what the scenario asks. ``mean_w`` gives the site's mean power over the seconds before now.

    ``basepoints`` keeps basepoint and amplitude in watts of each event with a regulation signal.
    """

    def __init__(
        self, scenario: Scenario, *, program: GridProgram, clock: Clock, mean_w: Callable[[float], float]
    ) -> None:
        self._scenario = scenario
        self._program = program
        self._clock = clock
        self._mean_w = mean_w
        self.basepoints: dict[str, tuple[float, float]] = {}

    async def run(self, stretch: Stretch, stop: asyncio.Event) -> None:
        """Publish what falls into the stretch, and cancel what is cancelled in it."""
        for at_s, event in self._due():
            if stretch.from_s <= at_s < stretch.to_s:
                await self._clock.wait(self._scenario.at(at_s), stop)
                if at_s == event.cancelled_s:
                    await self._program.cancel(event.id)
                else:
                    await self._program.publish(self._event(event))

    def _due(self) -> list[tuple[float, EventPart]]:
        """What is done when, in order of time."""
        events = self._scenario.events()
        published = [(event.starts_s if event.received_s is None else event.received_s, event) for event in events]
        cancelled = [(event.cancelled_s, event) for event in events if event.cancelled_s is not None]
        return sorted([*published, *cancelled], key=lambda due: due[0])

    def _event(self, asked: EventPart) -> GridEvent:
        starts_at = self._scenario.at(asked.starts_s)
        intervals: list[EventInterval] = []
        at = starts_at
        for duration_s, value in self._values(asked):
            intervals.append(EventInterval(starts_at=at, duration_s=duration_s, value=value))
            at += timedelta(seconds=duration_s)
        kind = SignalKind.SETPOINT if asked.kind == "regulation" else SignalKind(asked.kind)
        signal = Signal(name="LOAD_DISPATCH", kind=kind, intervals=tuple(intervals))
        return GridEvent(
            event_id=asked.id,
            connection_id=self._program.connection_id,
            program_id=PROGRAM_ID,
            revision=0,
            status=EventStatus.FAR,
            created_at=self._clock.now(),
            starts_at=starts_at,
            duration_s=asked.duration_s,
            signals=(signal,),
            ramp_up_s=asked.ramp_s,
            recovery_s=asked.recovery_s,
        )

    def _values(self, asked: EventPart) -> list[tuple[float, float]]:
        """Seconds and what is asked for so long: a fraction of the baseline, or watts."""
        if asked.regulation is None:
            factor = 1.0 if asked.kind == "fraction" else 1000.0
            return [(seconds, value * factor) for seconds, value in asked.values]
        basepoint_w = asked.regulation.basepoint_fraction * self._mean_w(MEAN_OVER_S)
        amplitude_w = asked.regulation.amplitude_fraction * basepoint_w
        self.basepoints[asked.id] = basepoint_w, amplitude_w
        steps = round(asked.duration_s / asked.regulation.step_s)
        signal = regulation_signal(steps, step_s=asked.regulation.step_s, seed=asked.regulation.seed)
        return [(asked.regulation.step_s, basepoint_w + amplitude_w * value) for value in signal]
