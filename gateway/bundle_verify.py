"""Verifying a bundle without a gateway and without a network: what holds, what does not and where, what is trusted."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

from cryptography.x509 import Certificate

from gateway.bundle_events import Decode, check_events, check_signal
from gateway.bundle_file import BundleError, BundleFile
from gateway.bundle_meter_data import known_of, trusted_meter_data
from gateway.bundle_recorded import INPUTS, STATEMENT, Recorded, wanted
from gateway.bundle_signatures import CheckSignature, check_signatures
from gateway.bundle_stamps import check_stamps, trusted_stamps
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.bundle_check import Check, check_energy, check_heads, check_log, check_own_heads, check_records
from gateway.domain.evidence import fingerprint, first_difference
from gateway.domain.settlement import FIRST, check
from gateway.domain.settlement_terms import settlement_terms
from gateway.domain.tariff.sheet import shipped_tariffs
from gateway.domain.tree_head import SignedHead
from gateway.services.settling import gather_inputs, settles
from protocols.errors import ProtocolError

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What the reader knows from elsewhere, and so need not take from the bundle.

    ``key_id`` is the key that is trusted, by default the one that the bundle says; ``own_heads`` are heads that the
    reader was given at other times, by other ways; ``timestamp_authorities`` are those whose time stamps are believed,
    ``certificates`` (DER) those of who may sign messages.
    """

    key_id: str | None = None
    own_heads: tuple[SignedHead, ...] = ()
    timestamp_authorities: tuple[Certificate, ...] = ()
    certificates: tuple[bytes, ...] = ()


async def verify(
    bundle: BundleFile, *, decode: Decode, check_signature: CheckSignature, pins: Pins = Pins()
) -> Verification:
    """Check everything.

    Raises ``BundleError`` where not even the log in it can be read, and ``ImportError`` where time stamps are to be
    checked without ``gridgate[evidence]``.
    """
    recorded = Recorded(bundle)
    heads = recorded.log.heads
    if not heads:
        raise BundleError("it holds no signed head")
    try:
        key = heads[-1].key_id if pins.key_id is None else pins.key_id
    except ValueError as cause:
        raise BundleError("its last head names no key") from cause
    with _without_collecting():
        checks = await _checks(recorded, decode, key, pins)
        signed, unsigned = _signatures(recorded, check_signature, pins.certificates)
        trust = (*_trust(recorded, key, pins), *unsigned)
    return Verification(
        statement_id=bundle.statement_id,
        product_version=bundle.product_version,
        key_id=key,
        worth=_worth(recorded),
        holds=not any(one.faults for one in (*checks, *signed)),
        checks=(*checks, *signed),
        trust=trust,
    )


async def _checks(recorded: Recorded, decode: Decode, key: str, pins: Pins) -> tuple[Check, ...]:
    bundle, copy = recorded.bundle, recorded.log
    listed = Check(name="files", holds=f"all {len(bundle.files)} files are those of the manifest", faults=bundle.faults)
    checks = [
        listed,
        _guarded("heads", lambda: check_heads(copy, key)),
        _guarded("log", lambda: check_log(copy)),
    ]
    if pins.own_heads:
        checks.append(_guarded("your heads", lambda: check_own_heads(copy, pins.own_heads, key)))
    if pins.timestamp_authorities:
        checks.append(_guarded("stamps", lambda: check_stamps(recorded, pins.timestamp_authorities)))
    return (
        *checks,
        await _records(recorded),
        _guarded("signal", lambda: check_signal(recorded, decode)),
        _guarded("events", lambda: check_events(recorded)),
        _guarded("energy", lambda: check_energy(recorded.recomputed)),
        _guarded("rule", lambda: _rule(recorded)),
        _guarded("tariff", lambda: _tariff(recorded)),
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


def _signatures(
    recorded: Recorded, check: CheckSignature, certificates: tuple[bytes, ...]
) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    try:
        return check_signatures(recorded, check, certificates)
    except _FAULTS as cause:
        return (_unchecked("signature", cause),), ()


async def _records(recorded: Recorded) -> Check:
    try:
        site, event, rule = recorded.site, recorded.event, recorded.rule
        known = await known_of(recorded, site, event, rule, recorded.statement.verified.verified_at)
        entries = wanted(recorded.log, site=site, rule=rule, record=event, known=known)
        return check_records(recorded.log, recorded.records, {entry.number for entry in entries})
    except _FAULTS as cause:
        return _unchecked("records", cause)


def _rule(recorded: Recorded) -> Check:
    rule, verified = recorded.rule, recorded.statement.verified
    faults: list[str] = []
    if (rule.rule_id, rule.version) != (verified.rule, verified.rule_version):
        faults.append(
            f"the sheet is of {rule.rule_id} {rule.version}, the statement of {verified.rule} {verified.rule_version}"
        )
    shipped = shipped_rules().get(rule.rule_id)
    if shipped is not None and shipped.version == rule.version:
        faults += _altered(rule, shipped)
    return Check(name="rule", holds=f"the sheet is of {rule.rule_id} {rule.version}", faults=tuple(faults))


def _tariff(recorded: Recorded) -> Check:
    tariff, statement = recorded.tariff, recorded.statement
    faults: list[str] = []
    if statement.tariff and (tariff.tariff_id, tariff.version) != (statement.tariff, statement.tariff_version):
        faults.append(
            f"the sheet is of {tariff.tariff_id} {tariff.version}, the statement of {statement.tariff} "
            f"{statement.tariff_version}"
        )
    shipped = shipped_tariffs().get(tariff.tariff_id)
    if shipped is not None and shipped.version == tariff.version:
        faults += _altered(tariff, shipped)
    return Check(name="tariff", holds=f"the sheet is of {tariff.tariff_id} {tariff.version}", faults=tuple(faults))


def _altered(given: object, shipped: object) -> list[str]:
    found = first_difference(given, shipped)
    if found is None:
        return []
    told = f"{found.figure} is {found.stated} in the sheet and {found.recomputed} in the one of that version"
    return [f"{told} that comes with gridgate: it was altered"]


async def _figures(recorded: Recorded) -> Check:
    """Baseline, reduction and money again, from raw readings, closed intervals and the event."""
    try:
        statement = recorded.statement
        program, tariff = recorded.terms.program, recorded.tariff
        inputs = await gather_inputs(
            recorded,
            recorded.site,
            recorded.event,
            recorded.rule,
            as_of=statement.verified.verified_at,
            declared_w=program.declared_w,
        )
        terms = settlement_terms(
            tariff, program, recorded.event.event, statement.verified.intervals, recorded.all_events
        )
        found = check(statement, inputs, program, tariff=tariff, terms=terms)
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
    ours = [
        one
        for one in recorded.statements
        if (one.verified.connection_id, one.verified.event_id) == (verified.connection_id, verified.event_id)
    ]
    faults = []
    # Releases that knew no versions numbered none.
    if ours[0].tariff and (ours[0].edition.supersedes or ours[0].edition.version != FIRST.version):
        faults.append(
            f"{ours[0].statement_id} is version {ours[0].edition.version} in place of "
            f"{ours[0].edition.supersedes or 'nothing'}, which the log does not have: a version was withheld"
        )
    if ours[-1].statement_id != recorded.statement.statement_id:
        faults.append(f"{ours[-1].statement_id} was issued later for the same event")
    for before, after in pairwise(ours):
        numbers = (before.edition.version, after.edition.version)
        if after.tariff and (after.edition.supersedes != before.statement_id or numbers[1] != numbers[0] + 1):
            faults.append(
                f"{after.statement_id} is version {numbers[1]} in place of "
                f"{after.edition.supersedes or 'nothing'}, and was issued after version {numbers[0]}, "
                f"{before.statement_id}: one of the event's statements is not as it was, or there are two"
            )
    return Check(
        name="versions",
        holds=f"it is the last of {len(ours)} statements of the event in the log",
        faults=tuple(faults),
    )


def _worth(recorded: Recorded) -> str:
    try:
        statement = recorded.statement
    except BundleError:
        return "unknown"
    return f"{statement.delivered_kwh} kWh, {statement.amount} {statement.currency}"


def _trust(recorded: Recorded, key: str, pins: Pins) -> tuple[str, ...]:
    trust = [
        (
            "Capture: that meter and messages were recorded as they came. The log shows that nothing was changed since "
            "it was logged, which for readings is up to 70 minutes later."
        ),
        "Terms: price, currency, rule and meter of the contract; compare terms.json with yours.",
    ]
    if pins.key_id is None:
        trust.append(f"The key: you named none; {key} is what the bundle says. Give yours with --key.")
    if not pins.own_heads:
        trust.append("That the key's owner did not rewrite the whole log: only heads of your own show that (--head).")
    try:
        if not pins.timestamp_authorities:
            trust.append(trusted_stamps(recorded))
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
    trust += trusted_meter_data(recorded.imports, recorded.edits, recorded.statement.verified.verified_at)
    bare = recorded.recomputed.bare
    if bare:
        trust.append(
            f"{bare} closed intervals as they were logged: of other times of day than count, or without raw readings."
        )
    ended = [one.event.event_id for one in recorded.all_events if settles(one) and (one.ended_at or one.left_at)]
    if ended:
        trust.append(f"When these ended early, or an operator left them: {', '.join(ended[:5])}.")
    return trust
