"""The event's state machine, its windows, what a batch changes and what we answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.contract import Program
from gateway.domain.event import (
    Change,
    ChangeKind,
    EventRecord,
    EventState,
    acts,
    changes,
    decide,
    dispatch_ends_at,
    effective_end,
    near_starts_at,
    ramp_starts_at,
    revision_state,
    state,
    took_part_until,
)
from gateway.domain.governing import governing_signal
from protocols.grid import (
    EventBatch,
    EventInterval,
    EventStatus,
    GridEvent,
    Opt,
    OptDecision,
    Refusal,
    Signal,
    SignalKind,
    Target,
)

START = datetime(2026, 7, 1, 16, 0, tzinfo=UTC)
HOUR = 3600.0
PROGRAM = Program(program_id="peak", levels={1: 0.1, 2: 0.25})


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def signal(kind: SignalKind = SignalKind.LEVEL, *values: float, name: str = "SIMPLE") -> Signal:
    intervals = tuple(EventInterval(starts_at=START, duration_s=HOUR, value=value) for value in values or (1.0,))
    return Signal(name=name, kind=kind, intervals=intervals)


BASE = GridEvent(
    event_id="ev1",
    connection_id="utility",
    program_id="peak",
    revision=0,
    status=EventStatus.FAR,
    created_at=at(-600),
    starts_at=START,
    duration_s=HOUR,
    signals=(signal(),),
)


DECIDED = OptDecision(connection_id="utility", event_id="ev1", revision=0, opt=Opt.IN, decided_at=at(-600))


def record(
    event: GridEvent = BASE, *, ended_at: datetime | None = None, received_at: datetime | None = None
) -> EventRecord:
    return EventRecord(
        event=event, first_received_at=at(-600), received_at=received_at or at(-600), ended_at=ended_at, end_cause=""
    )


def batch(
    *events: GridEvent, complete: bool = True, received_at: datetime = START, faults: tuple[OptDecision, ...] = ()
) -> EventBatch:
    return EventBatch(
        connection_id="utility",
        events=events,
        complete=complete,
        request_id="r1",
        raw_sha256="0" * 64,
        received_at=received_at,
        faults=faults,
    )


def kinds(found: tuple[Change, ...]) -> list[ChangeKind]:
    return [change.kind for change in found]


class TestState:
    def test_without_a_ramp_the_last_quarter_of_an_hour_is_near(self) -> None:
        one = record()
        assert state(one, at(-16)) is EventState.FAR
        assert state(one, at(-15)) is EventState.NEAR
        assert state(one, at(0)) is EventState.ACTIVE
        assert state(one, at(59.9)) is EventState.ACTIVE
        assert state(one, at(60)) is EventState.COMPLETED

    def test_a_ramp_before_the_start_is_when_it_is_near(self) -> None:
        event = replace(BASE, ramp_up_s=-300.0)
        assert ramp_starts_at(event) == near_starts_at(event) == at(-5)
        assert state(record(event), at(-6)) is EventState.FAR
        assert state(record(event), at(-5)) is EventState.NEAR

    def test_a_ramp_from_the_start_on_moves_nothing_before_it(self) -> None:
        event = replace(BASE, ramp_up_s=300.0)
        assert ramp_starts_at(event) == START
        assert near_starts_at(event) == at(-15)

    def test_the_senders_status_does_not_move_our_clock(self) -> None:
        assert state(record(replace(BASE, status=EventStatus.ACTIVE)), at(-600)) is EventState.FAR

    def test_open_ended_stays_active_until_it_is_ended(self) -> None:
        event = replace(BASE, duration_s=None)
        assert state(record(event), at(100_000)) is EventState.ACTIVE
        assert effective_end(record(event)) is None
        assert dispatch_ends_at(record(event)) is None
        ended = record(event, ended_at=at(90))
        assert state(ended, at(91)) is EventState.CANCELLED
        assert effective_end(ended) == at(90)

    def test_cancelled_in_its_middle_it_counts_up_to_there(self) -> None:
        one = record(
            replace(BASE, revision=1, status=EventStatus.CANCELLED, recovery_s=600.0),
            ended_at=at(20),
            received_at=at(20),
        )
        assert state(one, at(19)) is EventState.ACTIVE
        assert state(one, at(20)) is EventState.CANCELLED
        assert effective_end(one) == at(20)
        assert dispatch_ends_at(one) == at(20)

    def test_cancelled_before_its_start_nothing_of_it_counts(self) -> None:
        one = record(replace(BASE, ramp_up_s=-600.0), ended_at=at(-5))
        assert effective_end(one) == START
        assert dispatch_ends_at(one) == at(-5)
        assert state(one, at(1)) is EventState.CANCELLED

    def test_a_cancel_after_its_end_leaves_it_completed(self) -> None:
        one = record(ended_at=at(61))
        assert state(one, at(70)) is EventState.COMPLETED
        assert effective_end(one) == at(60)

    def test_first_heard_of_as_cancelled_it_never_was(self) -> None:
        event = replace(BASE, status=EventStatus.CANCELLED)
        one = EventRecord(event=event, first_received_at=at(30), received_at=at(30), ended_at=at(30))
        assert state(one, at(30)) is EventState.CANCELLED
        assert effective_end(one) == START

    def test_completed_by_the_senders_word_it_is_over(self) -> None:
        one = record(replace(BASE, duration_s=None, status=EventStatus.COMPLETED, revision=1), received_at=at(25))
        assert state(one, at(26)) is EventState.COMPLETED
        assert effective_end(one) == at(25)

    @pytest.mark.parametrize(
        ("left_at", "ended_at", "until"),
        [(30, None, 30), (-5, None, 0), (30, 20, 20), (None, 20, 20), (None, None, 60)],
    )
    def test_it_was_taken_part_in_until_an_operator_opted_out(
        self, left_at: int | None, ended_at: int | None, until: int
    ) -> None:
        one = replace(
            record(ended_at=None if ended_at is None else at(ended_at)),
            decision=DECIDED,
            left_at=None if left_at is None else at(left_at),
        )
        assert took_part_until(one) == at(until)

    def test_what_was_never_opted_into_was_never_taken_part_in(self) -> None:
        assert took_part_until(record()) == START
        assert took_part_until(replace(record(), decision=replace(DECIDED, opt=Opt.OUT))) == START

    def test_a_recovery_after_the_end_is_dispatched_but_does_not_count(self) -> None:
        one = record(replace(BASE, recovery_s=600.0))
        assert effective_end(one) == at(60)
        assert dispatch_ends_at(one) == at(70)
        assert dispatch_ends_at(record(replace(BASE, recovery_s=-600.0))) == at(60)

    def test_an_older_revision_is_superseded(self) -> None:
        one = record(replace(BASE, revision=3))
        assert revision_state(one, 2, at(0)) is EventState.SUPERSEDED
        assert revision_state(one, 3, at(0)) is EventState.ACTIVE

    def test_a_test_event_never_acts(self) -> None:
        assert acts(BASE)
        assert not acts(replace(BASE, test=True))
        assert not acts(replace(BASE, status=EventStatus.CANCELLED))


class TestChanges:
    def test_one_that_we_do_not_know_is_new(self) -> None:
        assert kinds(changes({}, batch(BASE))) == [ChangeKind.NEW]

    def test_the_same_again_is_repeated_whatever_its_status(self) -> None:
        again = replace(BASE, status=EventStatus.ACTIVE)
        assert kinds(changes({"ev1": record()}, batch(again))) == [ChangeKind.REPEATED]

    def test_a_higher_revision_modifies_and_a_lower_one_is_stale(self) -> None:
        known = {"ev1": record(replace(BASE, revision=2))}
        assert kinds(changes(known, batch(replace(BASE, revision=3)))) == [ChangeKind.MODIFIED]
        (stale,) = changes(known, batch(replace(BASE, revision=1)))
        assert stale.kind is ChangeKind.STALE
        assert "revision 2" in stale.cause

    @pytest.mark.parametrize("revision", [0, 1])
    def test_a_cancel_cancels_with_a_new_revision_or_without(self, revision: int) -> None:
        cancel = replace(BASE, revision=revision, status=EventStatus.CANCELLED)
        assert kinds(changes({"ev1": record()}, batch(cancel))) == [ChangeKind.CANCELLED]
        ended = record(replace(cancel), ended_at=at(-1))
        assert kinds(changes({"ev1": ended}, batch(cancel))) == [ChangeKind.REPEATED]

    def test_one_first_heard_of_as_cancelled_is_kept_as_cancelled(self) -> None:
        assert kinds(changes({}, batch(replace(BASE, status=EventStatus.CANCELLED)))) == [ChangeKind.CANCELLED]

    def test_one_that_a_complete_message_does_not_list_is_cancelled_by_implication(self) -> None:
        (change,) = changes({"ev1": record()}, batch(received_at=at(10)))
        assert change.kind is ChangeKind.IMPLIED_CANCEL
        assert change.event == BASE
        assert change.cause

    def test_a_message_that_is_not_complete_implies_nothing(self) -> None:
        assert changes({"ev1": record()}, batch(complete=False)) == ()

    def test_one_that_is_over_may_disappear(self) -> None:
        assert changes({"ev1": record()}, batch(received_at=at(60))) == ()
        assert changes({"ev1": record(ended_at=at(5))}, batch(received_at=at(6))) == ()

    def test_one_that_could_not_be_read_is_there_all_the_same(self) -> None:
        fault = OptDecision(
            connection_id="utility", event_id="ev1", revision=0, opt=Opt.OUT, decided_at=START, refusal=Refusal.INVALID
        )
        assert changes({"ev1": record()}, batch(faults=(fault,))) == ()

    def test_another_connections_event_is_none_of_this_ones_business(self) -> None:
        assert changes({"ev1": record(replace(BASE, connection_id="other"))}, batch()) == ()

    def test_listed_again_at_the_same_revision_it_stays_cancelled(self) -> None:
        (change,) = changes({"ev1": record(ended_at=at(-1))}, batch(BASE))
        assert change.kind is ChangeKind.REPEATED
        assert "higher revision" in change.cause
        (change,) = changes({"ev1": record(ended_at=at(-1))}, batch(replace(BASE, revision=1)))
        assert change.kind is ChangeKind.MODIFIED

    def test_the_word_completed_ends_what_is_open_ended(self) -> None:
        known = {"ev1": record(replace(BASE, duration_s=None))}
        over = replace(BASE, duration_s=None, status=EventStatus.COMPLETED)
        assert kinds(changes(known, batch(over))) == [ChangeKind.CANCELLED]
        assert kinds(changes({"ev1": record()}, batch(replace(BASE, status=EventStatus.COMPLETED)))) == [
            ChangeKind.REPEATED
        ]

    def test_of_one_event_twice_in_a_message_the_higher_revision_counts(self) -> None:
        found = changes({}, batch(replace(BASE, revision=2), replace(BASE, revision=1), replace(BASE, revision=2)))
        assert kinds(found) == [ChangeKind.NEW, ChangeKind.STALE, ChangeKind.REPEATED]


class TestDecision:
    def answer(self, event: GridEvent, *, program: Program = PROGRAM, now: datetime = START) -> OptDecision:
        return decide(event, {program.program_id: program}, frozenset({"ven-1"}), now)

    def test_in_where_we_understand_it(self) -> None:
        decision = self.answer(BASE)
        assert (decision.opt, decision.refusal) == (Opt.IN, None)
        assert (decision.connection_id, decision.event_id, decision.revision) == ("utility", "ev1", 0)
        assert decision.decided_at == START

    @pytest.mark.parametrize(
        ("event", "refusal", "words"),
        [
            (replace(BASE, program_id="else"), Refusal.PROGRAM_UNKNOWN, "'else'"),
            (replace(BASE, targets=(Target(kind="ven", value="ven-2"),)), Refusal.NOT_OUR_TARGET, "ven-2"),
            (replace(BASE, signals=()), Refusal.SIGNAL_NOT_UNDERSTOOD, "no signal"),
            (replace(BASE, signals=(signal(SignalKind.LEVEL, 3.0),)), Refusal.SIGNAL_NOT_UNDERSTOOD, "level 3"),
            (replace(BASE, signals=(signal(SignalKind.OTHER, name="GHG"),)), Refusal.SIGNAL_NOT_UNDERSTOOD, "GHG"),
            (replace(BASE, signals=(signal(SignalKind.LIMIT, -5.0),)), Refusal.SIGNAL_NOT_UNDERSTOOD, "-5 W"),
            (replace(BASE, signals=(signal(SignalKind.FRACTION, 25.0),)), Refusal.SIGNAL_NOT_UNDERSTOOD, "fraction"),
            (
                replace(BASE, signals=(signal(SignalKind.ADJUST, float("nan")),)),
                Refusal.SIGNAL_NOT_UNDERSTOOD,
                "number",
            ),
            (replace(BASE, duration_s=-1.0), Refusal.INVALID, "negative"),
            (replace(BASE, ramp_up_s=float("inf")), Refusal.INVALID, "duration"),
            (replace(BASE, duration_s=1e300), Refusal.INVALID, "ten years"),
        ],
    )
    def test_out_says_why(self, event: GridEvent, refusal: Refusal, words: str) -> None:
        decision = self.answer(event)
        assert decision.opt is Opt.OUT
        assert decision.refusal is refusal
        assert words in decision.detail

    def test_targets_that_name_us_or_no_ven_are_ours(self) -> None:
        ours = (Target(kind="ven", value="ven-2"), Target(kind="ven", value="ven-1"))
        assert self.answer(replace(BASE, targets=ours)).opt is Opt.IN
        assert self.answer(replace(BASE, targets=(Target(kind="group", value="north"),))).opt is Opt.IN

    def test_a_test_event_is_answered_as_any_other(self) -> None:
        decision = self.answer(replace(BASE, test=True))
        assert decision.opt is Opt.IN
        assert "not acted on" in decision.detail

    def test_a_price_alone_is_noted(self) -> None:
        priced = replace(BASE, signals=(signal(SignalKind.PRICE, 0.3, name="ELECTRICITY_PRICE"),))
        assert self.answer(priced).opt is Opt.IN
        assert governing_signal(priced, PROGRAM) is None

    @pytest.mark.parametrize("value", [12.5, float("nan")])
    def test_a_notice_alone_is_noted_where_it_has_a_value(self, value: float) -> None:
        notice = replace(BASE, signals=(signal(SignalKind.NOTICE, value, name="DEMAND_CHARGE"),))
        assert (self.answer(notice).opt is Opt.IN) is (value == 12.5)
        assert governing_signal(notice, PROGRAM) is None

    @pytest.mark.parametrize(
        ("event", "now"),
        [
            (replace(BASE, status=EventStatus.CANCELLED), START),
            (replace(BASE, status=EventStatus.COMPLETED), START),
            (BASE, at(61)),
        ],
    )
    def test_what_is_over_is_acknowledged(self, event: GridEvent, now: datetime) -> None:
        assert self.answer(replace(event, program_id="else"), now=now).opt is Opt.IN


class TestGoverningSignal:
    def test_watts_before_a_fraction_before_a_level_before_nothing(self) -> None:
        level, fraction = signal(), signal(SignalKind.FRACTION, 0.2, name="x-fraction")
        adjust, price = (
            signal(SignalKind.ADJUST, -5e3, name="LOAD_DISPATCH"),
            signal(SignalKind.PRICE, 0.3, name="PRICE"),
        )
        event = replace(BASE, signals=(price, level, fraction, adjust))
        assert governing_signal(event, PROGRAM) == adjust
        assert governing_signal(replace(event, signals=(price, level, fraction)), PROGRAM) == fraction
        assert governing_signal(replace(event, signals=(price, level)), PROGRAM) == level
        assert governing_signal(replace(event, signals=(price,)), PROGRAM) is None

    @pytest.mark.parametrize(
        ("capacity_w", "value", "why"),
        [
            (None, 0.7, "nobody said what all of LOAD_CONTROL is"),
            (1e6, 1.5, "share of the site's most outside 0 to 1"),
        ],
    )
    def test_a_share_of_a_capacity_needs_one(self, capacity_w: float | None, value: float, why: str) -> None:
        event = replace(BASE, signals=(signal(SignalKind.CAPACITY, value, name="LOAD_CONTROL"),))
        decision = decide(event, {"peak": replace(PROGRAM, capacity_w=capacity_w)}, (), START)
        assert decision.refusal is Refusal.SIGNAL_NOT_UNDERSTOOD
        assert why in decision.detail

    def test_a_share_of_a_capacity_governs_before_a_level(self) -> None:
        capacity = signal(SignalKind.CAPACITY, 0.7, name="LOAD_CONTROL")
        event = replace(BASE, signals=(signal(), capacity))
        assert governing_signal(event, replace(PROGRAM, capacity_w=1e6)) == capacity
        assert governing_signal(event, PROGRAM) == signal()

    def test_one_that_is_not_understood_falls_back_to_the_next(self) -> None:
        event = replace(BASE, signals=(signal(SignalKind.LIMIT, -1.0, name="LIMIT"), signal()))
        assert governing_signal(event, PROGRAM) == signal()

    def test_the_program_may_name_it(self) -> None:
        event = replace(BASE, signals=(signal(SignalKind.ADJUST, -5e3, name="LOAD_DISPATCH"), signal()))
        assert governing_signal(event, replace(PROGRAM, signal="simple")) == signal()
        elsewhere = replace(PROGRAM, signal="LOAD_CONTROL")
        assert governing_signal(event, elsewhere) is None
        decision = decide(event, {"peak": elsewhere}, (), START)
        assert decision.refusal is Refusal.SIGNAL_NOT_UNDERSTOOD
        assert "LOAD_CONTROL" in decision.detail
