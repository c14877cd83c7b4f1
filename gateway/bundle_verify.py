"""Verifying a bundle without a gateway and without a network: what holds, what does not and where, what is trusted."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256

from gateway.bundle_file import BundleError, BundleFile
from gateway.bundle_recorded import INPUTS, STATEMENT, Recorded, wanted
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.bundle_check import Check, check_energy, check_heads, check_log, check_own_heads, check_records
from gateway.domain.event import EventRecord, took_part_until
from gateway.domain.evidence import fingerprint, first_difference
from gateway.domain.settlement import check
from gateway.domain.tree_head import SignedHead
from gateway.services.settling import LONGEST_LOOK_BACK, gather_inputs, settles
from protocols.errors import ProtocolError
from protocols.grid import EventStatus, GridEvent, Signal

Decode = Callable[[bytes], dict[str, object]]
"""A message of any dialect in neutral form; raises ``ProtocolError``."""

_FAULTS = (BundleError, ProtocolError, ValueError, ArithmeticError, LookupError, TypeError, RecursionError)
"""What computing from content that was tampered with may raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What became of a bundle. ``worth`` is what the statement states; ``trust`` is what no check can show."""

    statement_id: str
    product_version: str
    key_id: str
    worth: str
    holds: bool
    checks: tuple[Check, ...]
    trust: tuple[str, ...]


async def verify(
    bundle: BundleFile, *, decode: Decode, key_id: str | None = None, own_heads: Sequence[SignedHead] = ()
) -> Verification:
    """Check everything.

    ``key_id`` is the key that is trusted, by default the one that the bundle says; ``own_heads`` are heads that the
    reader was given at other times, by other ways.

    Raises ``BundleError`` where not even the log in it can be read.
    """
    recorded = Recorded(bundle)
    heads = recorded.log.heads
    if not heads:
        raise BundleError("it holds no signed head")
    try:
        key = heads[-1].key_id if key_id is None else key_id
    except ValueError as cause:
        raise BundleError("its last head names no key") from cause
    with _without_collecting():
        checks = await _checks(recorded, decode, key, own_heads)
        trust = _trust(recorded, key=key, pinned=key_id is not None, own_heads=bool(own_heads))
    return Verification(
        statement_id=bundle.statement_id,
        product_version=bundle.product_version,
        key_id=key,
        worth=_worth(recorded),
        holds=not any(one.faults for one in checks),
        checks=checks,
        trust=trust,
    )


async def _checks(recorded: Recorded, decode: Decode, key: str, own_heads: Sequence[SignedHead]) -> tuple[Check, ...]:
    bundle, copy = recorded.bundle, recorded.log
    listed = Check(name="files", holds=f"all {len(bundle.files)} files are those of the manifest", faults=bundle.faults)
    checks = [
        listed,
        _guarded("heads", lambda: check_heads(copy, key)),
        _guarded("log", lambda: check_log(copy)),
    ]
    if own_heads:
        checks.append(_guarded("your heads", lambda: check_own_heads(copy, own_heads, key)))
    return (
        *checks,
        _guarded("records", lambda: _records(recorded)),
        _guarded("signal", lambda: _signal(recorded, decode)),
        _guarded("events", lambda: _events(recorded)),
        _guarded("energy", lambda: check_energy(recorded.recomputed)),
        _guarded("rule", lambda: _rule(recorded)),
        await _figures(recorded),
        _guarded("versions", lambda: _versions(recorded)),
    )


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Without looking for garbage: of millions of readings none is in a cycle, and looking takes half the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _guarded(name: str, work: Callable[[], Check]) -> Check:
    try:
        return work()
    except _FAULTS as cause:
        return _unchecked(name, cause)


def _unchecked(name: str, cause: Exception) -> Check:
    return Check(name=name, holds="", faults=(f"cannot be checked: {cause}",))


def _records(recorded: Recorded) -> Check:
    entries = wanted(recorded.log, site=recorded.site, rule=recorded.rule, record=recorded.event)
    return check_records(recorded.log, recorded.records, {entry.number for entry in entries})


def _signal(recorded: Recorded, decode: Decode) -> Check:
    """Whether the event is what the message says whose bytes the record has."""
    event = recorded.event.event
    faults: list[str] = []
    body = recorded.bundle.files.get(f"messages/{event.raw_sha256}")
    if recorded.statement.raw_sha256 != event.raw_sha256:
        faults.append(f"the statement rests on message {recorded.statement.raw_sha256}, the event on another")
    if event.raw_sha256 not in recorded.message_bodies:
        faults.append(f"no message with SHA-256 {event.raw_sha256} was logged")
    if body is None:
        faults.append(f"message {event.raw_sha256} is missing")
    elif sha256(body).hexdigest() != event.raw_sha256:
        faults.append(f"message {event.raw_sha256} was swapped: its bytes have SHA-256 {sha256(body).hexdigest()}")
    else:
        faults += _unlike(event, decode(body))
    return Check(
        name="signal",
        holds=f"event {event.event_id} revision {event.revision} is what the message of the grid says",
        faults=tuple(faults),
    )


def _unlike(event: GridEvent, decoded: dict[str, object]) -> list[str]:
    said = decoded.get("events")
    for one in said if isinstance(said, list) else []:
        if isinstance(one, GridEvent) and (one.event_id, one.revision) == (event.event_id, event.revision):
            found = first_difference(event, _as_received(one, event))
            if found is None:
                return []
            return [f"the event's {found.figure} is recorded as {found.stated}, the message says {found.recomputed}"]
    return [f"the message does not speak of event {event.event_id} revision {event.revision}"]


def _as_received(said: GridEvent, event: GridEvent) -> GridEvent:
    """What a message says by itself, with what it takes from when it came and from its program's own message.

    A program of OpenADR 3 gives its name, and units where the event has none: values are compared where the kinds of
    signals agree, names and times of intervals in any case.
    """
    cancelled = EventStatus.CANCELLED in {said.status, event.status}
    signals = said.signals
    if len(signals) == len(event.signals):
        signals = tuple(
            ours if theirs.kind is not ours.kind and _outline(theirs) == _outline(ours) else theirs
            for theirs, ours in zip(signals, event.signals, strict=True)
        )
    return replace(
        said,
        connection_id=event.connection_id,
        program_id=event.program_id,
        created_at=event.created_at,
        status=said.status if cancelled else event.status,
        signals=signals,
    )


def _outline(signal: Signal) -> tuple[object, ...]:
    return signal.name, tuple((one.starts_at, one.duration_s) for one in signal.intervals)


def _events(recorded: Recorded) -> Check:
    """Whether the events are those that were logged, none is left out, and our answers are those that we gave."""
    faults: list[str] = []
    for record in recorded.all_events:
        faults += _unlike_logged(recorded, record)
    known = {(one.event.connection_id, one.event.event_id) for one in recorded.all_events}
    start, end = recorded.event.event.starts_at, took_part_until(recorded.event)
    latest = {key[:2]: event for key, (_, event) in sorted(recorded.revisions.items())}
    left_out = {
        key
        for key, event in latest.items()
        if start - LONGEST_LOOK_BACK <= event.starts_at < (end or start)
        and event.status is not EventStatus.CANCELLED
        and key not in known
    }
    faults += [f"event {event_id} of {connection_id} was left out" for connection_id, event_id in sorted(left_out)]
    return Check(
        name="events",
        holds=f"the {len(recorded.all_events)} events that the baseline has to know of are those that were logged",
        faults=tuple(faults),
    )


def _unlike_logged(recorded: Recorded, record: EventRecord) -> list[str]:
    event = record.event
    name = (event.connection_id, event.event_id, event.revision)
    ours = {key: value for key, value in recorded.revisions.items() if key[:2] == name[:2]}
    if name not in ours:
        return [f"event {event.event_id} revision {event.revision} was not logged"]
    received_at, logged = ours[name]
    found = replace(
        record,
        event=logged,
        received_at=received_at,
        first_received_at=min(at for at, _ in ours.values()),
        decision=recorded.decisions.get(name),
    )
    differing = first_difference(record, found)
    faults = []
    if differing is not None:
        faults.append(
            f"event {event.event_id}: {differing.figure} is {differing.stated}, logged was {differing.recomputed}"
        )
    if max(ours) != name:
        faults.append(f"event {event.event_id}: revision {max(ours)[2]} was logged, {event.revision} is given")
    return faults


def _rule(recorded: Recorded) -> Check:
    rule, verified = recorded.rule, recorded.statement.verified
    faults: list[str] = []
    if (rule.rule_id, rule.version) != (verified.rule, verified.rule_version):
        faults.append(
            f"the sheet is of {rule.rule_id} {rule.version}, the statement of {verified.rule} {verified.rule_version}"
        )
    shipped = shipped_rules().get(rule.rule_id)
    if shipped is not None and shipped.version == rule.version:
        found = first_difference(rule, shipped)
        if found is not None:
            faults.append(
                f"{found.figure} is {found.stated} in the sheet and {found.recomputed} in the one of that version that "
                "comes with gridgate: it was altered"
            )
    return Check(name="rule", holds=f"the sheet is of {rule.rule_id} {rule.version}", faults=tuple(faults))


async def _figures(recorded: Recorded) -> Check:
    """Baseline, reduction and money again, from raw readings, closed intervals and the event."""
    try:
        statement = recorded.statement
        program = recorded.terms.program
        inputs = await gather_inputs(
            recorded, recorded.site, recorded.event, recorded.rule, declared_w=program.declared_w
        )
        found = check(statement, inputs, program)
    except _FAULTS as cause:
        return _unchecked("figures", cause)
    faults: list[str] = []
    if found is not None:
        faults.append(f"{found.figure} is stated as {found.stated} and comes to {found.recomputed}")
    # The inputs' own fingerprint is in the statement, and was just computed again with it.
    for name, digest in ((STATEMENT, fingerprint(statement)), (INPUTS, statement.verified.inputs_sha256)):
        shown = recorded.bundle.files.get(name)
        if shown is None or sha256(shown).hexdigest() != digest:
            faults.append(f"{name} is not what the statement rests on")
    return Check(
        name="figures",
        holds=f"baseline, reduction and money come to every figure: {_worth(recorded)}",
        faults=tuple(faults),
    )


def _versions(recorded: Recorded) -> Check:
    verified = recorded.statement.verified
    ids = [
        one.statement_id
        for one in recorded.statements
        if (one.verified.connection_id, one.verified.event_id) == (verified.connection_id, verified.event_id)
    ]
    later = () if ids[-1] == recorded.statement.statement_id else (f"{ids[-1]} was issued later for the same event",)
    return Check(
        name="versions", holds=f"it is the last of {len(ids)} statements of the event in the log", faults=later
    )


def _worth(recorded: Recorded) -> str:
    try:
        statement = recorded.statement
    except BundleError:
        return "unknown"
    return f"{statement.delivered_kwh} kWh, {statement.amount} {statement.currency}"


def _trust(recorded: Recorded, *, key: str, pinned: bool, own_heads: bool) -> tuple[str, ...]:
    trust = [
        (
            "Capture: that meter and messages were recorded as they came. The log shows that nothing was changed since "
            "it was logged, which for readings is up to 70 minutes later."
        ),
        "Terms: price, currency, rule and meter of the contract; compare terms.json with yours.",
    ]
    if not pinned:
        trust.append(f"The key: you named none; {key} is what the bundle says. Give yours with --key.")
    if not own_heads:
        trust.append("That the key's owner did not rewrite the whole log: only heads of your own show that (--head).")
    try:
        trust += _trust_in_content(recorded)
    except _FAULTS as cause:
        trust.append(f"What else is trusted cannot be said: {cause}.")
    return tuple(trust)


def _trust_in_content(recorded: Recorded) -> list[str]:
    trust: list[str] = []
    body = recorded.bundle.files.get(f"messages/{recorded.event.event.raw_sha256}", b"")
    if body.lstrip().startswith((b"{", b"[")):
        trust.append("Of this OpenADR 3 message: the name and the units that its program has, and when it came.")
    rule = recorded.rule
    if rule.rule_id not in shipped_rules() or shipped_rules()[rule.rule_id].version != rule.version:
        trust.append(f"The sheet of {rule.rule_id} {rule.version}, which this gridgate does not know.")
    bare = recorded.recomputed.bare
    if bare:
        trust.append(
            f"{bare} closed intervals as they were logged: of other times of day than count, or without raw readings."
        )
    ended = [one.event.event_id for one in recorded.all_events if settles(one) and (one.ended_at or one.left_at)]
    if ended:
        trust.append(f"When these ended early, or an operator left them: {', '.join(ended[:5])}.")
    return trust
