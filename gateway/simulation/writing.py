"""What a played scenario leaves behind: power.csv, jobs.csv, summary.json and a picture."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.simulation.contract_figures import ContractFigures, contract_figures
from gateway.simulation.fault_figures import fault_figures
from gateway.simulation.figures import Delivered, EventFigures
from gateway.simulation.node_figures import node_figures
from gateway.simulation.picture import scenario_picture
from gateway.simulation.play import Played
from gateway.simulation.recorder import STEP_S, Recording

FILES = ("power.csv", "jobs.csv", "summary.json", "power.svg")

POWER_COLUMNS = ("time_s", "site_w", "target_w", "baseline_w", "counterfactual_w", "mode")
JOB_COLUMNS = ("time_s", "job_id", "tier", "throughput", "cap_w", "state")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was left behind: the summary as it is in the file, and the files."""

    summary: Mapping[str, Any]
    files: tuple[str, ...]

    def in_words(self) -> str:
        """A few lines for the terminal."""
        lines = [f"{self.summary['scenario']}, seed {self.summary['seed']}: {self.summary['title']}"]
        lines += [_event_in_words(event) for event in self.summary["events"]]
        lines += [f"event {name}: nothing came of it" for name in self.summary["events_without_effect"]]
        lines += [_fault_in_words(fault) for fault in self.summary["meter_faults"]]
        lines += [_node_in_words(node) for node in self.summary["nodes"]]
        lines += [f"event {name}: refused, {reason}" for name, reason in self.summary["events_refused"].items()]
        lines += _contract_in_words(self.summary["contract"])
        return "\n".join([*lines, *(f"  {name}" for name in self.files)])


def _event_in_words(event: Mapping[str, Any]) -> str:
    live, tracking, throughput = event["live_baseline"], event["tracking"], event["throughput"]
    of_counterfactual = event["counterfactual"]["delivered_fraction"]
    best = "" if throughput["optimum"] is None else f" (optimum {throughput['optimum']:.1%})"
    return (
        f"event {event['event_id']}: asked {live['asked_fraction']:.2%},"
        f" delivered {live['delivered_fraction']:.2%} of the live baseline and"
        f" {of_counterfactual:.2%} of the counterfactual;"
        f" {tracking['minutes_over']} minutes over target; throughput {throughput['weighted']:.1%}{best};"
        f" {len(throughput['tier_violations'])} tier violations"
    )


def _contract_in_words(contract: Mapping[str, Any] | None) -> list[str]:
    if contract is None:
        return []
    last = contract["calls"][-1] if contract["calls"] else {}
    text = (
        f"contract: {contract['events_met']} of {contract['calls_made']} calls delivered"
        f" {contract['committed_w'] / 1000:g} kW; {contract['hours_used']:g} hours used;"
        f" left: {_left(last.get('calls_left'))} calls, {_left(last.get('hours_left'))} hours;"
        f" paid {contract['paid']} {contract['currency']}"
    )
    return [text]


def _left(number: float | None) -> str:
    return "any number of" if number is None else f"{number:g}"


def _fault_in_words(fault: Mapping[str, Any]) -> str:
    states = ", ".join(f"{state} after {after_s:g} s" for state, after_s in fault["states"].items()) or (
        "its readings set aside" if fault["told"] else "not noticed"
    )
    normal = "never" if fault["normal_after_s"] is None else f"{fault['normal_after_s']:g} s after it"
    return (
        f"{fault['what']} for {fault['until_s'] - fault['at_s']:g} s: {states};"
        f" {fault['minutes_over']} minutes truly over target, by up to {fault['worst_minute_fraction']:.2%};"
        f" back to normal {normal}"
    )


def _node_in_words(node: Mapping[str, Any]) -> str:
    return (
        f"{node['kind']} {node['node_id']}: limit {node['limit_w'] / 1000:g} kW, drew up to"
        f" {node['highest_w'] / 1000:.2f} kW; {node['over_limit_s']:g} s over"
    )


def write(out: Path, played: Played, found: tuple[EventFigures, ...]) -> Written:
    """Write all of it into ``out``, which is made where it is missing. Raises ``OSError``."""
    out.mkdir(parents=True, exist_ok=True)
    summary = summary_of(played, found)
    with (out / "power.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(POWER_COLUMNS)
        writer.writerows(_power_rows(played.recording))
    tiers = {job.id: job.tier for job in played.scenario.fleet.job}
    with (out / "jobs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(JOB_COLUMNS)
        writer.writerows(
            (f"{row.time_s:g}", row.job_id, tiers[row.job_id], f"{row.throughput:.5f}", f"{row.cap_w:.2f}", row.state)
            for row in played.recording.jobs
        )
    (out / "summary.json").write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (out / "power.svg").write_text(scenario_picture(played, found), encoding="utf-8")
    return Written(summary=summary, files=tuple(str(out / name) for name in FILES))


def _power_rows(recording: Recording) -> Iterator[list[str]]:
    """One row a step; where the clock jumped, a row without values from the last step's end on, and one at 0."""
    columns = (
        recording.site_w,
        recording.target_w,
        recording.baseline_w,
        recording.counterfactual_w,
    )
    next_s = 0.0
    rows = zip(recording.time_s.tolist(), *(column.tolist() for column in columns), strict=True)
    for (time_s, *values), mode in zip(rows, recording.modes, strict=True):
        if time_s > next_s:
            yield [f"{next_s:g}", *[""] * (len(columns) + 1)]
        yield [f"{time_s:.0f}", *("" if math.isnan(value) else f"{value:.2f}" for value in values), mode]
        next_s = time_s + STEP_S


def summary_of(played: Played, found: tuple[EventFigures, ...]) -> dict[str, Any]:
    """All figures as JSON has them."""
    scenario, recording = played.scenario, played.recording
    played_s = len(recording.time_s) * STEP_S
    devices = scenario.fleet.hosts * scenario.fleet.devices_per_host
    return {
        "scenario": scenario.name,
        "title": scenario.title,
        "seed": played.seed,
        "starts_at": instant(scenario.zero),
        "duration_s": scenario.duration_s,
        "played_s": played_s,
        "devices": devices,
        "events": [_event(one) for one in found],
        "events_refused": dict(played.refused),
        "events_without_effect": list(played.unanswered),
        "writes": {
            "cap_commands": played.cap_commands,
            "restores": played.restores,
            "cap_commands_per_device_minute": played.cap_commands / devices / (played_s / 60.0) if played_s else 0.0,
        },
        "meter_faults": [asdict(fault) for fault in fault_figures(played)],
        "nodes": [asdict(node) for node in node_figures(recording)],
        "contract": _contract(contract_figures(played, found)),
    }


def instant(at: datetime) -> str:
    """UTC with ``Z``."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _event(one: EventFigures) -> dict[str, Any]:
    event, followed = one.event, one.regulation
    return {
        "event_id": event.event_id,
        "received_s": event.received_s,
        "ramp_from_s": event.ramp_from_s,
        "starts_s": event.starts_s,
        "ends_s": event.ends_s,
        "recovered_s": event.recovered_s,
        "hold_from_s": event.hold[0],
        "hold_to_s": event.hold[1],
        "baseline_w": event.baseline_w,
        "lowest_target_w": event.lowest_w,
        "shortfall_w": event.shortfall_w,
        "reason": event.reason,
        "live_baseline": _delivered(one.live_baseline),
        "counterfactual": _delivered(one.counterfactual),
        "settlement": None if one.settlement is None else asdict(one.settlement),
        "tracking": asdict(one.tracking),
        "oscillation": None if one.oscillation is None else asdict(one.oscillation),
        "reached": asdict(one.reached),
        "rebound": asdict(one.rebound),
        "throughput": asdict(one.throughput),
        "regulation": None
        if followed is None
        else {
            "basepoint_w": followed.basepoint_w,
            "amplitude_w": followed.amplitude_w,
            "rmse_fraction": followed.rmse_fraction,
            "score": None if followed.score is None else {**asdict(followed.score), "score": followed.score.score},
        },
    }


def _delivered(one: Delivered) -> dict[str, float]:
    return {**asdict(one), "asked_fraction": one.asked_fraction, "delivered_fraction": one.delivered_fraction}


def _contract(one: ContractFigures | None) -> dict[str, Any] | None:
    if one is None:
        return None
    calls = [
        {**asdict(call), "rests_until": None if call.rests_until is None else instant(call.rests_until)}
        for call in one.calls
    ]
    return {**asdict(one), "calls": calls}
