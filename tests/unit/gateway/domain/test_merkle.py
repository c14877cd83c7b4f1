"""The tree of RFC 6962 by its published example, and proofs that show nothing but the truth."""

import pytest

from gateway.domain.merkle import EMPTY_ROOT, MerkleLog, ProofError, check_consistency, check_inclusion, leaf_hash

# The example log of the reference implementation of RFC 6962 (google/certificate-transparency, merkle tree tests).
ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def example() -> MerkleLog:
    return MerkleLog(map(leaf_hash, ENTRIES))


def test_the_empty_log_has_the_hash_of_nothing() -> None:
    assert MerkleLog().root() == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_published_roots() -> None:
    log = example()
    assert [log.root(size).hex() for size in range(1, 9)] == ROOTS


def test_the_published_paths() -> None:
    log = example()
    assert [step.hex() for step in log.inclusion(0, 8)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [step.hex() for step in log.consistency(6, 8)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_what_is_not_there_has_no_proof() -> None:
    log = example()
    with pytest.raises(ValueError, match="there is no entry 8 among 8"):
        log.inclusion(8)
    with pytest.raises(ValueError, match="there are 8 entries, not 9"):
        log.root(9)
    with pytest.raises(ValueError, match="does not begin with 9"):
        log.consistency(9)


def test_an_entry_at_another_place_is_refused() -> None:
    log = example()
    with pytest.raises(ProofError, match="entry 3 does not stand in the log"):
        check_inclusion(leaf_hash(ENTRIES[2]), 3, 8, log.inclusion(3), log.root())
    with pytest.raises(ProofError, match="there is no entry 8"):
        check_inclusion(leaf_hash(ENTRIES[2]), 8, 8, log.inclusion(3), log.root())


def test_a_log_that_was_rewritten_is_told() -> None:
    before, after = example(), MerkleLog(map(leaf_hash, [*ENTRIES[:2], b"other", *ENTRIES[3:]]))
    with pytest.raises(ProofError, match="it was rewritten"):
        check_consistency(6, before.root(6), 8, after.root(), after.consistency(6))


def test_proofs_of_another_length_are_told() -> None:
    log = example()
    path = log.inclusion(3)
    with pytest.raises(ProofError, match="too short"):
        check_inclusion(leaf_hash(ENTRIES[3]), 3, 8, path[:-1], log.root())
    with pytest.raises(ProofError, match="too long"):
        check_inclusion(leaf_hash(ENTRIES[3]), 3, 8, [*path, path[0]], log.root())
    shown = log.consistency(6)
    with pytest.raises(ProofError, match="too short"):
        check_consistency(6, log.root(6), 8, log.root(), shown[:-1])
    with pytest.raises(ProofError, match="too short"):
        check_consistency(6, log.root(6), 8, log.root(), ())
    with pytest.raises(ProofError, match="too long"):
        check_consistency(6, log.root(6), 8, log.root(), [*shown, shown[0]])
    with pytest.raises(ProofError, match="too long"):
        check_consistency(8, log.root(), 8, log.root(), shown)


def test_two_roots_of_the_same_log_are_told() -> None:
    log = example()
    with pytest.raises(ProofError, match="the roots of the same log differ"):
        check_consistency(8, log.root(7), 8, log.root(), ())
    with pytest.raises(ProofError, match="does not begin with 9"):
        check_consistency(9, log.root(), 8, log.root(), ())
