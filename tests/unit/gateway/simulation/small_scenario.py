"""A small scenario: two hosts, two jobs, a quarter less for a minute and a half."""

import asyncio
from pathlib import Path
from typing import Any

from gateway.simulation.play import Played, play
from gateway.simulation.scenario import Scenario, scenario_from

SMALL: dict[str, Any] = {
    "name": "small",
    "title": "A quarter less for a minute and a half",
    "seed": 5,
    "starts_at": "2026-07-15T15:00:00-07:00",
    "timezone": "America/Phoenix",
    "duration_s": 240,
    "interval_s": 60,
    "fleet": {
        "hosts": 2,
        "devices_per_host": 4,
        "job": [
            {"id": "chat", "workload": "inference-8b", "tier": "flex1", "devices": 3},
            {"id": "train", "workload": "pretrain-7b", "tier": "flex3", "devices": 4, "weight": 2.0},
        ],
    },
    "event": [{"id": "now", "starts_s": 60, "duration_s": 90, "values": [[90, 0.25]]}],
}


def small(**changes: Any) -> Scenario:
    return scenario_from({**SMALL, **changes}, source="test")


def played_with(folder: Path, **changes: Any) -> Played:
    scenario = small(**changes)
    return asyncio.run(play(scenario, seed=scenario.seed, folder=folder))
