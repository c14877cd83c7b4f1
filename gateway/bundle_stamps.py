"""The time stamps in a bundle: what authorities said about heads of its log, and whether they did."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

from cryptography.x509 import Certificate

from gateway.bundle_file import BundleError
from gateway.bundle_recorded import STATEMENTS, Recorded, lines
from gateway.domain.bundle_check import Check, bounded, named
from gateway.domain.tree_head import SignedHead
from gateway.evidence_store import EvidenceStore

STAMPS = "log/stamps.jsonl"
"""A line for each stamped head, in the order of the heads: its SHA-256, and the authority's response in base64."""


async def stamps_file(evidence: EvidenceStore, heads: Sequence[SignedHead]) -> dict[str, bytes]:
    """The file of the stamps that these heads have, by its name; empty where there are none."""
    found = []
    for signed in heads:
        response = await evidence.stamp(signed.head.sha256)
        if response is not None:
            found.append({"head_sha256": signed.head.sha256, "response": b64encode(response).decode()})
    return {STAMPS: lines(found)} if found else {}


def stamps_of(recorded: Recorded) -> Mapping[str, bytes]:
    """The responses by the SHA-256 of their head. Raises ``BundleError``."""
    found: dict[str, bytes] = {}
    for line in recorded.bundle.files.get(STAMPS, b"").splitlines():
        try:
            row = json.loads(line)
            name, response = str(row["head_sha256"]), b64decode(row["response"], validate=True)
        except (ValueError, LookupError, TypeError, RecursionError) as cause:
            raise BundleError(f"{STAMPS} has a line that is no time stamp: {line[:40]!r}") from cause
        if name in found:
            raise BundleError(f"{STAMPS} has two time stamps of head {name}")
        found[name] = response
    return found


def check_stamps(recorded: Recorded, authorities: Sequence[Certificate]) -> Check:
    """Whether an authority that the reader trusts has stamped heads of the log, and since when the statement stood.

    A head without a stamp is no fault: the last one may not have it yet. A bundle without any is one, since who asks
    for them would not see that they were taken away. Raises ``ImportError`` without ``gridgate[evidence]``.
    """
    from gateway.domain.time_stamp import TimeStampError, check_time_stamp

    responses = dict(stamps_of(recorded))
    heads = recorded.log.heads
    faults: list[str] = [] if responses else ["the bundle holds no time stamp of any head"]
    stamped = []
    for signed in heads:
        response = responses.pop(signed.head.sha256, None)
        if response is None:
            continue
        try:
            stamped.append((signed.head, check_time_stamp(signed, response, authorities)))
        except TimeStampError as cause:
            faults.append(f"head of {signed.head.made_at:%Y-%m-%d %H:%M:%SZ}: {cause}")
    faults += [f"a time stamp is of head {name}, which the bundle does not have" for name in responses]
    holds = f"{len(stamped)} of {len(heads)} heads are stamped by an authority that you trust"
    if stamped:
        holds += f", at most {max(stamp.delay_s for _, stamp in stamped):.0f} s after they say that they were made"
        number = _number_of_statement(recorded)
        over = next((stamp for head, stamp in stamped if head.size > number), None)
        entry = named(recorded.log.entries[number])
        holds += f"; {entry} stood by {over.at:%Y-%m-%d %H:%M:%SZ}" if over else f"; none is over {entry} yet"
    return Check(name="stamps", holds=holds, faults=bounded(faults))


def trusted_stamps(recorded: Recorded) -> str:
    """What is taken on trust where the reader names no authority."""
    count = len(stamps_of(recorded))
    if not count:
        return "When heads were made: the log's owner says so, and no authority has stamped them."
    return (
        f"When heads were made: {count} of {len(recorded.log.heads)} carry a time stamp. Name the authority whose "
        "stamps you believe with --timestamp-ca."
    )


def _number_of_statement(recorded: Recorded) -> int:
    """The number of the entry of the statement that the bundle is of."""
    numbers = [entry.number for entry, _ in recorded.of_kind(STATEMENTS)]
    return dict(zip([one.statement_id for one in recorded.statements], numbers, strict=True))[
        recorded.statement.statement_id
    ]
