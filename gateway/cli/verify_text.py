"""What ``gridgate verify`` reads beside a bundle, and how it tells what it found, on one screen."""

import re
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from cryptography.x509 import Certificate, load_pem_x509_certificates

from gateway.bundle_verify import Pins, Verification
from gateway.domain.tree_head import SignedHead, key_id_of
from gateway.storage.head_folder import read_head

_KEY_ID = re.compile(r"[0-9a-f]{64}")


def read_pins(
    *, heads: Sequence[Path], key: str | None, timestamp_ca: Path | None, certificates: Sequence[Path]
) -> Pins:
    """What the reader names on the command line. Raises ``OSError``, whose text names the file."""
    try:
        return Pins(
            key_id=None if key is None else trusted_key_id(key),
            own_heads=read_heads(heads),
            timestamp_authorities=() if timestamp_ca is None else read_timestamp_authorities(timestamp_ca),
            certificates=tuple(one for path in certificates for one in read_certificates(path)),
        )
    except OSError as cause:
        if cause.filename is None:
            raise
        raise OSError(f"cannot read {cause.filename}: {cause.strerror}") from cause


def read_certificates(path: Path) -> tuple[bytes, ...]:
    """The certificates (DER) in a PEM file. Raises ``OSError``."""
    try:
        return tuple(one.public_bytes(Encoding.DER) for one in load_pem_x509_certificates(path.read_bytes()))
    except ValueError as cause:
        raise OSError(f"{path} holds no certificate (PEM): {cause}") from cause


def read_timestamp_authorities(path: Path) -> tuple[Certificate, ...]:
    """Certificates from a file. Raises ``OSError``, too where what checks time stamps is not installed."""
    try:
        from gateway.domain.time_stamp import read_authorities
    except ImportError as cause:
        raise OSError(f"--timestamp-ca needs what comes with gridgate[evidence]: {cause}") from cause
    try:
        return read_authorities(path.read_bytes())
    except ValueError as cause:
        raise OSError(f"{path}: {cause}") from cause


def read_heads(paths: Sequence[Path]) -> tuple[SignedHead, ...]:
    """Heads from files, and from every ``.json`` file of a folder. Raises ``OSError``."""
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if paths and not files:
        raise OSError(f"there is no head in {', '.join(map(str, paths))}")
    return tuple(read_head(file) for file in files)


def trusted_key_id(key: str) -> str:
    """The id of the key that is meant: an id, or a file that holds one or a public key. Raises ``OSError``."""
    if _KEY_ID.fullmatch(key):
        return key
    body = Path(key).read_bytes()
    text = body.decode(errors="replace").strip()
    if _KEY_ID.fullmatch(text):
        return text
    try:
        public_key = load_pem_public_key(body)
    except ValueError as cause:
        raise OSError(f"{key} holds no public key (PEM) and no id of one (64 hexadecimal digits)") from cause
    if not isinstance(public_key, Ed25519PublicKey):
        raise OSError(f"{key} holds a key of another kind: heads are signed by Ed25519")
    return key_id_of(public_key.public_bytes_raw())


def in_words(found: Verification) -> str:
    """The verdict, a line or a few for each check, and what no check can show."""
    verdict = "everything holds" if found.holds else "NOT everything holds"
    lines = [f"{found.statement_id}: {verdict} ({found.worth})"]
    for one in found.checks:
        lines += [f"  FAILS  {one.name}: {fault}" for fault in one.faults] or [f"  holds  {one.name}: {one.holds}"]
    return "\n".join([*lines, "taken on trust:", *(f"  - {text}" for text in found.trust)])
