"""The sentences under a scenario's picture."""

import textwrap
from collections.abc import Iterator, Sequence

from gateway.simulation.fault_figures import FaultFigures, fault_figures
from gateway.simulation.figures import EventFigures
from gateway.simulation.node_figures import NodeFigures, node_figures
from gateway.simulation.play import Played

CHARACTERS = 136
MOST_EVENTS = 4


def captions(played: Played, found: Sequence[EventFigures]) -> list[str]:
    """Lines of a width: of the first events, of the meter's faults, of the electrical tree, and of what was refused."""
    said = [sentence for one in found[:MOST_EVENTS] for sentence in _of_event(one)]
    if len(found) > MOST_EVENTS:
        said.append(f"And {len(found) - MOST_EVENTS} more events: see summary.json.")
    said += [_of_fault(fault) for fault in fault_figures(played)]
    said += _of_nodes(node_figures(played.recording))
    said += [f"{name}: refused, {reason}." for name, reason in played.refused]
    said += [f"{name}: nothing came of it." for name in played.unanswered]
    return [line for sentence in said for line in textwrap.wrap(sentence, CHARACTERS)]


def _of_event(one: EventFigures) -> Iterator[str]:
    best = "" if one.throughput.optimum is None else f", optimum {one.throughput.optimum:.1%}"
    yield (
        f"{one.event.event_id}: asked {one.live_baseline.asked_fraction:.2%}, delivered"
        f" {one.live_baseline.delivered_fraction:.2%} of the live baseline and"
        f" {one.counterfactual.delivered_fraction:.2%} of the counterfactual."
    )
    yield (
        f"{one.tracking.minutes_over} of {one.tracking.minutes} minutes over target; weighted throughput"
        f" {one.throughput.weighted:.1%}{best}; {len(one.throughput.tier_violations)} tier violations."
    )
    if one.regulation is not None:
        score = "" if one.regulation.score is None else f", score {one.regulation.score.score:.3f}"
        yield f"Off the signal by {one.regulation.rmse_fraction:.2%} of its amplitude (RMSE){score}."


def _of_fault(fault: FaultFigures) -> str:
    states = ", ".join(f"{state} after {after_s:g} s" for state, after_s in fault.states.items())
    noticed = states or ("its readings are set aside" if fault.told else "not noticed")
    return (
        f"{fault.what.replace('_', ' ')} for {fault.until_s - fault.at_s:g} s: {noticed}; truly over target in"
        f" {fault.minutes_over} of {fault.minutes} minutes, by up to {fault.worst_minute_fraction:.2%}."
    )


def _of_nodes(nodes: Sequence[NodeFigures]) -> Iterator[str]:
    if not nodes:
        return
    nearest = max(nodes, key=lambda node: node.highest_w / node.limit_w)
    over_s = sum(node.over_limit_s for node in nodes)
    yield (
        f"{len(nodes)} nodes of the electrical tree have a limit, and {over_s:g} s were over one. Nearest to it came"
        f" {nearest.kind} {nearest.node_id}: {nearest.highest_w / 1000:.2f} of {nearest.limit_w / 1000:g} kW."
    )
