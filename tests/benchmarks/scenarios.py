"""Plays the shipped scenarios, each with its seed and two further ones, and holds what comes out against its bounds.

    python tests/benchmarks/scenarios.py [NAME ...]

Judged on the twin (the same seed, no event) and on the frozen live baseline, with the site's own noise. A scenario
takes one to two minutes of one core a seed; as many are played at once as there are cores.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.simulation.fault_figures import FaultFigures, fault_figures
from gateway.simulation.figures import EventFigures, figures
from gateway.simulation.node_figures import NodeFigures, node_figures
from gateway.simulation.play import play
from gateway.simulation.scenario import load, shipped

STEADY = ("phoenix", "two-step")
QUIET = ("phoenix", "two-step", "fast", "regulation", "failures", "meter", "tree", "year")
"""Scenarios whose load does not rise by itself."""


OUTSIDE = {
    ("too-soon", "outside the contract: the rest after the last call lasts"),
    ("too-many", "outside the contract: all 10 calls of the season were made"),
}
"""Calls of ``year`` that its contract does not have, and why."""


@dataclass(frozen=True)
class Run:
    """One scenario with one seed."""

    name: str
    seed: int
    events: tuple[EventFigures, ...]
    nodes: tuple[NodeFigures, ...]
    meter_faults: tuple[FaultFigures, ...]
    refused: tuple[tuple[str, str], ...]
    unanswered: tuple[str, ...]
    cap_commands: int
    cpu_s: float


def run(name: str, seed: int) -> Run:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    scenario = load(name)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        played = asyncio.run(play(scenario, seed=seed, folder=Path(folder)))
    found = figures(played)
    return Run(
        name=name,
        seed=seed,
        events=found,
        nodes=node_figures(played.recording),
        meter_faults=fault_figures(played),
        refused=played.refused,
        unanswered=played.unanswered,
        cap_commands=played.cap_commands,
        cpu_s=time.process_time() - began,
    )


SWING = 0.002
"""A line in the spectrum of a hold under this share of the target is none of ours."""

Check = Callable[[Run, EventFigures], tuple[str, bool]]


def reduction(_: Run, one: EventFigures) -> tuple[str, bool]:
    live, twin = one.live_baseline.delivered_fraction, one.counterfactual.delivered_fraction
    text = f"{live:.3%} of the live baseline (25.0 to 25.25 %), {twin:.3%} of the counterfactual (within 0.5 points)"
    return text, 0.25 <= live <= 0.2525 and abs(twin - live) <= 0.005


def over_target(_: Run, one: EventFigures) -> tuple[str, bool]:
    return (
        f"{one.tracking.minutes_over} of {one.tracking.minutes} minutes over target (0)",
        one.tracking.minutes_over == 0,
    )


def hardly_over_target(_: Run, one: EventFigures) -> tuple[str, bool]:
    """What comes back to its new cap after a silence is taken up within seconds, but not before it is seen."""
    tracking = one.tracking
    text = (
        f"{tracking.minutes_over} of {tracking.minutes} minutes over target, the worst by"
        f" {tracking.worst_minute_fraction:.3%} (0.1 %)"
    )
    return text, tracking.worst_minute_fraction <= 0.001


def tiers(_: Run, one: EventFigures) -> tuple[str, bool]:
    broken = one.throughput.tier_violations
    return f"{len(broken)} tier violations (0)", not broken


def near_optimum(_: Run, one: EventFigures) -> tuple[str, bool]:
    if one.throughput.optimum is None:
        return "no optimum was found", False
    away = one.throughput.optimum - one.throughput.weighted
    text = f"throughput {one.throughput.weighted:.4f}, LP optimum {one.throughput.optimum:.4f} (within 0.005)"
    return text, abs(away) <= 0.005


def within_ten_seconds(_: Run, one: EventFigures) -> tuple[str, bool]:
    reached = one.reached
    text = (
        f"controllable power down {reached.asked_fraction:.0%} in {reached.controllable_s} s (10),"
        f" the whole site in {reached.site_s} s"
    )
    return text, reached.controllable_s is not None and reached.controllable_s <= 10.0


def steady(_: Run, one: EventFigures) -> tuple[str, bool]:
    return f"RMSE {one.tracking.rmse_fraction:.3%} of the target (0.5 %)", one.tracking.rmse_fraction <= 0.005


def bursts(_: Run, one: EventFigures) -> tuple[str, bool]:
    above, below = one.tracking.energy_above_fraction, one.tracking.below_bound_fraction
    text = f"energy above target {above:.3%} (0.5 %), below it while caps bind {below:.3%} (3 %)"
    return text, above <= 0.005 and below <= 0.03


def followed(_: Run, one: EventFigures) -> tuple[str, bool]:
    regulation = one.regulation
    if regulation is None or regulation.score is None:
        return "no signal was followed", False
    score = regulation.score
    text = (
        f"RMSE {regulation.rmse_fraction:.2%} of the amplitude (10 %), score {score.score:.4f} (0.95):"
        f" correlation {score.correlation:.3f}, delay {score.delay:.3f}, precision {score.precision:.3f}"
    )
    return text, regulation.rmse_fraction <= 0.10 and score.score >= 0.95


def no_swing(_: Run, one: EventFigures) -> tuple[str, bool]:
    found = one.oscillation
    if found is None:
        return "its target never stood still", False
    most = max(SWING, found.twin_fraction)
    text = (
        f"largest line from 0.1 to 0.5 Hz {found.amplitude_fraction:.3%} of the target, at {found.at_hz:.2f} Hz"
        f" ({SWING:.1%}, or the twin's own {found.twin_fraction:.3%})"
    )
    return text, found.amplitude_fraction <= most


def recovery(_: Run, one: EventFigures) -> tuple[str, bool]:
    rebound = one.rebound
    text = f"{rebound.minutes_over} of {rebound.minutes} minutes over the pre-event mean by over 1 % (0)"
    return text, rebound.minutes_over == 0


def recovery_of_bursts(_: Run, one: EventFigures) -> tuple[str, bool]:
    rebound = one.rebound
    text = (
        f"{rebound.minutes_over_twin} minutes over the pre-event mean and over the twin by over 1 % (0);"
        f" {rebound.minutes_over} over the mean alone: the load rises by itself"
    )
    return text, rebound.minutes_over_twin == 0


CHECKS: Sequence[tuple[Sequence[str], Sequence[Check]]] = (
    (("phoenix",), (reduction, over_target, tiers, near_optimum)),
    (("fast",), (within_ten_seconds, tiers)),
    (STEADY, (steady,)),
    (("two-step", "failures"), (over_target, tiers)),
    (("tree",), (hardly_over_target, tiers)),
    (("bursty",), (bursts, tiers, recovery_of_bursts)),
    (("regulation",), (followed, tiers)),
    (QUIET, (recovery,)),
    (("phoenix", "two-step", "fast", "failures", "meter", "tree", "year", "bursty"), (no_swing,)),
)
"""What is asked of which scenarios."""


def told_of(fault: FaultFigures) -> tuple[str, bool]:
    """A lie: noticed within a minute, never followed by more than a hundredth, and forgotten within a minute."""
    states = ", ".join(f"{state} after {after_s:g} s" for state, after_s in fault.states.items())
    text = (
        f"{fault.what} from {fault.at_s:g} s on for {fault.until_s - fault.at_s:g} s:"
        f" {states or 'set aside'} (60 s), told {fault.told[0] if fault.told else 'nothing'};"
        f" truly over target in {fault.minutes_over} of {fault.minutes} minutes, by up to"
        f" {fault.worst_minute_fraction:.2%} (1 %); back to normal after {fault.normal_after_s} s (60)"
    )
    noticed = bool(fault.told) if not fault.states else min(fault.states.values()) <= 60.0
    back = fault.normal_after_s is not None and fault.normal_after_s <= 60.0
    return text, noticed and back and fault.worst_minute_fraction <= 0.01


def verdicts(one: Run) -> Iterator[bool]:
    print(f"{one.name}, seed {one.seed}: {len(one.events)} events, {one.cap_commands} caps, {one.cpu_s:.0f} s of CPU")
    for event_id in one.unanswered:
        print(f"  {event_id}: nothing came of it: BROKEN")
        yield False
    for event_id, reason in one.refused:
        kept = (event_id, reason.partition(";")[0].partition(" until ")[0]) in OUTSIDE
        print(f"  {event_id}: refused, {reason}: {'kept' if kept else 'BROKEN'}")
        yield kept
    for node in one.nodes:
        kept = node.over_limit_s == 0.0
        print(
            f"  {node.kind} {node.node_id}: {node.over_limit_s:g} s over its limit of {node.limit_w / 1000:g} kW (0),"
            f" drew up to {node.highest_w / 1000:.2f} kW, could have drawn {node.most_w / 1000:.2f} kW:"
            f" {'kept' if kept else 'BROKEN'}"
        )
        yield kept
    for fault in one.meter_faults if one.name == "meter" else ():
        text, kept = told_of(fault)
        print(f"  {text}: {'kept' if kept else 'BROKEN'}")
        yield kept
    for names, checks in CHECKS:
        for check in checks if one.name in names else ():
            for event in one.events:
                text, kept = check(one, event)
                print(f"  {event.event.event_id}: {text}: {'kept' if kept else 'BROKEN'}", flush=True)
                yield kept


def main(names: Sequence[str]) -> bool:
    chosen = names or shipped()
    jobs = [(name, seed) for name in chosen for seed in (load(name).seed, *load(name).extra_seeds)]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = [kept for done in pool.map(run, *zip(*jobs, strict=True)) for kept in verdicts(done)]
    return all(found)


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
