"""EiOpt between OpenADR 2.0b's terms and the neutral face: one event, or times to come.

An opt names either an event (rule 510: with its modification number) or periods of availability; one without either is
for good. 2.0b has a word for the reason out of a list: words of ours that are not in it go out as the plainest of them.
"""

from datetime import timedelta

from protocols.errors import MalformedMessage
from protocols.grid import Opt, OptSchedule, Target
from protocols.openadr2b import model
from protocols.openadr2b.codec_registration import OPT_REASONS
from protocols.openadr2b.neutral_event import whole_seconds
from protocols.openadr2b.neutral_target import read_targets, write_targets

_OPTS = {Opt.IN: "optIn", Opt.OUT: "optOut"}
_READ = {word: opt for opt, word in _OPTS.items()}
_PLAINEST = {Opt.IN: "participating", Opt.OUT: "notParticipating"}


def write_opt(schedule: OptSchedule, *, ven_id: str, request_id: str) -> model.CreateOpt:
    """The oadrCreateOpt of a schedule. Durations are rounded to whole seconds; without targets it is for the VEN.

    Raises ``ValueError`` for one that names an event and periods, periods that last no time, and targets that 2.0b has
    no element for.
    """
    if schedule.event_id and schedule.periods:
        raise ValueError(f"opt {schedule.opt_id} names an event and periods: say them in two opts")
    if any(round(length_s) < 1 for _, length_s in schedule.periods):
        raise ValueError(f"opt {schedule.opt_id} has a period of less than a second, the shortest that 2.0b can say")
    event = model.QualifiedEvent(event_id=schedule.event_id, modification_number=schedule.revision)
    return model.CreateOpt(
        opt_id=schedule.opt_id,
        opt=_OPTS[schedule.opt],
        reason=_reason(schedule),
        ven_id=ven_id,
        created_at=schedule.created_at,
        request_id=request_id,
        targets=write_targets(schedule.targets or (Target(kind="ven", value=ven_id),)),
        market_context=schedule.program_id or None,
        availability=tuple(
            model.Period(starts_at=starts_at, duration=whole_seconds(length_s))
            for starts_at, length_s in schedule.periods
        ),
        event=event if schedule.event_id else None,
    )


def read_opt(message: model.CreateOpt, *, connection_id: str) -> OptSchedule:
    """The schedule of an oadrCreateOpt; a target that is the VEN itself is left out, since that is all it has.

    Raises ``MalformedMessage`` for one that names an event and periods, or a period that lasts no time.
    """
    if message.event is not None and message.availability:
        raise MalformedMessage(
            f"opt {message.opt_id} names an event and periods: send two oadrCreateOpt", request_id=message.request_id
        )
    if any(period.duration <= timedelta(0) for period in message.availability):
        raise MalformedMessage(f"opt {message.opt_id} has a period that lasts no time", request_id=message.request_id)
    itself = Target(kind="ven", value=message.ven_id)
    return OptSchedule(
        opt_id=message.opt_id,
        connection_id=connection_id,
        opt=_READ[message.opt],
        created_at=message.created_at,
        periods=tuple((period.starts_at, period.duration.total_seconds()) for period in message.availability),
        reason=message.reason,
        program_id=message.market_context or "",
        event_id="" if message.event is None else message.event.event_id,
        revision=0 if message.event is None else message.event.modification_number,
        targets=tuple(target for target in read_targets(message.targets) if target != itself),
    )


def _reason(schedule: OptSchedule) -> str:
    if schedule.reason in OPT_REASONS:
        return schedule.reason
    return "x-schedule" if schedule.periods else _PLAINEST[schedule.opt]
