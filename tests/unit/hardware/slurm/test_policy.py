"""Slurm's own words, as its commands and its REST service wrote them."""

import pytest

from hardware.errors import Condition, HardwareError, SchedulerLost, Unsupported, WriteRefused
from hardware.slurm.policy import TEXT_LIMIT, fault, node_fault


@pytest.mark.parametrize(
    ("text", "kind", "condition"),
    [
        (
            "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
            SchedulerLost,
            Condition.NO_DRIVER,
        ),
        ("squeue: fatal: Could not establish a configuration source", SchedulerLost, Condition.NO_DRIVER),
        ("squeue: error: If munged is up, restart with --num-threads=10", SchedulerLost, Condition.NO_DRIVER),
        ("slurm_load_jobs error: Protocol authentication error", SchedulerLost, Condition.NO_DRIVER),
        ("Incompatible versions of client and server code", SchedulerLost, Condition.VERSION_MISMATCH),
        ("Access/permission denied for job 2", WriteRefused, Condition.NO_PERMISSION),
        ("Invalid user id for job 2\nslurm_suspend error: Invalid user id", WriteRefused, Condition.NO_PERMISSION),
        ("Invalid job id specified for job 999", WriteRefused, Condition.LOST),
        ("slurm_update error: Invalid node name specified", WriteRefused, Condition.LOST),
        ("Job is pending execution for job 4", Unsupported, Condition.NOT_SUPPORTED),
        ("Requested operation is presently disabled for job 3", Unsupported, Condition.NOT_SUPPORTED),
        ("Unexpected message received for job 999", WriteRefused, Condition.FAILED),
    ],
)
def test_what_slurm_says_has_a_name_and_a_cure(text: str, kind: type[HardwareError], condition: Condition) -> None:
    error = fault(text, doing="do it")
    assert (type(error), error.condition) == (kind, condition)
    assert error.cure
    assert str(error).startswith("cannot do it: ")


def test_long_text_is_cut() -> None:
    assert len(str(fault("x" * 10_000, doing="do it"))) < TEXT_LIMIT + 300


@pytest.mark.parametrize(
    ("words", "condition"),
    [
        (["IDLE"], None),
        (["MIXED", "DRAIN"], None),
        (["DOWN"], Condition.LOST),
        (["DOWN", "NOT_RESPONDING"], Condition.LOST),
        (["IDLE", "NOT_RESPONDING"], Condition.SILENT),
        (["MIXED", "FAIL"], Condition.FAILED),
    ],
)
def test_node_in_trouble_is_named(words: list[str], condition: Condition | None) -> None:
    found = node_fault("gpu1", frozenset(words), "a reason")
    assert (None if found is None else found.condition) is condition
    assert found is None or ("gpu1" in found.cure and "a reason" in found.detail)
