"""A folder keeps each head in a file of its own and says which it got last."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.domain.evidence import canonical_json
from gateway.domain.tree_head import SignedHead, TreeHead, sign
from gateway.storage.head_folder import HeadFolder

OF_A_DAY = TreeHead(
    format=1,
    log_id="a",
    size=42,
    root_sha256="",
    made_at=datetime(2026, 7, 2, 7, 20, tzinfo=UTC),
    day="2026-07-01",
    previous_sha256="",
)
ON_DEMAND = replace(OF_A_DAY, day="", made_at=datetime(2026, 7, 1, 21, 5, 9, tzinfo=UTC))


def signed(head: TreeHead) -> SignedHead:
    return sign(head, Ed25519PrivateKey.from_private_bytes(bytes(32)))


async def test_heads_of_one_day_and_size_have_files_of_their_own(tmp_path: Path) -> None:
    folder = HeadFolder(tmp_path / "heads")
    assert await folder.last() is None
    for head in (ON_DEMAND, OF_A_DAY, OF_A_DAY):
        await folder.take(signed(head))
    files = {file.name: file.read_bytes() for file in (tmp_path / "heads").iterdir()}
    assert files == {
        "2026-07-01-000000042.json": canonical_json(signed(OF_A_DAY)),
        "2026-07-01T210509Z-000000042.json": canonical_json(signed(ON_DEMAND)),
    }


async def test_the_last_one_is_over_the_most_whenever_it_was_made(tmp_path: Path) -> None:
    folder = HeadFolder(tmp_path)
    # On demand after midnight in UTC, and then the head of the local day before.
    early = replace(ON_DEMAND, made_at=datetime(2026, 7, 2, 6, 50, tzinfo=UTC), size=40)
    for head in (early, OF_A_DAY):
        await folder.take(signed(head))
    assert await folder.last() == signed(OF_A_DAY)
