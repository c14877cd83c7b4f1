"""Jobs and results in words."""

from dataclasses import replace
from datetime import UTC, datetime

from gateway.cli.job_text import in_words, listing, results_in_words
from gateway.cli.time_text import duration_in_words
from hardware.device import Fault, Outcome
from hardware.errors import Condition, WriteRefused
from hardware.job import JobResult, JobState, JobView, NodeView, Verb

FAULT = Fault.of(WriteRefused("it may not be signalled", condition=Condition.NO_PERMISSION, cure="run it as root"))
TRAIN = JobView(
    job_id="train",
    device_ids=("gpu-0", "gpu-1"),
    tier="flex3",
    weight=1.0,
    min_throughput=0.5,
    curve=(),
    max_pause_s=300.0,
    state=JobState.PAUSED,
    progress=12.5,
    fault=FAULT,
)


def test_listing_shows_state_pause_and_what_to_do():
    text = listing([TRAIN], [NodeView(node_id="n1", drained=True), NodeView(node_id="n2")])
    assert "train  paused  flex3        2  signal, up to 5 min  no permission" in text
    assert "Drained nodes: n1\n" in text
    assert text.endswith("train: no permission: it may not be signalled\n  what to do: run it as root")
    assert max(map(len, text.splitlines())) <= 80
    assert listing([], []).startswith("no jobs")


def test_one_job_says_all_that_is_known():
    text = in_words(TRAIN)
    for part in ("at least 50%", "signal, up to 5 min", "its devices are not capped", "gpu-0, gpu-1", "progress 12.5"):
        assert part in text


def test_deadline_and_work_left_are_shown_where_they_are_known():
    due = replace(TRAIN, deadline_at=datetime(2026, 12, 1, 8, tzinfo=UTC), remaining_s=5432.0, fault=None)
    assert "deadline 2026-12-01 08:00:00Z, 91 min of work left at most" in in_words(due)
    assert "DEADLINE" in listing([due, TRAIN], [])
    assert "2026-12-01 08:00:00Z" in listing([due, TRAIN], [])
    assert "DEADLINE" not in listing([TRAIN], [])
    assert "work left" not in in_words(TRAIN)


def test_results_say_what_became_of_each_and_the_cure():
    done = JobResult(job_id="a", verb=Verb.PAUSE, state=JobState.PAUSED, outcome=Outcome.APPLIED)
    clamped = JobResult(
        job_id="b", verb=Verb.PAUSE, state=JobState.PAUSED, outcome=Outcome.CLAMPED, detail="paused for 60 s at most"
    )
    refused = JobResult(
        job_id="c", verb=Verb.RESUME, state=None, outcome=Outcome.REFUSED, detail=FAULT.detail, fault=FAULT
    )
    lost = JobResult(job_id="d", verb=Verb.HOLD, state=None, outcome=Outcome.LOST, detail="no such job")
    assert results_in_words([done, clamped, refused, lost], 600.0).splitlines() == [
        "a: paused for 10 min at most",
        "b: paused for 10 min at most (paused for 60 s at most)",
        "c: resume refused: no permission: it may not be signalled",
        "  what to do: run it as root",
        "d: hold lost: no such job",
    ]


def test_durations():
    assert [duration_in_words(seconds) for seconds in (90.0, 600.0, 7200.0, 0.5)] == ["90 s", "10 min", "2 h", "0.5 s"]
