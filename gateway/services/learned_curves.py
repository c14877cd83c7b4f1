"""Power curves of the jobs that run, learnt from what their devices draw under the caps that hold.

Dispatch hands over what it knows each second. What was learnt is taken up between events: while one is held the curves
stay as they were, and feedback at the meter makes up for what they get wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from gateway.domain.curve_learning import CurveEvidence, LearntCurve, learnt, observe, seeded
from gateway.domain.curve_observation import SAME_CAP_FRACTION, WINDOW_S, CapInForce, observations
from hardware.device import PowerReading
from hardware.job import CurvePoint, JobState, JobView

CHANGED_FRACTION = 0.01
"""A curve that moved by less, in power or throughput at any point, is the same: allocation is not built anew for it."""


ERRORS = 1.28
"""So many standard errors a curve's throughput is taken lower than learnt: nine times in ten a tier is kept by it."""


class LearnedCurves:
    """Evidence by job, kept for as long as the job runs. A job whose declared curve changes is learnt anew."""

    def __init__(self) -> None:
        self._seeds: dict[str, tuple[CurvePoint, ...]] = {}
        self._evidence: dict[str, CurveEvidence] = {}
        self._learnt: dict[str, LearntCurve] = {}
        self._taken: dict[str, tuple[CurvePoint, ...]] = {}
        self._caps: dict[str, CapInForce] = {}
        self._running_since: dict[str, datetime] = {}
        self._readings: dict[str, list[PowerReading]] = {}
        self._window_from: datetime | None = None

    def note(
        self,
        now: datetime,
        jobs: Iterable[JobView],
        *,
        readings: Mapping[str, PowerReading],
        caps_w: Mapping[str, float],
    ) -> None:
        """Take what is known now: the jobs as their hosts see them, the latest readings, and the caps that hold."""
        self._note_caps(now, caps_w)
        jobs = tuple(jobs)
        self._note_running(now, jobs)
        if self._window_from is None or now < self._window_from:
            # A clock that was set back: what was gathered belongs to no window.
            self._window_from = now
            self._readings.clear()
        for job in jobs:
            for device_id in job.device_ids:
                reading = readings.get(device_id)
                if reading is not None:
                    heard = self._readings.setdefault(device_id, [])
                    if not heard or heard[-1].measured_at < reading.measured_at:
                        heard.append(reading)
        if now - self._window_from >= timedelta(seconds=WINDOW_S):
            self._observe(self._window_from, now, jobs)
            self._window_from = now
            self._readings.clear()

    def taken_up(self, jobs: Sequence[JobView], now: datetime) -> tuple[JobView, ...]:
        """The jobs with the curves that were learnt by now, where they differ by more than nothing."""
        return tuple(self._with_curve(job, now) for job in jobs)

    def as_taken(self, jobs: Sequence[JobView]) -> tuple[JobView, ...]:
        """The jobs with the curves that were taken up last."""
        return tuple(replace(job, curve=self._taken.get(job.job_id, job.curve)) for job in jobs)

    def learnt(self) -> Mapping[str, LearntCurve]:
        """The curves with their errors, by job, as they were when curves were taken up last."""
        return dict(self._learnt)

    def _with_curve(self, job: JobView, now: datetime) -> JobView:
        evidence = self._evidence.get(job.job_id)
        if evidence is None:
            return job
        known = self._learnt[job.job_id] = learnt(evidence, now)
        found = known.cautious(ERRORS)
        before = self._taken.get(job.job_id, job.curve)
        if len(found) != len(before) or any(_differ(one, other) for one, other in zip(found, before, strict=True)):
            self._taken[job.job_id] = found
        return replace(job, curve=self._taken.get(job.job_id, job.curve))

    def _note_caps(self, now: datetime, caps_w: Mapping[str, float]) -> None:
        for device_id, cap_w in caps_w.items():
            known = self._caps.get(device_id)
            if known is None or abs(known.cap_w - cap_w) > SAME_CAP_FRACTION * cap_w:
                self._caps[device_id] = CapInForce(cap_w=cap_w, since=now)
        for device_id in self._caps.keys() - caps_w.keys():
            del self._caps[device_id]

    def _note_running(self, now: datetime, jobs: Sequence[JobView]) -> None:
        running = {job.job_id for job in jobs if job.state is JobState.RUNNING}
        for job_id in self._running_since.keys() - running:
            del self._running_since[job_id]
        for job_id in running - self._running_since.keys():
            self._running_since[job_id] = now
        for job in jobs:
            if job.curve and self._seeds.get(job.job_id) != job.curve:
                self._seeds[job.job_id] = job.curve
                self._evidence[job.job_id] = seeded(job.curve)
                self._taken.pop(job.job_id, None)
                self._learnt.pop(job.job_id, None)
        known = {job.job_id for job in jobs}
        for job_id in self._seeds.keys() - known:
            del self._seeds[job_id], self._evidence[job_id]
            self._taken.pop(job_id, None)
            self._learnt.pop(job_id, None)

    def _observe(self, window_from: datetime, now: datetime, jobs: Sequence[JobView]) -> None:
        for seen in observations(
            jobs,
            readings=self._readings,
            caps=self._caps,
            window_from=window_from,
            window_to=now,
            running_since=self._running_since,
        ):
            self._evidence[seen.job_id] = observe(self._evidence[seen.job_id], seen)


def _differ(one: CurvePoint, other: CurvePoint) -> bool:
    return (
        one.cap_w != other.cap_w
        or abs(one.power_w - other.power_w) > CHANGED_FRACTION * other.power_w
        or abs(one.throughput - other.throughput) > CHANGED_FRACTION
    )
