"""Power curves learnt from what is seen of jobs, on small cases and on measured data."""

import csv
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from statistics import fmean

import pytest

from gateway.domain.allocate import AllocationJob, allocate, guarded_floor
from gateway.domain.curve_learning import CurveEvidence, LearntCurve, LearntPoint, Source, learnt, observe, seeded
from gateway.domain.curve_observation import Observation
from hardware.job import CurvePoint
from hardware.workloads import WORKLOADS

T0 = datetime(2026, 7, 1, 12, tzinfo=UTC)
SEED = WORKLOADS["pretrain-13b"].curve()


def power_at(curve: Sequence[CurvePoint] | Sequence[LearntPoint], cap_w: float) -> float:
    return next(point.power_w for point in curve if point.cap_w == cap_w)


def between(curve: Sequence[CurvePoint], cap_w: float) -> CurvePoint:
    over = next(i for i, point in enumerate(curve) if point.cap_w >= cap_w)
    if curve[over].cap_w == cap_w:
        return curve[over]
    low, high = curve[over - 1], curve[over]
    share = (cap_w - low.cap_w) / (high.cap_w - low.cap_w)
    return CurvePoint(
        cap_w=cap_w,
        power_w=low.power_w + share * (high.power_w - low.power_w),
        throughput=low.throughput + share * (high.throughput - low.throughput),
    )


class Watched:
    """One job under observation, a window of ten seconds after another."""

    def __init__(self, seed: Sequence[CurvePoint] = SEED) -> None:
        self.evidence: CurveEvidence = seeded(seed)
        self.at = T0

    def see(
        self, cap_w: float, power_w: Iterable[float], throughput: float | None = None, peak_w: float = 0.0
    ) -> "Watched":
        for one_w in power_w:
            self.at += timedelta(seconds=10)
            seen = Observation(
                job_id="a",
                at=self.at,
                cap_w=cap_w,
                power_w=one_w,
                peak_w=max(peak_w, one_w),
                throughput=throughput,
                devices=8,
            )
            self.evidence = observe(self.evidence, seen)
        return self

    def curve(self) -> LearntCurve:
        return learnt(self.evidence, self.at)


def noisy(mean_w: float, count: int, fraction: float = 0.01, seed: int = 1) -> list[float]:
    dice = random.Random(seed)
    return [mean_w * dice.gauss(1.0, fraction) for _ in range(count)]


def test_nothing_seen_is_the_seed_and_says_so() -> None:
    found = Watched().curve()
    for point in SEED:
        same = next(one for one in found.points if one.cap_w == point.cap_w)
        assert same.power_w == pytest.approx(point.power_w)
        assert same.throughput == pytest.approx(point.throughput)
        assert same.power_error_w == pytest.approx(point.power_w * 0.05, rel=0.03)
        assert same.power_source is same.throughput_source is Source.SEED
    assert [point.cap_w for point in found.points] == [100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0]
    assert (found.age_s, found.shifted_at, found.points[-1].throughput_error) == (None, None, 0.0)


def test_power_alone_corrects_power_and_leaves_throughput() -> None:
    found = Watched().see(250.0, noisy(235.0, 30)).curve()
    point = next(one for one in found.points if one.cap_w == 250.0)
    assert point.power_w == pytest.approx(235.0, abs=2.0)
    assert point.power_source is Source.MEASURED
    assert point.power_error_w < 4.0
    assert [one.throughput for one in found.points] == pytest.approx(
        [one.throughput for one in Watched().curve().points]
    )
    # What is near moves along, what is far hardly.
    assert power_at(found.points, 300.0) < 291.1 - 5.0
    assert found.points[-1].power_error_w > 10.0


def test_throughput_seen_under_a_cap_moves_its_neighbours_and_not_the_top() -> None:
    found = Watched().see(250.0, noisy(244.7, 30), throughput=0.9).curve()
    given = {point.cap_w: point for point in found.points}
    assert given[250.0].throughput == pytest.approx(0.9, abs=0.01)
    assert given[250.0].throughput_source is Source.MEASURED
    assert given[300.0].throughput > 0.89
    assert given[400.0].throughput == 1.0


def test_a_device_that_draws_less_than_its_cap_does_not_teach_that_the_cap_saves() -> None:
    found = Watched().see(300.0, noisy(180.0, 40), throughput=0.5).curve()
    # 180 W is what it draws at any cap of 212 W and more: nothing is saved from 400 W down to 250 W.
    assert power_at(found.points, 400.0) == pytest.approx(180.0, abs=4.0)
    assert power_at(found.points, 400.0) - power_at(found.points, 250.0) < 2.0
    # Nor is a throughput that fell while the cap did not bind the cap's doing: over its own draw none slows it.
    assert next(one for one in found.points if one.cap_w == 300.0).throughput == pytest.approx(1.0, abs=0.01)


def test_a_load_that_comes_and_goes_under_a_cap_is_held_down_by_it() -> None:
    # Bursts fill 200 W, and between them there is little to do: uncapped it would draw more.
    found = Watched().see(200.0, noisy(150.0, 40), peak_w=199.0).curve()
    assert power_at(found.points, 200.0) == pytest.approx(150.0, abs=3.0)
    assert power_at(found.points, 400.0) > 300.0


def test_an_idle_device_teaches_nothing() -> None:
    watched = Watched().see(400.0, noisy(60.0, 50)).see(200.0, noisy(60.0, 50))
    assert watched.evidence == seeded(SEED)


def test_single_wrong_readings_move_little() -> None:
    clean = Watched().see(250.0, noisy(240.0, 60)).curve()
    wild = noisy(240.0, 60)
    for i in range(5, 60, 12):
        wild[i] = 1_500.0
    spoilt = Watched().see(250.0, wild).curve()
    assert spoilt.shifted_at is None
    assert power_at(spoilt.points, 250.0) == pytest.approx(power_at(clean.points, 250.0), abs=5.0)
    # A mean over the same readings would be off by a hundred watts.
    assert fmean(wild) > 340.0


def test_a_change_of_phase_is_noticed_widens_the_error_and_is_learnt_anew() -> None:
    watched = Watched().see(300.0, noisy(290.0, 100), throughput=0.86).see(200.0, noisy(196.0, 100), throughput=0.63)
    before = {point.cap_w: point for point in watched.curve().points}
    changed_at = watched.at
    watched.see(200.0, noisy(180.0, 6))
    after = watched.curve()
    now = {point.cap_w: point for point in after.points}
    assert after.shifted_at is not None
    assert after.shifted_at - changed_at <= timedelta(seconds=60)
    assert now[300.0].power_error_w > 3.0 * before[300.0].power_error_w
    assert now[300.0].throughput_error > 1.5 * before[300.0].throughput_error
    assert now[300.0].power_source is Source.SEED
    assert now[200.0].power_w == pytest.approx(180.0, rel=0.03)
    settled = {point.cap_w: point for point in watched.see(200.0, noisy(180.0, 60, seed=2)).curve().points}
    assert settled[200.0].power_w == pytest.approx(180.0, rel=0.01)
    assert settled[200.0].power_error_w < 3.0


def test_a_steady_day_raises_no_alarm() -> None:
    assert Watched().see(300.0, noisy(290.0, 6 * 60 * 8, fraction=0.02)).curve().shifted_at is None


def test_a_load_that_swings_all_the_time_is_learnt_at_its_mean() -> None:
    swinging = [290.0 if i // 3 % 2 else 220.0 for i in range(600)]
    found = Watched().see(400.0, swinging).curve()
    top = found.points[-1]
    assert abs(top.power_w - 255.0) < max(2.0 * top.power_error_w, 20.0)


def test_evidence_ages_and_the_seed_comes_back() -> None:
    watched = Watched().see(250.0, noisy(220.0, 60))
    fresh = learnt(watched.evidence, watched.at)
    later = learnt(watched.evidence, watched.at + timedelta(hours=24))
    assert later.age_s == 24 * 3600.0
    assert abs(power_at(fresh.points, 250.0) - 220.0) < 3.0
    assert power_at(later.points, 250.0) > power_at(fresh.points, 250.0) + 5.0
    assert later.points[3].power_error_w > fresh.points[3].power_error_w
    assert later.points[3].power_source is Source.SEED


def test_a_cautious_curve_gives_less_and_still_rises() -> None:
    found = Watched().curve()
    lower = found.cautious(1.28)
    assert all(low.throughput <= plain.throughput for low, plain in zip(lower, found.curve, strict=True))
    assert [point.throughput for point in lower] == sorted(point.throughput for point in lower)
    assert lower[2].throughput == pytest.approx(found.points[2].throughput - 1.28 * found.points[2].throughput_error)
    assert lower[-1] == found.curve[-1]


def test_what_cannot_be_is_refused() -> None:
    evidence = seeded(SEED)
    seen = Observation(job_id="a", at=T0, cap_w=200.0, power_w=190.0, peak_w=195.0, throughput=None, devices=1)
    for wrong in (replace(seen, power_w=inf), replace(seen, throughput=float("nan")), replace(seen, duration_s=0.0)):
        with pytest.raises(ValueError, match="'a'"):
            observe(evidence, wrong)
    with pytest.raises(ValueError, match="rising order"):
        seeded(())
    with pytest.raises(ValueError, match="rising order"):
        seeded((SEED[1], SEED[0]))
    with pytest.raises(ValueError, match="needs power"):
        seeded((replace(SEED[0], power_w=0.0),))
    # Under the lowest cap that the seed knows nothing can be said.
    assert observe(evidence, replace(seen, cap_w=60.0)) == evidence


def sweep(shared: Path) -> dict[str, tuple[CurvePoint, ...]]:
    """The cap sweep of a real cluster, by workload."""
    points: dict[str, list[CurvePoint]] = defaultdict(list)
    with (shared / "data/gpu/emerald/dvfs_sweep.csv").open() as file:
        for row in csv.DictReader(file):
            points[row["Workload"]].append(
                CurvePoint(
                    cap_w=float(row["GPU power cap"]),
                    power_w=float(row["power per GPU"]),
                    throughput=float(row["normalized throughput"]),
                )
            )
    return {name: tuple(found) for name, found in points.items()}


def mean_curve(curves: Sequence[Sequence[CurvePoint]]) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(
            cap_w=points[0].cap_w,
            power_w=fmean(point.power_w for point in points),
            throughput=fmean(point.throughput for point in points),
        )
        for points in zip(*curves, strict=True)
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_real_workload_is_learnt_from_the_table_of_the_others(shared: Path, seed: int) -> None:
    curves = sweep(shared)
    dice = random.Random(seed)
    inside: list[bool] = []
    better: list[bool] = []
    for name, truth in sorted(curves.items()):
        # Its family is kept out of the table: the two left have quite other curves.
        prior = mean_curve([curve for other, curve in curves.items() if other.split("_")[0] != name.split("_")[0]])
        watched = Watched(prior)
        for cap_w in (400.0, 320.0, 260.0, 210.0):
            real = between(truth, cap_w)
            for _ in range(12):
                watched.see(cap_w, [real.power_w * dice.gauss(1.0, 0.02)], real.throughput * dice.gauss(1.0, 0.03))
        found = {point.cap_w: point for point in watched.curve().points}
        for i, real in enumerate(truth):
            point = found[real.cap_w]
            inside.append(abs(point.power_w - real.power_w) <= 2.0 * point.power_error_w)
            if i < len(truth) - 1:
                inside.append(abs(point.throughput - real.throughput) <= 2.0 * point.throughput_error)
        tried = [real for real in truth if real.cap_w in {200.0, 250.0, 300.0}]
        off = [abs(found[real.cap_w].throughput - real.throughput) for real in tried]
        was_off = [abs(between(prior, real.cap_w).throughput - real.throughput) for real in tried]
        better.append(max(off) < max(0.4 * max(was_off), 0.02))
    assert len(inside) == 8 * 11
    # Two standard errors are to cover 95 %.
    assert sum(inside) >= 0.93 * len(inside)
    assert all(better)


def telemetry(shared: Path, workload: str, cap_w: int) -> list[float]:
    """Means of ten seconds of the loaded part of a run at a cap, from telemetry at 100 Hz."""
    path = shared / f"data/gpu/gridpilot_v100/{workload}_pcap{cap_w}_sm1380.csv"
    windows: dict[int, list[float]] = defaultdict(list)
    with path.open() as file:
        for row in csv.DictReader(file):
            if float(row["util_gpu"]) > 0.5:
                windows[int(float(row["t_s"]) // 10)].append(float(row["power_w"]))
    return [fmean(found) for _, found in sorted(windows.items()) if len(found) > 500]


def cap_for(curve: tuple[CurvePoint, ...], min_throughput: float) -> float:
    """The cap that allocation goes down to."""
    job = AllocationJob(
        job_id="a",
        weight=1.0,
        devices=1,
        min_throughput=guarded_floor(curve, min_throughput),
        can_pause=False,
        curve=curve,
    )
    return allocate([job], target_w=0.0).jobs[0].cap_w


@pytest.mark.parametrize("tier", [0.9, 0.75, 0.5])
def test_a_job_that_its_table_flatters_keeps_its_tier_once_its_curve_is_learnt(shared: Path, tier: float) -> None:
    curves = sweep(shared)
    flattering = mean_curve([curve for name, curve in curves.items() if name.startswith("ft_")])
    kept = 0
    for name, truth in curves.items():
        if not name.startswith("pt_"):
            continue
        # By the table its tier is broken by a tenth or more.
        assert between(truth, cap_for(flattering, tier)).throughput < tier - 0.08
        watched = Watched(flattering)
        for cap_w in (400.0, 300.0, 240.0, 190.0):
            real = between(truth, cap_w)
            watched.see(cap_w, noisy(real.power_w, 12), real.throughput)
        learnt_cap_w = cap_for(watched.curve().curve, tier)
        assert between(truth, learnt_cap_w).throughput >= tier - 0.02
        cautious_cap_w = cap_for(watched.curve().cautious(1.28), tier)
        kept += between(truth, cautious_cap_w).throughput >= tier
        # Caution costs some reduction, not all of it.
        assert learnt_cap_w <= cautious_cap_w <= learnt_cap_w + 40.0
    assert kept == 3


def training_runs(shared: Path, device: str) -> list[tuple[CurvePoint, ...]]:
    """The curves of training runs on a device (Zeus, Apache-2.0), the one that draws most first."""
    runs: dict[tuple[str, ...], dict[float, tuple[float, float]]] = defaultdict(dict)
    with (shared / f"data/gpu/zeus/summary_power_{device}.csv").open() as file:
        for row in csv.DictReader(file):
            key = (row["dataset"], row["network"], row["batch_size"], row["optimizer"])
            runs[key][float(row["power_limit"])] = (float(row["average_power"]), float(row["time_per_epoch"]))
    top_w = max(cap_w for run in runs.values() for cap_w in run)
    most = max(len(run) for run in runs.values())
    curves = [
        tuple(
            CurvePoint(cap_w=cap_w, power_w=power_w, throughput=min(1.0, run[top_w][1] / epoch_s))
            for cap_w, (power_w, epoch_s) in sorted(run.items())
        )
        for run in runs.values()
        if len(run) == most
    ]
    return sorted(curves, key=lambda curve: -curve[-1].power_w)


@pytest.mark.parametrize("device", ["v100", "a40"])
def test_training_runs_of_other_devices_are_learnt_from_the_heaviest(shared: Path, device: str) -> None:
    heaviest, *others = training_runs(shared, device)
    dice = random.Random(1)
    power_ins: list[bool] = []
    throughput_ins: list[bool] = []
    off: dict[str, list[float]] = defaultdict(list)
    # Those that the lowest cap touches; the rest is idle, as far as caps go.
    busy = [truth for truth in others if truth[0].power_w >= 86.0]
    for truth in busy:
        watched = Watched(heaviest)
        for cap_w in (truth[-1].cap_w, 0.65 * truth[-1].cap_w):
            real = between(truth, cap_w)
            watched.see(cap_w, [real.power_w * dice.gauss(1.0, 0.01) for _ in range(12)], real.throughput)
        found = watched.curve().points
        for point, real, first in zip(found, truth, heaviest, strict=True):
            power_ins.append(abs(point.power_w - real.power_w) <= 2.0 * point.power_error_w)
            throughput_ins.append(abs(point.throughput - real.throughput) <= 2.0 * point.throughput_error)
            off["power"].append((point.power_w - real.power_w) ** 2)
            off["power before"].append((first.power_w - real.power_w) ** 2)
            off["throughput"].append((point.throughput - real.throughput) ** 2)
            off["throughput before"].append((first.throughput - real.throughput) ** 2)
    assert len(busy) >= 20
    assert fmean(power_ins) >= 0.85
    assert fmean(throughput_ins) >= 0.92
    assert fmean(off["power"]) < fmean(off["power before"]) / 3.0**2
    assert fmean(off["throughput"]) < fmean(off["throughput before"]) / 2.0**2


def test_real_telemetry_of_a_device_that_does_not_use_its_cap(shared: Path) -> None:
    # The table is another device's; this one is a V100 at a matrix product (GridPilot, CC BY), seen at 300 and 150 W.
    prior = training_runs(shared, "a40")[0]
    watched = Watched(prior)
    for _ in range(3):
        for cap_w in (300, 150):
            watched.see(float(cap_w), telemetry(shared, "matmul_compute_bound", cap_w))
    found = {point.cap_w: point for point in watched.curve().points}
    # It draws as much at 250 W as at 300 W: a cap there saves nothing, where the table says that it does.
    assert power_at(prior, 300.0) - power_at(prior, 250.0) > 20.0
    assert found[300.0].power_w - found[250.0].power_w < 3.0
    for cap_w in (150, 250, 300):
        truth_w = fmean(telemetry(shared, "matmul_compute_bound", cap_w))
        assert abs(found[cap_w].power_w - truth_w) <= 2.0 * found[cap_w].power_error_w
    # In between lies the bend where the cap ceases to bind, sharper than the table's.
    truth_w = fmean(telemetry(shared, "matmul_compute_bound", 200))
    assert abs(found[200.0].power_w - truth_w) <= min(3.0 * found[200.0].power_error_w, 0.06 * truth_w)
    # Throughput was not seen: iterations a second of its table E1 show that the stretched table is the better guess.
    for cap_w, real in ((150.0, 79.10 / 93.73), (200.0, 91.80 / 93.73), (250.0, 93.71 / 93.73)):
        assert abs(found[cap_w].throughput - real) <= 2.0 * found[cap_w].throughput_error
        assert abs(found[cap_w].throughput - real) < abs(between(prior, cap_w).throughput - real)
