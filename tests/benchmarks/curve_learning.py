"""Prints how near learnt power curves come to measured ones, and what learning costs.

Each measured workload in turn is the truth, seen at a few caps with 1 % of noise on power and 2 % on throughput, two
minutes at each; the table to begin with is that of other work: for the cap sweep of Emerald AI the mean of the other
kinds of work, for Zeus's training runs the heaviest run on the same device (runs that the lowest cap does not touch
are left out: as far as caps go they are idle). Once with throughput seen, once with power alone. Then the processor
time of an observation and of a fit. The data are read from $GRIDGATE_SHARED.
"""

import csv
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean

import numpy as np

from gateway.domain.curve_learning import BINDS_FRACTION, CurveEvidence, learnt, observe, seeded
from gateway.domain.curve_observation import WINDOW_S, Observation
from hardware.job import CurvePoint
from hardware.workloads import WORKLOADS

T0 = datetime(2026, 7, 1, 12, tzinfo=UTC)
WINDOWS = 12
JOBS = 10_000
BOUND_FRACTION = 0.1

Curve = tuple[CurvePoint, ...]


def emerald(data: Path) -> list[tuple[Curve, Curve]]:
    """Each workload with the mean of the other kinds."""
    points: dict[str, list[CurvePoint]] = defaultdict(list)
    with (data / "gpu/emerald/dvfs_sweep.csv").open() as file:
        for row in csv.DictReader(file):
            points[row["Workload"]].append(
                CurvePoint(
                    cap_w=float(row["GPU power cap"]),
                    power_w=float(row["power per GPU"]),
                    throughput=float(row["normalized throughput"]),
                )
            )
    return [
        (tuple(truth), mean([other for key, other in points.items() if key.split("_")[0] != name.split("_")[0]]))
        for name, truth in points.items()
    ]


def mean(curves: Sequence[Sequence[CurvePoint]]) -> Curve:
    return tuple(
        CurvePoint(
            cap_w=at_cap[0].cap_w,
            power_w=fmean(point.power_w for point in at_cap),
            throughput=fmean(point.throughput for point in at_cap),
        )
        for at_cap in zip(*curves, strict=True)
    )


def zeus(data: Path, device: str) -> list[tuple[Curve, Curve]]:
    """Each training run with the heaviest."""
    runs: dict[tuple[str, ...], dict[float, tuple[float, float]]] = defaultdict(dict)
    with (data / f"gpu/zeus/summary_power_{device}.csv").open() as file:
        for row in csv.DictReader(file):
            key = (row["dataset"], row["network"], row["batch_size"], row["optimizer"])
            runs[key][float(row["power_limit"])] = (float(row["average_power"]), float(row["time_per_epoch"]))
    most = max(len(run) for run in runs.values())
    curves = [
        tuple(
            CurvePoint(cap_w=cap_w, power_w=power_w, throughput=min(1.0, run[max(run)][1] / epoch_s))
            for cap_w, (power_w, epoch_s) in sorted(run.items())
        )
        for run in runs.values()
        if len(run) == most
    ]
    heaviest = max(curves, key=lambda curve: curve[-1].power_w)
    lowest_w = BINDS_FRACTION * heaviest[0].cap_w
    return [(curve, heaviest) for curve in curves if curve is not heaviest and curve[0].power_w > lowest_w]


def watched(
    truth: Curve, table: Curve, caps_w: Sequence[float], *, throughput_seen: bool
) -> tuple[CurveEvidence, datetime]:
    evidence, at, dice = seeded(table), T0, random.Random("curves")
    for cap_w in caps_w:
        known = [point.cap_w for point in truth]
        power_w = float(np.interp(cap_w, known, [point.power_w for point in truth]))
        given = float(np.interp(cap_w, known, [point.throughput for point in truth]))
        for _ in range(WINDOWS):
            at += timedelta(seconds=WINDOW_S)
            seen_w = power_w * dice.gauss(1.0, 0.01)
            evidence = observe(
                evidence,
                Observation(
                    job_id="job",
                    at=at,
                    cap_w=cap_w,
                    power_w=seen_w,
                    peak_w=seen_w,
                    throughput=given * dice.gauss(1.0, 0.02) if throughput_seen else None,
                    devices=8,
                ),
            )
    return evidence, at


def report(name: str, cases: Sequence[tuple[Curve, Curve]], caps: Sequence[float], *, throughput_seen: bool) -> None:
    """``caps`` as fractions of the last."""
    rows = []
    for truth, table in cases:
        found = learnt(
            *watched(truth, table, [part * truth[-1].cap_w for part in caps], throughput_seen=throughput_seen)
        )
        points = {point.cap_w: point for point in found.points}
        for real, first in zip(truth[:-1], table, strict=False):
            point = points[real.cap_w]
            rows.append(
                (
                    point.power_w - real.power_w,
                    first.power_w - real.power_w,
                    abs(point.power_w - real.power_w) <= 2.0 * point.power_error_w,
                    point.throughput - real.throughput,
                    first.throughput - real.throughput,
                    abs(point.throughput - real.throughput) <= 2.0 * point.throughput_error,
                )
            )
    off = np.array(rows, dtype=np.float64)
    rms = np.sqrt((off**2).mean(axis=0))
    how = "throughput seen" if throughput_seen else "power alone"
    print(
        f"{name:>18}, {how:>15}: power {rms[1]:5.1f} -> {rms[0]:4.1f} W, throughput {rms[4]:.3f} -> {rms[3]:.3f} RMS"
        f" off the truth; within two errors {off[:, 2].mean():.2f} and {off[:, 5].mean():.2f} ({len(cases)} workloads)"
    )


def cost() -> bool:
    table = WORKLOADS["pretrain-13b"].curve()
    evidence, at = watched(table, WORKLOADS["finetune-8b"].curve(), (1.0, 0.75, 0.6), throughput_seen=True)
    seen = Observation(
        job_id="job", at=at, cap_w=240.0, power_w=235.0, peak_w=238.0, throughput=0.76, devices=8, duration_s=WINDOW_S
    )
    began = time.process_time()
    for _ in range(JOBS):
        observe(evidence, seen)
    observed_s = time.process_time() - began
    began = time.process_time()
    for _ in range(JOBS // 10):
        learnt(evidence, at)
    learnt_s = (time.process_time() - began) * 10.0
    kept = observed_s < BOUND_FRACTION * WINDOW_S
    print(f"{JOBS} observations: {observed_s:.2f} s of a core; {JOBS} fits: {learnt_s:.1f} s (when a plan is made)")
    print(
        f"bound: {BOUND_FRACTION:.0%} of a core for {JOBS} jobs, one observation each {WINDOW_S:.0f} s: "
        f"{'kept' if kept else 'BROKEN'}"
    )
    return kept


def main() -> bool:
    data = Path(os.environ.get("GRIDGATE_SHARED", Path(__file__).parents[3] / "shared")) / "data"
    if data.is_dir():
        for throughput_seen in (True, False):
            report("Emerald, mixed LLM", emerald(data), (1.0, 0.8, 0.65, 0.525), throughput_seen=throughput_seen)
        for device in ("v100", "a40", "rtx6000"):
            for throughput_seen in (True, False):
                report(f"Zeus, {device}", zeus(data, device), (1.0, 0.65), throughput_seen=throughput_seen)
    else:
        print(f"no test data at {data}: set GRIDGATE_SHARED; only the cost is measured")
    return cost()


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
