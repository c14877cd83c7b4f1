"""For a log of any size: the root is that of the definition, and every proof holds for its own entry and no other."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.merkle import MerkleLog, ProofError, check_consistency, check_inclusion, leaf_hash

ENTRIES = st.lists(st.binary(max_size=8), min_size=1, max_size=70)


def by_definition(entries: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return sha256(b"\x01" + by_definition(entries[:k]) + by_definition(entries[k:])).digest()


@given(ENTRIES)
def test_the_root_is_that_of_the_definition(entries: list[bytes]) -> None:
    log = MerkleLog(map(leaf_hash, entries))
    for size in range(len(entries) + 1):
        assert log.root(size) == by_definition(entries[:size])


@given(ENTRIES, st.data())
def test_every_entry_is_shown_and_no_other_in_its_place(entries: list[bytes], data: st.DataObject) -> None:
    log = MerkleLog(map(leaf_hash, entries))
    size = data.draw(st.integers(1, len(entries)))
    index = data.draw(st.integers(0, size - 1))
    path = log.inclusion(index, size)
    check_inclusion(leaf_hash(entries[index]), index, size, path, log.root(size))
    with pytest.raises(ProofError):
        check_inclusion(leaf_hash(entries[index] + b"x"), index, size, path, log.root(size))


@given(ENTRIES, st.data())
def test_every_beginning_is_shown_and_no_rewritten_one(entries: list[bytes], data: st.DataObject) -> None:
    log = MerkleLog(map(leaf_hash, entries))
    size = data.draw(st.integers(1, len(entries)))
    earlier = data.draw(st.integers(1, size))
    path = log.consistency(earlier, size)
    check_consistency(earlier, log.root(earlier), size, log.root(size), path)
    at = data.draw(st.integers(0, earlier - 1))
    other = MerkleLog(map(leaf_hash, [*entries[:at], entries[at] + b"x", *entries[at + 1 :]]))
    with pytest.raises(ProofError):
        check_consistency(earlier, log.root(earlier), size, other.root(size), other.consistency(earlier, size))
