"""What the commands about evidence ask. Apart from them, so that their ``--help`` loads none of this."""

from collections.abc import Awaitable, Callable, Mapping
from itertools import pairwise
from typing import Any, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.app import evidence_key_path, read_evidence_key
from gateway.cli.ask import read_all
from gateway.config import Settings
from gateway.domain.merkle import MerkleLog
from gateway.domain.tree_head import HeadError, SignedHead, check_chain, check_later, check_signature, key_id_of
from gateway.evidence_store import EvidenceStore

T = TypeVar("T")


def read_evidence(url: str, question: Callable[[EvidenceStore], Awaitable[T]], *, json_wanted: bool) -> T:
    """Ask the log a question. Ends the command with exit code 1 where the record cannot be read."""
    return read_all(url, lambda record: question(record.evidence), json_wanted=json_wanted)


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
            return f"{kind} {key} is entry {entry.number}, which no head covers yet: one is made when the day is over"
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
