"""What becomes of limits: clamping, epochs, expiry, somebody else's hand, faults of device and journal."""

import math
from dataclasses import replace

import pytest

from hardware.device import OnExpiry, Outcome
from hardware.errors import WriteRefused
from hardware.faults import Faults
from hardware.journal import Journal
from hardware.wire import Apply, Describe, Restore


def apply(agent, *commands):
    return agent.handle(Apply(commands=commands)).results


def outcome(agent, command):
    (result,) = apply(agent, command)
    return result.outcome


def restore(agent, *device_ids, epoch=1):
    return agent.handle(Restore(device_ids=device_ids, epoch=epoch)).results


def journaled(stand):
    """What is on disk, whoever has it open."""
    copy = stand.journal.with_name("copy.json")
    copy.write_bytes(stand.journal.read_bytes())
    journal = Journal(copy)
    journal.open()
    journal.close()
    return journal.state


def test_cap_is_written_read_back_and_journaled(stand):
    (result,) = apply(stand.agent(), stand.cap(250.0))
    assert (result.outcome, result.applied_w, stand.limit_w()) == (Outcome.APPLIED, 250.0, 250.0)
    entry = journaled(stand).limits["h00-d0"]
    assert (entry.found_w, entry.written_w) == (400.0, 250.0)


def test_limit_found_is_on_disk_before_the_first_write(stand, monkeypatch):
    agent = stand.agent()
    seen = []
    write = stand.fleet.set_limit_w

    def watched(device_id, limit_w):
        seen.append(journaled(stand).limits[device_id])
        write(device_id, limit_w)

    monkeypatch.setattr(stand.fleet, "set_limit_w", watched)
    apply(agent, stand.cap(250.0))
    apply(agent, stand.cap(200.0))
    assert [(entry.found_w, entry.written_w, entry.before_w) for entry in seen] == [
        (400.0, 250.0, 400.0),
        (400.0, 200.0, 250.0),
    ]


@pytest.mark.parametrize(
    ("cap_w", "applied_w", "expected"),
    [
        (99.0, 100.0, Outcome.CLAMPED),
        (0.0, 100.0, Outcome.CLAMPED),
        (100.0, 100.0, Outcome.APPLIED),
        (400.0, 400.0, Outcome.APPLIED),
        (401.0, 400.0, Outcome.CLAMPED),
        (1e300, 400.0, Outcome.CLAMPED),
    ],
)
def test_cap_is_clamped_to_the_range(stand, cap_w, applied_w, expected):
    (result,) = apply(stand.agent(), stand.cap(cap_w))
    assert (result.outcome, result.applied_w, stand.limit_w()) == (expected, applied_w, applied_w)
    assert result.requested_w == cap_w


@pytest.mark.parametrize("cap_w", [math.nan, math.inf, -math.inf, -1.0])
def test_cap_that_is_no_number_of_watts_is_refused(stand, cap_w):
    assert outcome(stand.agent(), stand.cap(cap_w)) is Outcome.REFUSED
    assert stand.limit_w() == 400.0


def test_never_above_the_limit_found(stand):
    agent = stand.agent()
    stand.set_by_other(300.0)
    (result,) = apply(agent, stand.cap(350.0))
    assert (result.outcome, result.applied_w) == (Outcome.CLAMPED, 300.0)
    apply(agent, stand.cap(200.0))
    (result,) = apply(agent, stand.cap(380.0))
    assert (result.outcome, stand.limit_w()) == (Outcome.CLAMPED, 300.0)


def test_limit_found_under_the_floor_is_left(stand):
    agent = stand.agent()
    stand.set_by_other(90.0)
    (result,) = apply(agent, stand.cap(200.0))
    assert (result.outcome, result.applied_w, stand.limit_w()) == (Outcome.REFUSED, 90.0, 90.0)


def test_lower_epoch_is_refused_and_changes_nothing(stand):
    agent = stand.agent()
    apply(agent, stand.cap(250.0, epoch=5))
    assert outcome(agent, stand.cap(200.0, epoch=4)) is Outcome.REFUSED
    assert [result.outcome for result in restore(agent, "h00-d0", epoch=4)] == [Outcome.REFUSED]
    assert stand.limit_w() == 250.0


def test_epoch_is_remembered_over_a_restart(stand):
    apply(stand.agent(), stand.cap(250.0, epoch=5))
    again = stand.agent()
    again.recover()
    assert again.handle(Describe()).highest_epoch == 5
    assert outcome(again, stand.cap(200.0, epoch=4)) is Outcome.REFUSED
    assert outcome(again, stand.cap(200.0, epoch=5)) is Outcome.APPLIED


def test_higher_epoch_takes_a_cap_over_and_restores_what_was_found_first(stand):
    agent = stand.agent()
    apply(agent, stand.cap(250.0, epoch=1))
    assert outcome(agent, stand.cap(200.0, epoch=2, sequence=0)) is Outcome.APPLIED
    restore(agent, "h00-d0", epoch=2)
    assert stand.limit_w() == 400.0


def test_stale_sequence_is_refused(stand):
    agent = stand.agent()
    apply(agent, stand.cap(250.0, sequence=9))
    assert outcome(agent, stand.cap(200.0, sequence=8)) is Outcome.REFUSED
    assert stand.limit_w() == 250.0


def test_same_command_twice_acts_once(stand):
    agent = stand.agent()
    command = stand.cap(250.0, duration_s=10.0)
    first = apply(agent, command)
    stand.now_s += 6.0
    assert apply(agent, command) == first
    stand.now_s += 6.0
    agent.expire()
    assert stand.limit_w() == 400.0, "a repetition must not prolong the lease"
    assert outcome(agent, command) is Outcome.REFUSED
    assert stand.limit_w() == 400.0


def test_repeated_command_that_met_a_conflict_does_not_act(stand):
    agent = stand.agent()
    apply(agent, stand.cap(250.0))
    stand.set_by_other(320.0)
    command = stand.cap(200.0)
    assert outcome(agent, command) is Outcome.CONFLICT
    assert outcome(agent, command) is Outcome.CONFLICT
    assert stand.limit_w() == 320.0


def test_device_named_twice_in_one_message_is_capped_once(stand):
    results = apply(stand.agent(), stand.cap(250.0), stand.cap(200.0))
    assert [result.outcome for result in results] == [Outcome.APPLIED, Outcome.REFUSED]
    assert stand.limit_w() == 250.0


def test_expiry_restores_by_itself(stand):
    agent = stand.agent()
    apply(agent, stand.cap(250.0, duration_s=10.0))
    stand.now_s += 9.75
    agent.expire()
    assert stand.limit_w() == 250.0
    stand.now_s += 0.25
    agent.expire()
    assert stand.limit_w() == 400.0
    assert journaled(stand).limits == {}


def test_renewal_moves_the_expiry_and_writes_nothing(stand, monkeypatch):
    agent = stand.agent()
    apply(agent, stand.cap(250.0, duration_s=10.0))
    monkeypatch.setattr(stand.fleet, "set_limit_w", None)
    stand.now_s += 9.0
    assert outcome(agent, stand.cap(250.0, duration_s=10.0)) is Outcome.APPLIED
    stand.now_s += 9.0
    agent.expire()
    assert stand.limit_w() == 250.0
    monkeypatch.undo()
    stand.now_s += 1.0
    agent.expire()
    assert stand.limit_w() == 400.0


def test_lease_counts_from_the_receipt(stand):
    agent = stand.agent()
    command = stand.cap(250.0, duration_s=10.0)
    received_s, stand.now_s = stand.now_s, stand.now_s + 8.0
    agent.handle(Apply(commands=(command,)), received_s)
    assert stand.limit_w() == 250.0
    stand.now_s += 2.0
    agent.expire()
    assert stand.limit_w() == 400.0


def test_hold_stays_at_expiry_until_somebody_asks(stand):
    agent = stand.agent()
    apply(agent, stand.cap(250.0, duration_s=10.0, on_expiry=OnExpiry.HOLD))
    stand.now_s += 100.0
    agent.expire()
    assert stand.limit_w() == 250.0
    restore(agent, "h00-d0")
    assert stand.limit_w() == 400.0


def test_hold_outlives_a_crash_and_a_graceful_stop_until_somebody_asks(stand):
    apply(stand.agent(), stand.cap(250.0, on_expiry=OnExpiry.HOLD))
    again = stand.agent()
    again.recover()
    stand.now_s += 100.0
    again.expire()
    assert stand.limit_w() == 250.0
    again.restore_all()
    assert stand.limit_w() == 250.0
    restore(again, "h00-d0")
    assert stand.limit_w() == 400.0


def test_restore_is_idempotent(stand, monkeypatch):
    agent = stand.agent()
    apply(agent, stand.cap(250.0), stand.cap(200.0, device=1))
    first = restore(agent, *stand.device_ids)
    assert [result.applied_w for result in first] == [400.0] * 4
    monkeypatch.setattr(stand.fleet, "set_limit_w", None)
    second = restore(agent, *stand.device_ids)
    assert [(result.outcome, result.applied_w) for result in second] == [(Outcome.APPLIED, 400.0)] * 4


def test_restore_of_something_unknown_is_lost(stand):
    (result,) = restore(stand.agent(), "h09-d9")
    assert result.outcome is Outcome.LOST


@pytest.mark.parametrize("end", ["expire", "restore", "restore_all", "recover"])
def test_limit_of_somebody_else_is_left_at_every_end(stand, end):
    agent = stand.agent()
    apply(agent, stand.cap(250.0, duration_s=10.0))
    stand.set_by_other(320.0)
    if end == "expire":
        stand.now_s += 10.0
        agent.expire()
    elif end == "restore":
        assert [result.outcome for result in restore(agent, "h00-d0")] == [Outcome.CONFLICT]
    elif end == "restore_all":
        agent.restore_all()
    else:
        stand.agent().recover()
    assert stand.limit_w() == 320.0
    assert journaled(stand).limits == {}


def test_conflict_at_renewal_is_told_left_and_forgotten(stand):
    agent = stand.agent()
    apply(agent, stand.cap(250.0))
    stand.set_by_other(320.0)
    (result,) = apply(agent, stand.cap(200.0))
    assert (result.outcome, result.applied_w, stand.limit_w()) == (Outcome.CONFLICT, 320.0, 320.0)
    stand.set_by_other(250.0)
    stand.now_s += 100.0
    agent.expire()
    assert stand.limit_w() == 250.0, "forgotten: not restored later although it looks like ours again"


def test_somebody_else_who_puts_the_limit_back_is_somebody_else(stand):
    agent = stand.agent()
    apply(agent, stand.cap(250.0))
    stand.set_by_other(400.0)
    assert outcome(agent, stand.cap(200.0)) is Outcome.CONFLICT
    assert stand.limit_w() == 400.0


def test_limit_that_differs_by_rounding_is_ours(stand):
    agent = stand.agent()
    apply(agent, stand.cap(250.0))
    stand.set_by_other(250.3)
    assert outcome(agent, stand.cap(250.0)) is Outcome.APPLIED
    restore(agent, "h00-d0")
    assert stand.limit_w() == 400.0


def test_restore_is_exact_however_little_was_taken(stand):
    agent = stand.agent()
    apply(agent, stand.cap(399.8))
    restore(agent, "h00-d0")
    assert stand.limit_w() == 400.0


def test_unknown_and_lost_devices_are_lost_and_the_others_are_capped(stand):
    agent = stand.agent()
    stand.fleet.inject(Faults(lost=frozenset({"h00-d1"})))
    unknown = replace(stand.cap(250.0), device_id="h09-d9")
    results = apply(agent, unknown, stand.cap(250.0, device=1), stand.cap(250.0, device=2))
    assert [result.outcome for result in results] == [Outcome.LOST, Outcome.LOST, Outcome.APPLIED]
    assert stand.limit_w(device=2) == 250.0


def test_device_lost_under_a_cap_is_restored_when_it_is_back(stand):
    agent = stand.agent()
    apply(agent, stand.cap(250.0, duration_s=10.0))
    stand.fleet.inject(Faults(lost=frozenset({"h00-d0"})))
    stand.now_s += 11.0
    agent.expire()
    assert "h00-d0" in journaled(stand).limits
    stand.fleet.inject(Faults())
    agent.expire()
    assert stand.limit_w() == 400.0
    assert journaled(stand).limits == {}


def test_refused_write_is_refused_with_the_limit_that_holds(stand):
    agent = stand.agent()
    stand.fleet.inject(Faults(write_refused=frozenset({"h00-d0"})))
    (result,) = apply(agent, stand.cap(250.0))
    assert (result.outcome, result.applied_w) == (Outcome.REFUSED, 400.0)
    assert "permission" in result.detail


def test_refused_restore_is_tried_again(stand):
    agent = stand.agent()
    apply(agent, stand.cap(250.0))
    stand.fleet.inject(Faults(write_refused=frozenset({"h00-d0"})))
    assert [result.outcome for result in restore(agent, "h00-d0")] == [Outcome.REFUSED]
    stand.fleet.inject(Faults())
    agent.expire()
    assert stand.limit_w() == 400.0


def test_write_that_is_taken_but_does_not_hold_is_refused_and_tried_again(stand):
    agent = stand.agent()
    stand.fleet.inject(Faults(limit_stuck=frozenset({"h00-d0"})))
    (result,) = apply(agent, stand.cap(250.0))
    assert (result.outcome, result.applied_w) == (Outcome.REFUSED, 400.0)
    stand.fleet.inject(Faults())
    assert outcome(agent, stand.cap(250.0)) is Outcome.APPLIED
    restore(agent, "h00-d0")
    assert stand.limit_w() == 400.0


def test_write_that_takes_hold_later_is_still_ours(stand):
    agent = stand.agent()
    stand.fleet.inject(Faults(limit_stuck=frozenset({"h00-d0"})))
    apply(agent, stand.cap(250.0, duration_s=10.0))
    stand.set_by_other(250.0)
    stand.now_s += 10.0
    agent.expire()
    assert stand.limit_w() == 400.0


def test_somebody_else_between_our_write_and_our_reading_is_a_conflict(stand, monkeypatch):
    agent = stand.agent()
    write = stand.fleet.set_limit_w

    def overtaken(device_id, limit_w):
        write(device_id, limit_w)
        stand.set_by_other(333.0)

    monkeypatch.setattr(stand.fleet, "set_limit_w", overtaken)
    assert outcome(agent, stand.cap(250.0)) is Outcome.CONFLICT
    monkeypatch.undo()
    agent.restore_all()
    assert stand.limit_w() == 333.0


def test_unreadable_journal_means_that_no_device_is_written(stand, monkeypatch):
    stand.journal.write_bytes(b"{")
    agent = stand.agent()
    agent.recover()
    monkeypatch.setattr(stand.fleet, "set_limit_w", None)
    for results in (apply(agent, stand.cap(250.0)), restore(agent, "h00-d0")):
        assert results[0].outcome is Outcome.REFUSED
        assert "journal" in results[0].detail
    monkeypatch.undo()
    stand.journal.unlink()
    assert outcome(agent, stand.cap(250.0)) is Outcome.APPLIED, "mended, it is read at the next request"


def test_unwritable_journal_means_that_no_cap_is_written(stand, monkeypatch):
    agent = stand.agent()
    agent.recover()
    monkeypatch.setattr("hardware.journal.replace_file", _full)
    (result,) = apply(agent, stand.cap(250.0))
    assert (result.outcome, stand.limit_w()) == (Outcome.REFUSED, 400.0)
    monkeypatch.undo()
    assert outcome(agent, replace(stand.cap(250.0, sequence=1))) is Outcome.APPLIED, "it was not heard yet"


def test_journal_that_becomes_unwritable_does_not_keep_caps_in_force(stand, monkeypatch):
    agent = stand.agent()
    apply(agent, stand.cap(250.0, duration_s=10.0))
    monkeypatch.setattr("hardware.journal.replace_file", _full)
    stand.now_s += 10.0
    agent.expire()
    assert stand.limit_w() == 400.0
    monkeypatch.undo()
    agent.expire()
    assert journaled(stand).limits == {}


def test_crash_between_journal_and_device_is_harmless(stand, monkeypatch):
    agent = stand.agent()

    def dies(device_id, limit_w):
        raise KeyboardInterrupt

    monkeypatch.setattr(stand.fleet, "set_limit_w", dies)
    with pytest.raises(KeyboardInterrupt):
        apply(agent, stand.cap(250.0))
    monkeypatch.undo()
    again = stand.agent()
    again.recover()
    assert stand.limit_w() == 400.0
    assert journaled(stand).limits == {}


def test_killed_agent_restores_first_and_caps_again_after(stand):
    apply(stand.agent(), stand.cap(250.0), stand.cap(200.0, device=1))
    again = stand.agent()
    again.recover()
    assert [stand.limit_w(device=index) for index in range(4)] == [400.0] * 4
    assert outcome(again, stand.cap(250.0)) is Outcome.APPLIED


def test_device_that_refuses_at_recovery_is_tried_again(stand):
    apply(stand.agent(), stand.cap(250.0))
    stand.fleet.inject(Faults(write_refused=frozenset({"h00-d0"})))
    again = stand.agent()
    again.recover()
    assert stand.limit_w() == 250.0
    stand.fleet.inject(Faults())
    again.expire()
    assert stand.limit_w() == 400.0


def test_fault_of_the_driver_is_a_refusal_with_its_words(stand, monkeypatch):
    agent = stand.agent()

    def broken(device_id):
        raise WriteRefused("the driver is being changed", device_id=device_id)

    monkeypatch.setattr(stand.fleet, "limit_w", broken)
    (result,) = apply(agent, stand.cap(250.0))
    assert result.outcome is Outcome.REFUSED
    assert "being changed" in result.detail


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")
