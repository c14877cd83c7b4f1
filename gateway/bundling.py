"""Making a bundle: all that one statement rests on, from the record and its log, for somebody who has neither."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from gateway.bundle_file import BundleFile
from gateway.bundle_meter_data import EDITS, IMPORTED, IMPORTS, known_of
from gateway.bundle_recorded import (
    ENERGY,
    ENTRIES,
    EVENTS,
    HEADS,
    INPUTS,
    MESSAGES,
    READING,
    README,
    REVISIONS,
    RULE,
    STATEMENT,
    TARIFF,
    TEMPERATURE,
    WHOLE_KINDS,
    Recorded,
    lines,
    wanted,
)
from gateway.bundle_stamps import stamps_file
from gateway.bundle_terms import TERMS, SiteTerms, Terms, terms_json
from gateway.domain.baseline.rule import GeneratorOutput, Regression, parse_rule
from gateway.domain.bundle_check import LogCopy
from gateway.domain.contract import Contract, Program
from gateway.domain.event import EventRecord, took_part_until
from gateway.domain.evidence import canonical_json, fingerprint
from gateway.domain.evidence_log import EvidenceEntry, as_logged
from gateway.domain.fleet import Site
from gateway.domain.settlement import SettlementStatement
from gateway.evidence_store import EvidenceStore
from gateway.ledger import Ledger
from gateway.services.settling import gather_inputs
from gateway.services.stating import LONGEST_LOOK_BACK, newest_statement

ABOUT = """\
A statement of verified reduction, and everything that it rests on.

With gridgate:  gridgate verify FILE --key KEY --head YOUR_HEAD
KEY is the public key or its id, YOUR_HEAD a head that you were given earlier. --timestamp-ca FILE names who vouches for
time stamps, --certificate FILE who signs the grid's messages. Nothing else is needed, no network.

By other means:
  manifest.json         SHA-256 of every other file
  log/entries.jsonl     the log of evidence, an entry a line, as canonical JSON (RFC 8785)
  log/heads.jsonl       its signed heads in their order
  log/stamps.jsonl      time stamps of an authority over heads, where there are any
  records/KIND.txt      records: the number of the entry, a space, the content
  messages/SHA256       messages of the grid as they came, those of earlier revisions of the event too
  rule.toml             the baseline rule
  tariff.toml           what prices the reduction
  terms.json            site and program
  events.json           the event and the others that the baseline has to know of
  statement.json        the statement (a copy of what is in records/statement.txt)
  inputs.json           what baseline and reduction are computed from

1. The SHA-256 of a record's content is the "sha256" of its entry.
2. The lines of entries.jsonl, without their line ends, are the leaves of a hash tree after RFC 6962, section 2.1. Its
   root over the first "size" lines is the "root_sha256" of each head. So it has to be for heads of your own.
3. A signature is Ed25519 (RFC 8032) over the canonical JSON of "head". "previous_sha256" is the SHA-256 of the
   canonical JSON of the head before it. A time stamp is a response after RFC 3161, in base64; it is over the whole line
   of heads.jsonl, which the head's signature is part of.
4. A reading stands until the next one and for 60 s at the most: energy is power times time, summed. The rule's sheet
   says how the baseline is made, and which text it is from.
5. Intervals of records/imported_energy.txt count before readings: of those of one time the import that has the highest
   number among those of kind "revenue". records/reading_edit.txt is laid over both. One that the event begins or ends
   within is shared out by readings.
6. A regression goes by records/temperature.txt, degrees Celsius: of one instant the one that was recorded last, before
   the statement was verified. Each holds until the next, and for an hour at the most.
"""


class NotBundled(ValueError):
    """There is no bundle of this statement, now or ever; the text says why and what to do."""


class HeadTooOld(NotBundled):
    """No head is over all that the statement rests on; after the next one there is a bundle."""


async def make_bundle(
    ledger: Ledger,
    evidence: EvidenceStore,
    statement: SettlementStatement,
    *,
    site: Site,
    program: Program,
    sheet: str,
    tariff_sheet: str,
    product_version: str,
) -> BundleFile:
    """The bundle of a statement under the last head of the log.

    ``sheet`` is the text of its baseline rule, ``tariff_sheet`` that of its tariff.

    The same statement under the same head, with the same stamps, gives the same bundle. Raises ``NotBundled``,
    ``HeadTooOld`` where only the head is missing, and ``LedgerUnavailable``.
    """
    if statement.verified.sites:
        raise NotBundled("it is the sum of sites below: bundle the statement of each of them")
    rule = parse_rule(sheet)
    if isinstance(rule.method, GeneratorOutput):
        raise NotBundled("it rests on the readings of a generator's meter, which bundles do not hold yet")
    newest = await newest_statement(ledger, statement.verified.connection_id, statement.verified.event_id)
    if newest is not None and newest.statement_id != statement.statement_id:
        raise NotBundled(f"it is superseded by {newest.statement_id}: bundle that one, which holds this one, too")
    record = await _event_of(ledger, statement)
    log = await _log(evidence)
    known = await known_of(ledger, site, record, rule, statement.verified.verified_at)
    entries = wanted(log, site=site, rule=rule, record=record, known=known)
    contents = await _as_logged(evidence, log, await _contents(evidence, entries))
    messages = await _messages(ledger, log, record, contents)
    contents |= {number: row for number, row, _ in messages}
    files = {
        ENTRIES: lines(log.entries),
        HEADS: lines(log.heads),
        **await stamps_file(evidence, log.heads),
        **_records(log, contents),
        **{f"messages/{sha256(body).hexdigest()}": body for _, _, body in messages},
        RULE: sheet.encode(),
        TARIFF: tariff_sheet.encode(),
        TERMS: terms_json(_terms(site, program)),
        EVENTS: canonical_json(await _events(ledger, record)),
        STATEMENT: canonical_json(statement),
        README: ABOUT.encode(),
    }
    made = BundleFile(product_version=product_version, statement_id=statement.statement_id, files=files)
    recorded = Recorded(made)
    if statement.statement_id not in {one.statement_id for one in recorded.statements}:
        raise HeadTooOld(f"it was issued after the last head of the log ({_made_at(log)})")
    inputs = await gather_inputs(
        recorded,
        recorded.site,
        recorded.event,
        recorded.rule,
        as_of=statement.verified.verified_at,
        declared_w=recorded.terms.program.declared_w,
    )
    if isinstance(rule.method, Regression) and fingerprint(inputs) != statement.verified.inputs_sha256:
        raise HeadTooOld(f"temperatures that it rests on are not all under the last head of the log ({_made_at(log)})")
    return replace(made, files={**files, INPUTS: canonical_json(inputs)})


async def _event_of(ledger: Ledger, statement: SettlementStatement) -> EventRecord:
    verified = statement.verified
    record = await ledger.event(verified.connection_id, verified.event_id)
    if record is None:
        raise NotBundled(f"event {verified.event_id!r} is not on record")
    if record.event.revision != verified.revision:
        raise NotBundled(
            f"the event has been revised since (revision {record.event.revision}): bundle the statement of that "
            "revision, which holds this one, too"
        )
    return record


async def _log(evidence: EvidenceStore) -> LogCopy:
    heads = await evidence.heads()
    if not heads:
        raise HeadTooOld("the log of evidence has no head yet")
    last = heads[-1].head
    entries = await evidence.entries(0, last.size)
    return LogCopy(
        entries=entries,
        leaves=tuple(entry.leaf for entry in entries),
        heads=tuple(signed for signed in heads if signed.head.log_id == last.log_id),
    )


async def _contents(evidence: EvidenceStore, entries: Sequence[EvidenceEntry]) -> dict[int, bytes]:
    """The records' content by the number of their entry; what is gone from the record is left out, and so missed."""
    found: dict[int, bytes] = {}
    for kind in (*WHOLE_KINDS, ENERGY, IMPORTS, IMPORTED, EDITS, TEMPERATURE):
        ours = {entry.key: entry.number for entry in entries if entry.kind == kind}
        if ours:
            contents = await evidence.contents(kind, frozenset(ours))
            found |= {ours[key]: content for key, content in contents.items()}
    for entry in entries:
        if entry.kind == READING and (content := await evidence.content(READING, entry.key)) is not None:
            found[entry.number] = content
    return found


async def _as_logged(evidence: EvidenceStore, log: LogCopy, contents: Mapping[int, bytes]) -> dict[int, bytes]:
    """The contents; of an hour of readings that ran when it was logged and has grown, what was there then.

    A statement under the head rests on nothing that came after it. Raises ``HeadTooOld`` where an hour has changed
    otherwise, and the next head has it.
    """
    found = dict(contents)
    for number, content in contents.items():
        entry = log.entries[number]
        if entry.kind != READING or (digest := sha256(content).hexdigest()) == entry.sha256:
            continue
        grown = as_logged(content, entry.sha256) if entry.running else None
        if grown is not None:
            found[number] = grown
            continue
        last = (await evidence.find(READING, entry.key))[-1]
        logged_since = last.number >= len(log.entries) and last.sha256 == digest
        if logged_since or (last == entry and entry.running):
            raise HeadTooOld(f"readings that it rests on have come since the last head of the log ({_made_at(log)})")
    return found


async def _messages(
    ledger: Ledger, log: LogCopy, record: EventRecord, contents: Mapping[int, bytes]
) -> list[tuple[int, bytes, bytes]]:
    """The messages that the event's revisions came with: the number of the entry, the record and the bytes of each.

    The one of the last revision has to be there. A message is found in the log by what its record says.
    """
    numbers = {entry.sha256: entry.number for entry in log.entries if entry.kind == MESSAGES}
    found: list[tuple[int, bytes, bytes]] = []
    for digest in _digests(log, record, contents):
        needed = digest == record.event.raw_sha256
        message = await ledger.raw_message(digest)
        if message is None:
            if needed:
                raise NotBundled(f"the message that event {record.event.event_id!r} came with is not on record")
            continue
        row = {
            "sha256": message.sha256,
            "connection_id": message.connection_id,
            "direction": message.direction,
            "at": message.at,
            "name": message.name,
            "took_s": message.took_s,
        }
        number = numbers.get(fingerprint(row))
        if number is not None:
            found.append((number, canonical_json(row), message.body))
        elif needed:
            raise HeadTooOld(
                f"the message that the event came with is not in the log under its last head ({_made_at(log)})"
            )
    return found


def _digests(log: LogCopy, record: EventRecord, contents: Mapping[int, bytes]) -> Iterable[str]:
    """The SHA-256 of the messages that the event's revisions came with."""
    event = record.event
    rows = [json.loads(content) for number, content in contents.items() if log.entries[number].kind == REVISIONS]
    documents = [
        json.loads(row["document"])
        for row in rows
        if (row["connection_id"], row["event_id"]) == (event.connection_id, event.event_id)
    ]
    return dict.fromkeys([event.raw_sha256, *(one["raw_sha256"] for one in documents)])


async def _events(ledger: Ledger, record: EventRecord) -> list[EventRecord]:
    """The event, and all before its end that a baseline may have to pass over."""
    event = record.event
    found = await ledger.events(since=event.starts_at - LONGEST_LOOK_BACK)
    end = took_part_until(record) or event.starts_at
    name = (event.connection_id, event.event_id)
    return [one for one in found if one.event.starts_at < end or (one.event.connection_id, one.event.event_id) == name]


def _records(log: LogCopy, contents: Mapping[int, bytes]) -> dict[str, bytes]:
    by_kind: dict[str, list[bytes]] = {}
    for number, content in sorted(contents.items()):
        by_kind.setdefault(log.entries[number].kind, []).append(b"%d %s\n" % (number, content))
    return {f"records/{kind}.txt": b"".join(found) for kind, found in by_kind.items()}


def _terms(site: Site, program: Program) -> Terms:
    # Of the contract a tariff may ask for what was committed; the rest bounds calls and prices nothing.
    contract = program.contract
    committed = None if contract is None else Contract(committed_w=contract.committed_w, direction=contract.direction)
    return Terms(
        site=SiteTerms(
            site_id=site.site_id, timezone=site.timezone.key, meter_id=site.meter_id, interval_s=site.interval_s
        ),
        program=replace(program, contract=committed),
    )


def _made_at(log: LogCopy) -> str:
    return f"{log.heads[-1].head.made_at:%Y-%m-%d %H:%M}Z"
