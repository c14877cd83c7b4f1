"""Tree heads: what a log of evidence was at an instant, signed, so that it can never read otherwise afterwards.

A head is given to those who must rely on it. Whoever holds one can later demand a proof that the log he is shown begins
with the log he has the head of. Each head names the one before it, so that none can be withheld.

A signature is Ed25519 (RFC 8032) over the head's canonical JSON (RFC 8785). A key is known by its ``key_id``, the
SHA-256 of its 32 public bytes in hexadecimal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.domain.evidence import canonical_json, fingerprint
from gateway.domain.merkle import ProofError, check_consistency

FORMAT = 1


class HeadError(ValueError):
    """A head cannot be relied on; the text says why."""


class OtherKey(HeadError):
    """It is signed by another key than the one that is trusted."""


class BadSignature(HeadError):
    """It was changed after it was signed, or never signed by this key."""


class HeadsContradict(HeadError):
    """Two heads of one log cannot both be true: the log was rewritten, or one is withheld."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHead:
    """The log ``log_id`` had ``size`` entries and this root at ``made_at``.

    ``day`` is the local day that it closes (ISO 8601), empty for one made on demand. ``previous_sha256`` is over the
    head before it, empty for the first.
    """

    format: int
    log_id: str
    size: int
    root_sha256: str
    made_at: datetime
    day: str
    previous_sha256: str

    @property
    def sha256(self) -> str:
        """Over its canonical JSON."""
        return fingerprint(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """A head with its signature, both in hexadecimal; ``public_key`` is there to be compared, never to be trusted."""

    head: TreeHead
    public_key: str
    signature: str

    @property
    def key_id(self) -> str:
        """Of the key that it says has signed it."""
        return key_id_of(bytes.fromhex(self.public_key))


def key_id_of(public_key: bytes) -> str:
    """The name of a public key (32 bytes)."""
    return sha256(public_key).hexdigest()


def sign(head: TreeHead, key: Ed25519PrivateKey) -> SignedHead:
    """Sign a head."""
    return SignedHead(
        head=head,
        public_key=key.public_key().public_bytes_raw().hex(),
        signature=key.sign(canonical_json(head)).hex(),
    )


def check_signature(signed: SignedHead, trusted_key_id: str) -> None:
    """Raise ``OtherKey`` or ``BadSignature`` unless the trusted key has signed this very head."""
    try:
        public_key, signature = bytes.fromhex(signed.public_key), bytes.fromhex(signed.signature)
        key = Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError as cause:
        raise BadSignature(f"the head of {signed.head.made_at.isoformat()} has no readable key or signature") from cause
    if key_id_of(public_key) != trusted_key_id:
        raise OtherKey(
            f"the head of {signed.head.made_at.isoformat()} is signed by key {key_id_of(public_key)}, "
            f"not by the trusted {trusted_key_id}"
        )
    try:
        key.verify(signature, canonical_json(signed.head))
    except InvalidSignature as cause:
        raise BadSignature(f"the head of {signed.head.made_at.isoformat()} was changed after it was signed") from cause


def check_later(earlier: TreeHead, later: TreeHead, path: Sequence[bytes]) -> None:
    """Raise ``HeadsContradict`` unless the later log begins with the earlier one, by a proof of consistency."""
    if earlier.log_id != later.log_id:
        raise HeadsContradict(f"heads of two logs, {earlier.log_id} and {later.log_id}")
    if later.size < earlier.size:
        raise HeadsContradict(
            f"the log had {earlier.size} entries at {earlier.made_at.isoformat()} and {later.size} at "
            f"{later.made_at.isoformat()}: entries were taken away"
        )
    try:
        check_consistency(
            earlier.size, bytes.fromhex(earlier.root_sha256), later.size, bytes.fromhex(later.root_sha256), path
        )
    except ProofError as cause:
        raise HeadsContradict(f"the head of {earlier.made_at.isoformat()} does not fit: {cause}") from cause


def check_chain(heads: Sequence[TreeHead]) -> None:
    """Raise ``HeadsContradict`` unless each head names the one before it and the log only grew."""
    for index, head in enumerate(heads):
        before = heads[index - 1] if index else None
        named = "" if before is None else before.sha256
        if head.previous_sha256 != named:
            raise HeadsContradict(
                f"the head of {head.made_at.isoformat()} does not follow the one before it: one is missing or changed"
            )
        if before is not None and (head.size < before.size or head.made_at < before.made_at):
            raise HeadsContradict(f"the head of {head.made_at.isoformat()} is of less than the one before it")
