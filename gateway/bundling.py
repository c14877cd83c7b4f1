"""Making a bundle: all that one statement rests on, from the record and its log, for somebody who has neither."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.bundle_file import BundleFile
from gateway.bundle_recorded import (
    ENERGY,
    ENTRIES,
    EVENTS,
    HEADS,
    INPUTS,
    MESSAGES,
    READING,
    README,
    RULE,
    STATEMENT,
    TERMS,
    WHOLE_KINDS,
    Recorded,
    SiteTerms,
    Terms,
    lines,
    terms_json,
    wanted,
)
from gateway.domain.baseline.rule import GeneratorOutput, parse_rule
from gateway.domain.bundle_check import LogCopy
from gateway.domain.contract import Program
from gateway.domain.event import EventRecord, took_part_until
from gateway.domain.evidence import canonical_json, fingerprint
from gateway.domain.evidence_log import EvidenceEntry
from gateway.domain.fleet import Site
from gateway.domain.settlement import SettlementStatement
from gateway.evidence_store import EvidenceStore
from gateway.ledger import Ledger
from gateway.services.settling import LONGEST_LOOK_BACK, gather_inputs

ABOUT = """\
A statement of verified reduction, and everything that it rests on.

With gridgate:  gridgate verify FILE --key KEY --head YOUR_HEAD
KEY is the public key or its id, YOUR_HEAD a head that you were given earlier. Nothing else is needed, no network.

By other means:
  manifest.json         SHA-256 of every other file
  log/entries.jsonl     the log of evidence, an entry a line, as canonical JSON (RFC 8785)
  log/heads.jsonl       its signed heads in their order
  records/KIND.txt      records: the number of the entry, a space, the content
  messages/SHA256       messages of the grid as they came
  rule.toml, terms.json the baseline rule, and site and program
  events.json           the event and the others that the baseline has to know of
  statement.json        the statement (a copy of what is in records/statement.txt)
  inputs.json           what baseline and reduction are computed from

1. The SHA-256 of a record's content is the "sha256" of its entry.
2. The lines of entries.jsonl, without their line ends, are the leaves of a hash tree after RFC 6962, section 2.1. Its
   root over the first "size" lines is the "root_sha256" of each head. So it has to be for heads of your own.
3. A signature is Ed25519 (RFC 8032) over the canonical JSON of "head". "previous_sha256" is the SHA-256 of the
   canonical JSON of the head before it.
4. A reading stands until the next one and for 60 s at the most: energy is power times time, summed. The rule's sheet
   says how the baseline is made, and which text it is from.
"""


class NotBundled(ValueError):
    """There is no bundle of this statement, now or ever; the text says why and what to do."""


async def make_bundle(
    ledger: Ledger,
    evidence: EvidenceStore,
    statement: SettlementStatement,
    *,
    site: Site,
    program: Program,
    sheet: str,
    product_version: str,
) -> BundleFile:
    """The bundle of a statement under the last head of the log; ``sheet`` is the text of its baseline rule.

    The same statement under the same head gives the same bundle. Raises ``NotBundled``, and ``LedgerUnavailable``.
    """
    if statement.verified.sites:
        raise NotBundled("it is the sum of sites below: bundle the statement of each of them")
    if isinstance(parse_rule(sheet).method, GeneratorOutput):
        raise NotBundled("it rests on the readings of a generator's meter, which bundles do not hold yet")
    record = await _event_of(ledger, statement)
    if (await gather_inputs(ledger, site, record, parse_rule(sheet), declared_w=program.declared_w)).temperature_c:
        raise NotBundled("it rests on temperatures, which bundles do not hold yet")
    log = await _log(evidence)
    entries = wanted(log, site=site, rule=parse_rule(sheet), record=record)
    contents = await _contents(evidence, entries)
    message, body = await _message(ledger, log, record)
    contents[message] = body[0]
    files = {
        ENTRIES: lines(log.entries),
        HEADS: lines(log.heads),
        **_records(log, contents),
        f"messages/{record.event.raw_sha256}": body[1],
        RULE: sheet.encode(),
        TERMS: terms_json(_terms(site, program)),
        EVENTS: canonical_json(await _events(ledger, record)),
        STATEMENT: canonical_json(statement),
        README: ABOUT.encode(),
    }
    made = BundleFile(product_version=product_version, statement_id=statement.statement_id, files=files)
    recorded = Recorded(made)
    if statement.statement_id not in {one.statement_id for one in recorded.statements}:
        raise NotBundled(
            f"it was issued after the last head of the log ({_made_at(log)}): ask again after the next one"
        )
    inputs = await gather_inputs(
        recorded, recorded.site, recorded.event, recorded.rule, declared_w=recorded.terms.program.declared_w
    )
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
        raise NotBundled("the log of evidence has no head yet: the first is made after the end of the day")
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
    for kind in (*WHOLE_KINDS, ENERGY):
        ours = {entry.key: entry.number for entry in entries if entry.kind == kind}
        if ours:
            contents = await evidence.contents(kind, frozenset(ours))
            found |= {ours[key]: content for key, content in contents.items()}
    for entry in entries:
        if entry.kind == READING and (content := await evidence.content(READING, entry.key)) is not None:
            found[entry.number] = content
    return found


async def _message(ledger: Ledger, log: LogCopy, record: EventRecord) -> tuple[int, tuple[bytes, bytes]]:
    """The number of the message's entry, its record and its bytes. A message is found by what its record says."""
    message = await ledger.raw_message(record.event.raw_sha256)
    if message is None:
        raise NotBundled(f"the message that event {record.event.event_id!r} came with is not on record")
    row = {
        "sha256": message.sha256,
        "connection_id": message.connection_id,
        "direction": message.direction,
        "at": message.at,
        "name": message.name,
        "took_s": message.took_s,
    }
    digest = fingerprint(row)
    number = next((one.number for one in log.entries if (one.kind, one.sha256) == (MESSAGES, digest)), None)
    if number is None:
        raise NotBundled("the message that the event came with is not in the log under its last head")
    return number, (canonical_json(row), message.body)


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
    # The contract bounds calls and prices nothing.
    return Terms(
        site=SiteTerms(
            site_id=site.site_id, timezone=site.timezone.key, meter_id=site.meter_id, interval_s=site.interval_s
        ),
        program=replace(program, contract=None),
    )


def _made_at(log: LogCopy) -> str:
    return f"{log.heads[-1].head.made_at:%Y-%m-%d %H:%M}Z"
