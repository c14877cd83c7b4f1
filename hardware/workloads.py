"""What the simulated fleet runs: measured curves of throughput and power against the cap, tiers, and a mix of jobs."""

import random
from dataclasses import dataclass
from datetime import datetime

from hardware.device import CapRange
from hardware.job import CurvePoint

DEVICE_MODEL = "simulated accelerator, 400 W"
CAP_RANGE = CapRange(min_w=100.0, default_w=400.0, max_w=400.0)

CAPS_W = (100.0, 200.0, 250.0, 300.0, 350.0, 400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of work. ``power_w`` and ``throughput`` are a device's at each of ``CAPS_W``, throughput of uncapped.

    ``swing_fraction`` is how far its utilisation falls below full in the course of ``period_s``. Bursty work has lulls
    besides: every ``burst_s`` the dice choose between full load and one lower by up to ``burst_fraction``.
    """

    name: str
    power_w: tuple[float, ...]
    throughput: tuple[float, ...]
    swing_fraction: float
    period_s: float
    checkpoints: bool
    burst_fraction: float = 0.0
    burst_s: float = 60.0

    def curve(self) -> tuple[CurvePoint, ...]:
        """The curve in the face's words."""
        points = zip(CAPS_W, self.power_w, self.throughput, strict=True)
        return tuple(CurvePoint(cap_w=cap_w, power_w=power_w, throughput=part) for cap_w, power_w, part in points)


# Measured on 256 devices with a ceiling of 400 W: Emerald AI, demo of May 2025, dvfs_sweep.csv (Apache-2.0), columns
# "power per GPU" and "normalized throughput" of the row named beside each. The swings are ours.
WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="finetune-8b",  # ft_llama_8b_dolly
            power_w=(99.9, 196.1, 244.1, 288.3, 320.6, 345.6),
            throughput=(0.241, 0.807, 0.904, 0.951, 0.980, 1.0),
            swing_fraction=0.01,
            period_s=1500.0,
            checkpoints=True,
        ),
        Workload(
            name="finetune-8b-p3",  # ft_llama_8b_p3
            power_w=(100.1, 195.4, 239.8, 285.5, 317.1, 343.4),
            throughput=(0.228, 0.784, 0.878, 0.937, 0.967, 1.0),
            swing_fraction=0.01,
            period_s=1500.0,
            checkpoints=True,
        ),
        Workload(
            name="inference-8b",  # infer_llama_8b, and its 32g and 48g
            power_w=(97.9, 194.7, 241.8, 289.0, 332.9, 368.4),
            throughput=(0.225, 0.781, 0.871, 0.931, 0.976, 1.0),
            swing_fraction=0.03,
            period_s=2700.0,
            checkpoints=False,
        ),
        Workload(
            name="pretrain-13b",  # pt_mpt_13b_lg
            power_w=(101.7, 196.2, 244.7, 291.1, 337.1, 381.7),
            throughput=(0.191, 0.624, 0.781, 0.860, 0.921, 1.0),
            swing_fraction=0.01,
            period_s=3600.0,
            checkpoints=True,
        ),
        Workload(
            name="pretrain-13b-small",  # pt_mpt_13b_sm
            power_w=(102.9, 195.4, 243.2, 287.1, 331.0, 376.8),
            throughput=(0.191, 0.638, 0.783, 0.866, 0.912, 1.0),
            swing_fraction=0.01,
            period_s=3300.0,
            checkpoints=True,
        ),
        Workload(
            name="pretrain-7b",  # pt_mpt_7b_fast
            power_w=(100.0, 198.4, 247.5, 295.7, 343.3, 387.8),
            throughput=(0.175, 0.626, 0.787, 0.874, 0.935, 1.0),
            swing_fraction=0.01,
            period_s=2100.0,
            checkpoints=True,
        ),
    )
}

IN_A_MIX = ("finetune-8b", "inference-8b", "pretrain-13b", "pretrain-7b")
"""What a seeded mix is made of: always the same, so that a seed keeps its mix when a workload is added."""

SIGNAL_PAUSE_S = 240.0
"""A stopped rank is found missing by its peers after five minutes (the usual collective timeout)."""

CHECKPOINT_PAUSE_S = 4 * 3600.0
"""A job that checkpoints first can stay away for as long as an event lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedJob:
    """A job to be placed on the next ``devices`` free devices; ``workload`` is a key of ``WORKLOADS``.

    ``burst_fraction`` and ``burst_s`` make its load a bursty one, as ``Workload`` has them. ``work_s`` is how many
    seconds of uncapped running it has to do in all, by ``deadline_at``; what it does after that nobody waits for.
    """

    job_id: str
    workload: str
    tier: str
    devices: int
    weight: float = 1.0
    max_pause_s: float = 0.0
    burst_fraction: float = 0.0
    burst_s: float = 60.0
    work_s: float | None = None
    deadline_at: datetime | None = None


def job_mix(devices: int, seed: int, prefix: str = "") -> tuple[SimulatedJob, ...]:
    """A seeded mix of jobs for so many devices that leaves a few idle and holds every tier.

    A sixth of the devices at most goes to one job, so that tiers and workloads keep their shares at any seed.
    ``prefix`` begins each job's id.
    """
    dice = random.Random(f"job mix {seed}")  # noqa: S311 - a simulation has to come out the same each time
    idle = max(1, round(devices * 0.06)) if devices >= 8 else 0
    sizes = [size for size in (1, 2, 4, 8, 16, 32) if size <= max(1, devices // 6)][-3:]
    names = IN_A_MIX
    # Tiers and workloads come in rounds, shuffled within each.
    tiers: list[str] = []
    workloads: list[str] = []
    jobs: list[SimulatedJob] = []
    free = devices - idle
    while free > 0:
        if not tiers:
            tiers = dice.sample(("flex0", "flex1", "flex1", "flex2", "flex2", "flex3", "flex3"), 7)
        if not workloads:
            workloads = dice.sample(names, len(names))
        workload, tier = WORKLOADS[workloads.pop()], tiers.pop()
        size = min(dice.choice(sizes), free)
        jobs.append(
            SimulatedJob(
                job_id=f"{prefix}{workload.name}-{len(jobs):02d}",
                workload=workload.name,
                tier=tier,
                devices=size,
                weight=dice.choice((1.0, 1.0, 2.0)),
                max_pause_s=_max_pause_s(workload, tier),
            )
        )
        free -= size
    return tuple(jobs)


def _max_pause_s(workload: Workload, tier: str) -> float:
    if tier == "flex3":
        return CHECKPOINT_PAUSE_S if workload.checkpoints else SIGNAL_PAUSE_S
    return SIGNAL_PAUSE_S if tier == "flex2" else 0.0
