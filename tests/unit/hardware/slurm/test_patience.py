import pytest
from structlog.testing import capture_logs

from hardware.errors import CallHangs, Condition, SchedulerLost, WriteRefused
from hardware.slurm.patience import Patience


class Scheduler:
    """Fails as it is told to, and counts how often it is asked; with it the clock."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.fault: Exception | None = None
        self.asked = 0
        self.patience = Patience(5.0, lambda: self.now_s)

    def ask(self) -> str:
        return self.patience.ask(self._answer)

    def _answer(self) -> str:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return "well"


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


def test_after_a_hang_it_is_left_alone_and_then_asked_again(scheduler: Scheduler) -> None:
    scheduler.fault = CallHangs("squeue hangs", cure="start it")
    with pytest.raises(CallHangs):
        scheduler.ask()
    with pytest.raises(SchedulerLost) as caught:
        scheduler.ask()
    assert (caught.value.condition, caught.value.cure) == (Condition.CALL_HANGS, "start it")
    assert scheduler.asked == 1
    scheduler.now_s += 5.0
    scheduler.fault = None
    assert scheduler.ask() == "well"
    assert scheduler.ask() == "well"


def test_each_change_is_told_once(scheduler: Scheduler) -> None:
    with capture_logs() as told:
        for fault in (SchedulerLost("a"), SchedulerLost("b"), CallHangs("c"), CallHangs("d"), None, None):
            scheduler.fault = fault
            scheduler.now_s += 5.0
            if fault is None:
                scheduler.ask()
            else:
                with pytest.raises(type(fault)):
                    scheduler.ask()
    assert [(line["event"], line.get("condition")) for line in told] == [
        ("slurm_lost", "no driver"),
        ("slurm_lost", "call hangs"),
        ("slurm_back", None),
    ]


def test_refusal_of_one_write_holds_nothing_else_up(scheduler: Scheduler) -> None:
    scheduler.fault = WriteRefused("no")
    for _ in range(2):
        with pytest.raises(WriteRefused):
            scheduler.ask()
    assert scheduler.asked == 2
