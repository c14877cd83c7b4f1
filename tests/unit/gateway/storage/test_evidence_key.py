"""The key is made once, for its owner alone, and what is no key is never replaced."""

from pathlib import Path

import pytest

from gateway.storage.evidence_key import read_key, read_or_make_key
from tests.certificates import curve_key


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "key.pem"
    made = read_or_make_key(path)
    assert read_or_make_key(path).private_bytes_raw() == made.private_bytes_raw()
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_no_key_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("no key")
    with pytest.raises(OSError, match="holds no private key that can be read"):
        read_or_make_key(path)
    assert path.read_text() == "no key"


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = tmp_path / "key.pem"
    path.write_bytes(curve_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(OSError, match="a key of another kind"):
        read_key(path)
