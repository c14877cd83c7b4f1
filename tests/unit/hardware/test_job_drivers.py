"""Several job drivers as one: none hides the others' jobs."""

import pytest

from hardware.device import Lease, Outcome
from hardware.errors import Condition, DeviceLost, SchedulerLost, Unsupported
from hardware.job import JobAction, JobState, Verb
from hardware.job_drivers import JobDrivers, NoDevices
from hardware.journal import Journal
from hardware.pauses import PauseKeeper
from tests.job_queue import Queue, job


class Plain:
    """A driver without a queue."""

    def __init__(self, *jobs):
        self.found = {one.job_id: one for one in jobs}
        self.paused = []

    def jobs(self):
        return tuple(self.found.values())

    def pause(self, job_id):
        self.paused.append(job_id)

    def resume(self, job_id):
        self.paused.remove(job_id)


@pytest.fixture
def queue():
    return Queue({"17": job("17")})


@pytest.fixture
def both(queue):
    return JobDrivers({"process": Plain(job("train")), "slurm": queue})


def test_each_job_is_its_own_drivers(both, queue):
    assert {one.job_id for one in both.jobs()} == {"train", "17"}
    both.pause("17")
    both.pause("train")
    assert queue.state("17") is JobState.PAUSED
    both.resume("17")
    both.requeue("17")
    both.hold("17")
    both.release("17")
    both.prioritize("17", 5)
    both.drain("n1", "test")
    assert [node.drained for node in both.nodes()] == [True]
    both.undrain("n1")
    assert (queue.state("17"), queue.found["17"].priority, queue.drained) == (JobState.PENDING, 5, set())


def test_one_that_is_away_hides_nobody_and_its_jobs_stay_as_last_heard(both, queue):
    both.jobs(), both.nodes()
    queue.away = True
    found = {one.job_id: one for one in both.jobs()}
    assert found["train"].fault is None
    assert found["17"].fault.condition is Condition.NO_DRIVER
    assert [node.fault.cure for node in both.nodes()] == ["start it"]


def test_unknown_job_may_be_of_the_one_that_is_away(both, queue):
    queue.away = True
    with pytest.raises(SchedulerLost):
        both.resume("17")
    with pytest.raises(SchedulerLost):
        both.undrain("n1")
    queue.away = False
    for act in (lambda: both.resume("18"), lambda: both.undrain("n2")):
        with pytest.raises(Unsupported):
            act()


def test_nobody_there_is_not_the_same_as_no_jobs(queue):
    queue.away = True
    with pytest.raises(SchedulerLost):
        JobDrivers({"slurm": queue}).jobs()


def test_job_without_a_queue_cannot_be_held(both):
    with pytest.raises(Unsupported, match="pause it instead"):
        both.hold("train")


@pytest.mark.parametrize("heard_before", [True, False])
def test_pause_that_is_left_of_a_scheduler_that_is_away_is_kept_until_it_is_back(both, queue, heard_before):
    journal = Journal(None)
    keeper = PauseKeeper(both, journal)
    action = JobAction(job_id="17", verb=Verb.PAUSE, lease=Lease(epoch=1, sequence=1, duration_s=10.0))
    assert keeper.act([action], received_s=0.0, now_s=0.0)[0].outcome is Outcome.APPLIED
    queue.away = True
    if not heard_before:
        keeper = PauseKeeper(JobDrivers({"process": Plain(job("train")), "slurm": queue}), journal)
        keeper.recover(0.0)
    for now_s in range(10, 40):
        keeper.expire(float(now_s))
    assert journal.state.paused == {"17"}
    queue.away = False
    for now_s in range(40, 46):
        keeper.expire(float(now_s))
    assert (queue.state("17"), journal.state.paused) == (JobState.RUNNING, frozenset())


def test_host_with_jobs_only_has_no_devices():
    nothing = NoDevices()
    assert (nothing.devices(), nothing.readings()) == ((), ())
    for act in (lambda: nothing.limit_w("d0"), lambda: nothing.asked_w("d0"), lambda: nothing.set_limit_w("d0", 1.0)):
        with pytest.raises(DeviceLost):
            act()
