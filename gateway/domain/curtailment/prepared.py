"""A curtailment problem as arrays, computed once for the optimisation, the heuristic and the schedule alike."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from gateway.domain.allocate import Envelope, envelope
from gateway.domain.curtailment.problem import CurtailmentProblem
from gateway.domain.curtailment.windows import PauseWindows, pause_windows
from gateway.domain.tree import Flags, Floats, Indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """At least ``value_s`` of full throughput, in seconds, from the job in the time that ``seconds`` counts."""

    job: int
    seconds: Floats
    value_s: float


class Prepared:
    """The arrays.

    One element a job: ``worth`` is weight times devices, and ``floor_w``, ``top_w`` and ``idle_w`` are all its devices'
    at its floor, uncapped and paused; ``floor`` and ``top`` are the throughputs there.

    A job above its floor fills segments: segment ``k`` of job ``segment_job[k]`` draws up to ``segment_w[k]`` more and
    gives ``segment_gain[k]`` more throughput, the steepest first. ``node_share[i, j]`` is the share of job ``j`` that
    hangs under node ``i``. ``pausable`` are the jobs that may be paused, and ``windows`` when each of them may be.
    """

    def __init__(self, problem: CurtailmentProblem) -> None:
        self.problem = problem
        self.jobs = problem.jobs
        self.duration_s: Floats = np.array([interval.duration_s for interval in problem.intervals], dtype=np.float64)
        self.edges_s: Floats = np.concatenate([[0.0], np.cumsum(self.duration_s)])
        self.asked: Flags = np.array([interval.target_w is not None for interval in problem.intervals], dtype=np.bool_)
        self.target_w: Floats = np.array(
            [np.inf if interval.target_w is None else interval.target_w for interval in problem.intervals],
            dtype=np.float64,
        )
        self.devices: Floats = np.array([job.devices for job in problem.jobs], dtype=np.float64)
        self.worth: Floats = self.devices * np.array([job.weight for job in problem.jobs], dtype=np.float64)
        self.total_worth = float(self.worth.sum()) * float(self.edges_s[-1])
        self._measure([envelope(job.curve) for job in problem.jobs])
        self.node_share: Floats = np.array(
            [[node.devices.get(job.job_id, 0) / job.devices for job in problem.jobs] for node in problem.nodes],
            dtype=np.float64,
        ).reshape(len(problem.nodes), len(problem.jobs))
        self.pausable: Indices = self._pausable()
        self.windows: tuple[PauseWindows, ...] = tuple(self._windows_of(int(j)) for j in self.pausable)
        self.stagger_w = self._stagger_w()
        self.needs = self._needs()

    @property
    def intervals(self) -> int:
        """How many intervals there are."""
        return len(self.duration_s)

    def at(self, edge: int) -> datetime:
        """The instant at which interval ``edge`` begins; the last edge is the end of all."""
        return self.problem.starts_at + timedelta(seconds=float(self.edges_s[edge]))

    def saved_w(self, j: int) -> float:
        """What a pause saves at most."""
        return float(self.top_w[j] - self.idle_w[j])

    def _measure(self, envelopes: list[Envelope]) -> None:
        ends: list[tuple[float, float, float, float, float]] = []
        owner: list[int] = []
        segments: list[tuple[float, float]] = []
        for j, (job, curve) in enumerate(zip(self.jobs, envelopes, strict=True)):
            low_w = curve.power_for(job.min_throughput)
            low = curve.throughput_at(low_w)
            idle_w = min(job.idle_w, low_w)
            ends.append((low_w, curve.power_w[-1], idle_w, low, curve.throughput[-1]))
            for power_w, throughput in zip(curve.power_w, curve.throughput, strict=True):
                if power_w > low_w and throughput > low:
                    owner.append(j)
                    segments.append((job.devices * (power_w - low_w), throughput - low))
                    low_w, low = power_w, throughput
            ends[-1] = (ends[-1][0], low_w, idle_w, ends[-1][3], low)
        table = np.array(ends, dtype=np.float64).reshape(len(ends), 5)
        self.floor_w: Floats = self.devices * table[:, 0]
        self.top_w: Floats = self.devices * table[:, 1]
        self.idle_w: Floats = self.devices * table[:, 2]
        self.floor: Floats = table[:, 3]
        self.top: Floats = table[:, 4]
        self.envelopes = envelopes
        self.segment_job: Indices = np.array(owner, dtype=np.intp)
        widths = np.array(segments, dtype=np.float64).reshape(len(segments), 2)
        self.segment_w: Floats = widths[:, 0]
        self.segment_gain: Floats = widths[:, 1]

    def _pausable(self) -> Indices:
        """The jobs that may be paused and would draw less then, or are paused already."""
        return np.array(
            [
                j
                for j, job in enumerate(self.jobs)
                if job.pause is not None
                and (job.pause.paused_for_s > 0.0 or (self.saved_w(j) > 0.0 and job.pause.max_pause_s > 0.0))
            ],
            dtype=np.intp,
        )

    def _windows_of(self, j: int) -> PauseWindows:
        pause = self.jobs[j].pause
        if pause is None:
            raise ValueError(f"job {self.jobs[j].job_id!r} must not be paused")
        return pause_windows(pause, self.edges_s)

    def _stagger_w(self) -> float:
        saved = [self.saved_w(int(j)) for j in self.pausable]
        return max([self.problem.stagger_fraction * sum(saved), *saved], default=0.0)

    def due_w(self) -> Floats:
        """What comes back at each edge at the latest, of the pauses that go on from before."""
        due = np.zeros(self.intervals + 1)
        for j, found in zip(self.pausable, self.windows, strict=True):
            if found.goes_on is not None:
                due[np.flatnonzero(found.goes_on)[-1]] += self.saved_w(int(j))
        return due

    def _needs(self) -> list[Need]:
        """Tier means over the event and over the job, and deadlines, each as far as it can still be kept.

        A mean is asked on the envelope, which flatters the curve by its error: that much more is asked.
        """
        found: list[Need] = []
        end_s = float(self.edges_s[-1])
        in_event_s = np.where(self.asked, self.duration_s, 0.0)
        sure = {int(j): found for j, found in zip(self.pausable, self.windows, strict=True)}
        for j, job in enumerate(self.jobs):
            mean = job.tier_mean + self.envelopes[j].error if job.tier_mean > 0.0 else 0.0
            gone_s = max(0.0, job.elapsed_s)
            life_s = mean * (gone_s + end_s) - job.throughput_so_far * gone_s
            event_s = mean * (job.asked_s + float(in_event_s.sum())) - job.asked_given_s
            asked = [(in_event_s, event_s), (self.duration_s, life_s)]
            if job.deadline_at is not None:
                until_s = (job.deadline_at - self.problem.starts_at).total_seconds()
                inside_s = np.clip(until_s - self.edges_s[:-1], 0.0, self.duration_s)
                after_s = max(0.0, until_s - end_s)
                asked.append((inside_s, job.remaining_s - after_s * float(self.top[j])))
            for seconds, value_s in asked:
                lost = sure[j].surely_lost(seconds) if j in sure else 0.0
                reach_s = float(self.top[j]) * (float(seconds.sum()) - lost)
                held_s = min(value_s, reach_s)
                surely_s = float(self.floor[j]) * float(seconds.sum())
                if held_s > 0.0 and (j in sure or held_s > surely_s):
                    found.append(Need(job=j, seconds=seconds, value_s=held_s))
        return found
