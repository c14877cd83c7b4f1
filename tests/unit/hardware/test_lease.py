"""The rules of a lease on plain numbers."""

import math

import pytest

from hardware.device import Lease, OnExpiry
from hardware.lease import LeaseTable, highest_epoch, malformed


def lease(epoch=1, sequence=1, duration_s=10.0, on_expiry=OnExpiry.RESTORE) -> Lease:
    return Lease(epoch=epoch, sequence=sequence, duration_s=duration_s, on_expiry=on_expiry)


def refusal(table: LeaseTable, asked: Lease, *, epoch=1, received_s=0.0, now_s=0.0) -> str | None:
    return table.refusal("a", asked, epoch=epoch, received_s=received_s, now_s=now_s)


@pytest.mark.parametrize("duration_s", [0.0, -1.0, math.inf, -math.inf, math.nan, 86_401.0])
def test_no_lease_without_an_end(duration_s):
    assert "a lease lasts" in malformed(lease(duration_s=duration_s))


@pytest.mark.parametrize("numbers", [{"epoch": -1}, {"sequence": -1}, {"epoch": 2**63}, {"sequence": 2**80}])
def test_numbers_that_nobody_can_hold(numbers):
    assert malformed(lease(**numbers)) is not None


def test_lower_epoch_is_refused_and_equal_or_higher_is_not():
    table = LeaseTable()
    assert "epoch 4 is over" in refusal(table, lease(epoch=4), epoch=5)
    assert refusal(table, lease(epoch=5), epoch=5) is None
    assert refusal(table, lease(epoch=6), epoch=5) is None


def test_lower_sequence_is_stale_and_same_is_a_repetition():
    table = LeaseTable()
    table.hear("a", lease(sequence=7))
    assert "stale" in refusal(table, lease(sequence=6))
    assert refusal(table, lease(sequence=7)) is None
    assert table.repeats("a", lease(sequence=7))
    assert not table.repeats("a", lease(sequence=8))
    assert refusal(table, lease(sequence=8)) is None


def test_higher_epoch_begins_with_any_sequence():
    table = LeaseTable()
    table.hear("a", lease(epoch=1, sequence=700))
    assert refusal(table, lease(epoch=2, sequence=1), epoch=2) is None


def test_what_was_heard_outlives_the_lease():
    table = LeaseTable()
    table.hear("a", lease(sequence=7))
    table.grant("a", lease(sequence=7), 10.0)
    table.end("a")
    assert "stale" in refusal(table, lease(sequence=6), now_s=20.0, received_s=20.0)
    assert table.repeats("a", lease(sequence=7))


def test_command_that_waited_longer_than_its_lease_does_not_act():
    assert "had ended" in refusal(LeaseTable(), lease(duration_s=5.0), received_s=10.0, now_s=15.0)
    assert refusal(LeaseTable(), lease(duration_s=5.0), received_s=10.0, now_s=14.9) is None


def test_due_at_its_end_and_until_it_is_ended():
    table = LeaseTable()
    table.grant("a", lease(), 10.0)
    assert table.due(9.99) == ()
    assert table.runs(9.99)
    assert table.due(10.0) == ("a",)
    assert not table.runs(10.0)
    assert table.due(10.25) == ("a",)
    table.end("a")
    assert table.due(11.0) == ()


def test_renewal_moves_the_end():
    table = LeaseTable()
    table.grant("a", lease(), 10.0)
    table.grant("a", lease(sequence=2), 20.0)
    assert table.due(15.0) == ()
    assert table.due(20.0) == ("a",)


def test_lease_that_holds_is_told_once_and_never_due():
    table = LeaseTable()
    table.grant("a", lease(on_expiry=OnExpiry.HOLD), 10.0)
    assert table.newly_held_over(9.0) == ()
    assert table.newly_held_over(10.0) == ("a",)
    assert table.newly_held_over(11.0) == ()
    assert table.due(1e9) == ()
    table.lapse("a")
    assert table.due(11.0) == ("a",)


def test_lease_that_held_can_be_renewed_to_restore_and_back():
    table = LeaseTable()
    table.grant("a", lease(on_expiry=OnExpiry.HOLD), 10.0)
    table.newly_held_over(10.0)
    table.grant("a", lease(sequence=2), 20.0)
    assert table.due(20.0) == ("a",)
    table.grant("a", lease(sequence=3, on_expiry=OnExpiry.HOLD), 30.0)
    assert table.newly_held_over(30.0) == ("a",)


def test_highest_epoch_counts_only_well_formed_leases():
    assert highest_epoch(3, [lease(epoch=2), lease(epoch=9, duration_s=math.nan), lease(epoch=5)]) == 5
    assert highest_epoch(3, []) == 3
