"""Whatever comes in whatever order: where an operator is out nothing opts us in, and a mandatory event is never left.

Its minimal examples stand in tests/unit/gateway/domain/test_operator.py.
"""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.contract import Program
from gateway.domain.event import EventRecord
from gateway.domain.operator import CommandKind, OperatorCommand, judge, kept_out
from protocols.grid import EventStatus, GridEvent, Opt, OptDecision, Refusal

NOON = datetime(2026, 7, 15, 12, tzinfo=UTC)
EVENT = GridEvent(
    event_id="e1",
    connection_id="utility",
    program_id="peak",
    revision=0,
    status=EventStatus.FAR,
    created_at=NOON,
    starts_at=NOON,
    duration_s=None,
    signals=(),
)


def answer(revision: int, refusal: Refusal | None) -> OptDecision:
    """What intake says of a revision by itself."""
    return OptDecision(
        connection_id="utility",
        event_id="e1",
        revision=revision,
        opt=Opt.IN if refusal is None else Opt.OUT,
        decided_at=NOON,
        refusal=refusal,
    )


@given(
    steps=st.lists(st.sampled_from([*CommandKind, None, Refusal.SIGNAL_NOT_UNDERSTOOD]), max_size=12),
    mandatory=st.booleans(),
)
def test_an_opt_out_holds_until_an_opt_in(steps: list[CommandKind | Refusal | None], mandatory: bool) -> None:
    program = Program(program_id="peak", mandatory=mandatory)
    record = EventRecord(event=EVENT, first_received_at=NOON, received_at=NOON, decision=answer(0, None))
    standing: OperatorCommand | None = None
    by_itself: Refusal | None = None
    for number, step in enumerate(steps):
        if isinstance(step, CommandKind):
            command = OperatorCommand(
                command_id=str(number),
                at=NOON,
                by="ann",
                kind=step,
                connection_id="utility",
                event_id="e1",
                reason="a reason",
            )
            decision = judge(command, record, program, standing, NOON).decision
            if decision is not None:
                assert decision.opt is (Opt.OUT if step is CommandKind.OPT_OUT else Opt.IN)
                standing, record = command, replace(record, decision=decision)
        else:
            by_itself = step
            event = replace(record.event, revision=record.event.revision + 1)
            decided = kept_out(answer(event.revision, step), event, program, standing, NOON)
            record = replace(record, event=event, decision=decided)
        assert record.decision is not None
        assert record.decision.revision == record.event.revision
        out = standing is not None and standing.kind is CommandKind.OPT_OUT
        assert not (mandatory and out)
        assert (record.decision.opt is Opt.OUT) == (out or by_itself is not None)
