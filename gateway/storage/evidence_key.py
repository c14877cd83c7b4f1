"""The key that heads are signed with: made at the first start, readable by its owner alone, never replaced by us."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


def read_key(path: Path) -> Ed25519PrivateKey:
    """The key in a file. Raises ``OSError`` where it cannot be read, or is no Ed25519 key."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as cause:
        raise OSError(f"{path} holds no private key that can be read: put the one back that signed before") from cause
    if not isinstance(key, Ed25519PrivateKey):
        raise OSError(f"{path} holds a key of another kind: heads are signed by Ed25519")
    return key


def read_or_make_key(path: Path) -> Ed25519PrivateKey:
    """The key in a file, made there where there is none. Raises ``OSError``."""
    if path.exists():
        return read_key(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    # Whole or not at all: half a key would stand in the way of a new one for ever.
    unfinished = path.with_name(path.name + ".unfinished")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    return key
