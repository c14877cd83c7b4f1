"""Listings recorded from Slurm 22.05.8 (``squeue --json``, ``sinfo --json``), less the keys that nobody reads."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hardware.job import JobState
from hardware.slurm.listing import ListedJob, hosts, numbers, read_jobs, read_nodes

FOLDER = Path(__file__).parent
RECORDED_AT_S = 1795451746.0


@pytest.fixture
def page() -> Any:
    return json.loads((FOLDER / "recorded_jobs.json").read_text(encoding="ascii"))


def one(page: Any, index: int = 0, /, **changes: Any) -> ListedJob:
    """The only job of a listing with that one entry, changed."""
    (job,) = read_jobs({"jobs": [copy.deepcopy(page["jobs"][index]) | changes]}, RECORDED_AT_S).values()
    return job


def test_states_and_ids_of_a_recorded_listing(page: Any) -> None:
    states = {job.job_id: job.state for job in read_jobs(page, RECORDED_AT_S).values()}
    assert states == {
        "1": JobState.PAUSED,
        "2": JobState.PAUSED,
        "3_0": JobState.RUNNING,
        "4": JobState.RUNNING,
        "6": JobState.HELD,
        "7": JobState.PENDING,
        "8": JobState.HELD,
        "3": JobState.PENDING,
    }


def test_what_tells_apart_paused_requeued_and_waiting_jobs(page: Any) -> None:
    jobs = read_jobs(page, RECORDED_AT_S)
    assert (jobs["1"].stopped, jobs["1"].priority) == (False, None)
    assert jobs["2"].stopped
    assert (jobs["8"].requeued, jobs["8"].restarts, jobs["6"].requeued) == (True, 1, False)
    assert jobs["3"].tasks == "1-4"


def test_devices_of_all_nodes_and_of_all_parts(page: Any) -> None:
    jobs = read_jobs(page, RECORDED_AT_S)
    assert jobs["2"].device_ids == ("gpu1/3", "gpu1/4", "gpu2/0", "gpu2/1")
    assert jobs["4"].device_ids == ("gpu1/6", "gpu2/2", "gpu2/3")
    assert jobs["6"].device_ids == ()


@pytest.mark.parametrize(
    ("detail", "slots"),
    [
        ("gpu:h100:3(IDX:0-1,5)", ("gpu1/0", "gpu1/1", "gpu1/5")),
        ("gpu:1(IDX:7)", ("gpu1/7",)),
        ("nic:1(IDX:0),gpu:a:1(IDX:1),gpu:b:2(IDX:2-3)", ("gpu1/1", "gpu1/2", "gpu1/3")),
        ("gpu:h100:0(IDX:)", ()),
        ("nic:2(IDX:0-1)", ()),
        ("gpu:h100:2(IDX:N/A)", None),
        ("gpu:h100:2", None),
    ],
)
def test_devices_of_one_node(page: Any, detail: str, slots: tuple[str, ...] | None) -> None:
    assert one(page, gres_detail=[detail]).device_ids == slots


def test_devices_that_fit_no_list_of_nodes_are_unknown(page: Any) -> None:
    assert one(page, gres_detail=["gpu:1(IDX:0)", "gpu:1(IDX:0)"]).device_ids is None
    assert one(page, nodes="gpu[1-").device_ids is None


def test_part_of_a_heterogeneous_job_that_runs_keeps_the_whole_from_being_paused(page: Any) -> None:
    page["jobs"][4]["job_state"] = "SUSPENDED"
    assert read_jobs(page, RECORDED_AT_S)["4"].state is JobState.RUNNING
    page["jobs"][3]["job_state"] = "SUSPENDED"
    assert read_jobs(page, RECORDED_AT_S)["4"].state is JobState.PAUSED


def test_job_that_ends_is_told_from_one_that_begins_anew(page: Any) -> None:
    ended = one(page, job_state="COMPLETING", restart_cnt=1, end_time=RECORDED_AT_S - 1)
    anew = one(page, job_state="COMPLETING", restart_cnt=1, end_time=6090419103, priority=1)
    held = one(page, 7, job_state="COMPLETING")
    assert [job.state for job in (ended, anew, held)] == [JobState.FINISHED, JobState.PENDING, JobState.HELD]
    assert anew.ending
    assert held.ending


def test_time_limit_says_how_much_work_is_left_at_most(page: Any) -> None:
    limit = {"time_limit": 120, "end_time": int(RECORDED_AT_S) + 3600, "pre_sus_time": 600, "deadline": 1795500000}
    assert one(page, 2, **limit, job_state="RUNNING").remaining_s == 3600.0
    assert one(page, 2, **limit, job_state="SUSPENDED").remaining_s == 6600.0, "the limit stands still meanwhile"
    assert one(page, 2, **limit, job_state="PENDING", priority=1).remaining_s == 7200.0
    assert one(page, 2, **limit, job_state="COMPLETED").remaining_s is None
    assert one(page, 2, **limit).deadline_at == datetime.fromtimestamp(1795500000, UTC)
    endless = {"set": True, "infinite": True, "number": 0}
    for nothing in (None, 0, 0xFFFF_FFFF, endless):
        job = one(page, 2, **limit | {"time_limit": nothing, "deadline": 0})
        assert (job.remaining_s, job.deadline_at) == (None, None)


def test_parts_of_a_heterogeneous_job_have_the_longest_work_and_the_first_deadline(page: Any) -> None:
    for index, (deadline, ends_in_s) in enumerate(((1795500000, 60), (1795490000, 90)), start=3):
        page["jobs"][index] |= {"time_limit": 2, "end_time": int(RECORDED_AT_S) + ends_in_s, "deadline": deadline}
    job = read_jobs(page, RECORDED_AT_S)["4"]
    assert (job.remaining_s, job.deadline_at) == (90.0, datetime.fromtimestamp(1795490000, UTC))


@pytest.mark.parametrize(
    "word", ["COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "COMPLETING"]
)
def test_ended_jobs_are_finished(page: Any, word: str) -> None:
    assert one(page, job_state=word).state is JobState.FINISHED


def test_later_releases_write_numbers_and_states_in_another_way(page: Any) -> None:
    number = {"set": True, "infinite": False, "number": 12}
    unset = {"set": False, "infinite": False, "number": 0}
    job = one(page, 1, job_id=12, job_state=["RUNNING"], priority=number, array_job_id=unset, array_task_id=unset)
    assert (job.job_id, job.state, job.priority) == ("12", JobState.RUNNING, 12)
    assert one(page, 1, job_state=["PENDING", "COMPLETING"]).state is JobState.PENDING


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("", "/home/ana/jobs/slurm-1.out"),
        ("/out/%x-%j.txt", "/out/train a JobState=X-1.txt"),
        ("out/%A.txt", "/home/ana/jobs/out/1.txt"),
        ("/out/100%%.txt", "/out/100%.txt"),
        ("/out/%N.txt", None),
        ("/out/%", None),
        ("/out/\n", None),
    ],
)
def test_output_file_is_found_or_not_guessed(page: Any, pattern: str, path: str | None) -> None:
    assert one(page, standard_output=pattern).output == path


def test_nodes_and_why_they_are_drained() -> None:
    nodes = read_nodes(json.loads((FOLDER / "recorded_nodes.json").read_text(encoding="ascii")))
    assert {name: (node.drained, node.reason) for name, node in nodes.items()} == {
        "gpu1": (False, ""),
        "gpu2": (True, "bad fan"),
    }


@pytest.mark.parametrize("page", [None, [], {}, {"jobs": None}, {"jobs": [1]}, {"jobs": [{}]}])
def test_what_is_no_listing_is_refused(page: object) -> None:
    with pytest.raises(ValueError, match=r"jobs|number"):
        read_jobs(page, RECORDED_AT_S)


def test_lists_of_hosts_and_numbers() -> None:
    assert hosts("gpu[01-03,7],login,r[1-2]n[8-9]") == [
        *("gpu01", "gpu02", "gpu03", "gpu7", "login"),
        *("r1n8", "r1n9", "r2n8", "r2n9"),
    ]
    assert numbers("0-2,007") == ["0", "1", "2", "007"]


@pytest.mark.parametrize(
    "text", [",", "a,", "a[1-2", "a]", "a[]", "a[x]", "a[1--2]", "a[1-99999999]", "a[1-9999][1-9999]", "a[1-2,]"]
)
def test_lists_that_are_wrong_or_without_bounds_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="list"):
        hosts(text)
