"""A head is believed only where the pinned key signed it, and only beside heads that it does not contradict."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.domain.merkle import MerkleLog, leaf_hash
from gateway.domain.tree_head import (
    BadSignature,
    HeadsContradict,
    OtherKey,
    TreeHead,
    check_chain,
    check_later,
    check_signature,
    sign,
)

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = MerkleLog(leaf_hash(b"%d" % number) for number in range(10))


def head(size: int, before: TreeHead | None = None, log: MerkleLog = LOG) -> TreeHead:
    return TreeHead(
        format=1,
        log_id="phx-1",
        size=size,
        root_sha256=log.root(size).hex(),
        made_at=NOON + timedelta(days=size),
        day="2026-07-01",
        previous_sha256="" if before is None else before.sha256,
    )


def test_a_signed_head_is_believed_by_its_key_id() -> None:
    signed = sign(head(4), KEY)
    check_signature(signed, signed.key_id)


def test_another_key_is_named() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signed = sign(head(4), other)
    with pytest.raises(OtherKey, match="not by the trusted"):
        check_signature(signed, sign(head(4), KEY).key_id)


def test_a_changed_head_is_told() -> None:
    signed = sign(head(4), KEY)
    for forged in (
        replace(signed, head=replace(signed.head, size=5)),
        replace(signed, signature="00" * 64),
        replace(signed, signature="no hex"),
    ):
        with pytest.raises(BadSignature):
            check_signature(forged, signed.key_id)


def test_a_log_that_grew_is_believed_and_one_that_was_rewritten_is_not() -> None:
    check_later(head(4), head(9), LOG.consistency(4, 9))
    check_later(head(9), head(9), ())
    rewritten = MerkleLog([leaf_hash(b"other"), *(leaf_hash(b"%d" % number) for number in range(1, 10))])
    with pytest.raises(HeadsContradict, match="it was rewritten"):
        check_later(head(4), head(9, log=rewritten), rewritten.consistency(4, 9))


def test_entries_that_were_taken_away_are_told() -> None:
    with pytest.raises(HeadsContradict, match=r"the log had 9 entries at .* and 4 at"):
        check_later(head(9), head(4), ())


def test_heads_of_two_logs_are_not_compared() -> None:
    with pytest.raises(HeadsContradict, match="heads of two logs"):
        check_later(head(4), replace(head(9), log_id="other"), LOG.consistency(4, 9))


def test_a_withheld_head_is_missed() -> None:
    first = head(2)
    second = head(5, first)
    third = head(9, second)
    check_chain([first, second, third])
    with pytest.raises(HeadsContradict, match="one is missing or changed"):
        check_chain([first, third])
    with pytest.raises(HeadsContradict, match="one is missing or changed"):
        check_chain([second, third])


def test_a_head_of_less_than_the_one_before_is_told() -> None:
    first = head(5)
    with pytest.raises(HeadsContradict, match="is of less"):
        check_chain([first, head(2, first)])
