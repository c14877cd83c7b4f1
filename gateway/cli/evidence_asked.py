"""What the commands about evidence ask. Apart from them, so that their ``--help`` loads none of this."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.app import evidence_key_path, open_evidencing, read_evidence_key
from gateway.cli.ask import read_all
from gateway.clock import SystemClock
from gateway.config import ConfigError, Settings
from gateway.domain.merkle import MerkleLog
from gateway.domain.tree_head import HeadError, SignedHead, check_chain, check_later, check_signature, key_id_of
from gateway.evidence_store import EvidenceStore
from gateway.services.evidencing import NothingLogged
from gateway.services.readiness import Readiness

T = TypeVar("T")


def read_evidence(url: str, question: Callable[[EvidenceStore], Awaitable[T]], *, json_wanted: bool) -> T:
    """Ask the log a question. Ends the command with exit code 1 where the record cannot be read."""
    return read_all(url, lambda record: question(record.evidence), json_wanted=json_wanted)


class NotSigned(ValueError):
    """There is no head now; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSigned:
    """The head over everything on record; ``made`` is false for one that was there already.

    ``given_to`` names all who take heads; ``fault`` says who has not taken this one, or has not stamped it, and why.
    """

    signed: SignedHead
    made: bool
    given_to: tuple[str, ...]
    fault: str


def sign_head(url: str, settings: Settings, *, json_wanted: bool) -> HeadSigned:
    """A head over everything on record, given to all who take heads.

    Raises ``NotSigned``. Ends the command with exit code 1 where the record cannot be read.
    """
    return read_all(url, lambda record: head_signed(record.evidence, settings), json_wanted=json_wanted)


async def head_signed(store: EvidenceStore, settings: Settings) -> HeadSigned:
    """As ``sign_head``, over what ``store`` is of."""
    path = evidence_key_path(settings)
    try:
        # Never a new one here: heads by two keys, and nobody knows which of them is ours.
        key = read_evidence_key(path)
    except OSError as cause:
        raise NotSigned(
            f"the gateway's key is not here ({cause}): ask where it is, or start the gateway once"
        ) from cause
    async with AsyncExitStack() as edges:
        try:
            service = await open_evidencing(edges, settings, store, clock=SystemClock(), readiness=Readiness(), key=key)
            found = await service.head_now()
        except (HeadError, NothingLogged, ConfigError, OSError) as cause:
            raise NotSigned(str(cause)) from cause
        fault = ""
        try:
            await service.deliver()
        except OSError as cause:
            fault = str(cause)
    return HeadSigned(signed=found.head, made=found.made, given_to=service.takers, fault=fault)


async def all_heads(store: EvidenceStore) -> tuple[SignedHead, ...]:
    """Every head, oldest first."""
    return await store.heads()


def public_key(settings: Settings) -> dict[str, str]:
    """The public key in hexadecimal and as PEM, and its id. Raises ``OSError`` where there is none."""
    key = read_evidence_key(evidence_key_path(settings)).public_key()
    raw = key.public_bytes_raw()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return {"key_id": key_id_of(raw), "public_key": raw.hex(), "pem": pem}


def proof_of(kind: str, key: str) -> Callable[[EvidenceStore], Awaitable[dict[str, Any] | str]]:
    """The proof of a record under the last head; in words why there is none."""

    async def asked(store: EvidenceStore) -> dict[str, Any] | str:
        heads, entries = await store.heads(), await store.find(kind, key)
        if not entries:
            return f"the log has no {kind} {key!r}; what was recorded in the last minute may not be logged yet"
        entry = entries[-1]
        if not heads or heads[-1].head.size <= entry.number:
            return (
                f"{kind} {key} is entry {entry.number}, which no head covers yet: one is made when the day is over, "
                "or now by: gridgate evidence head"
            )
        head = heads[-1].head
        tree = MerkleLog(await store.leaves())
        return {
            "entry": entry,
            "leaf": entry.leaf.hex(),
            "path": [step.hex() for step in tree.inclusion(entry.number, head.size)],
            "head": head,
            "signature": heads[-1].signature,
            "public_key": heads[-1].public_key,
        }

    return asked


async def checked(store: EvidenceStore) -> dict[str, Any]:
    """What differs between the record, the log and its heads."""
    heads = await store.heads()
    tree = MerkleLog(await store.leaves())
    return {
        "entries": len(tree),
        "heads_checked": len(heads),
        "mismatches": list(await store.mismatches()),
        "heads": _wrong_heads(heads, tree),
    }


def _wrong_heads(heads: tuple[SignedHead, ...], tree: MerkleLog) -> list[str]:
    wrong = []
    logs: Mapping[str, list[SignedHead]] = {
        log_id: [one for one in heads if one.head.log_id == log_id] for log_id in {one.head.log_id for one in heads}
    }
    for one in heads:
        try:
            check_signature(one, one.key_id)
        except HeadError as cause:
            wrong.append(str(cause))
        if one.head.size > len(tree) or tree.root(one.head.size).hex() != one.head.root_sha256:
            wrong.append(f"the head of {one.head.made_at:%Y-%m-%d %H:%M}Z is not of this log: entries were changed")
    for of_log in logs.values():
        try:
            check_chain([one.head for one in of_log])
            for earlier, later in pairwise(of_log):
                if later.head.size <= len(tree):
                    check_later(earlier.head, later.head, tree.consistency(earlier.head.size, later.head.size))
        except (HeadError, ValueError) as cause:
            wrong.append(str(cause))
    return wrong
