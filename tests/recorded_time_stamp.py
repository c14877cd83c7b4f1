"""A signed head, and the response of ``openssl ts`` (3.0) to a request for a time stamp over it, with its root.

The certificate that it is signed by was over a minute later, and comes among others in no order.
"""

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.domain.tree_head import SignedHead, TreeHead, sign

HERE = Path(__file__).parent
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def head_of(made_at: datetime) -> SignedHead:
    """A head that was made then."""
    head = TreeHead(
        format=1,
        log_id="phx-1",
        size=4,
        root_sha256="ab" * 32,
        made_at=made_at,
        day="2026-07-01",
        previous_sha256="",
    )
    return sign(head, KEY)


HEAD = head_of(datetime(2026, 11, 29, 6, tzinfo=UTC))
RESPONSE = (HERE / "recorded_time_stamp.tsr").read_bytes()
ROOT_PEM = (HERE / "recorded_time_stamp_root.pem").read_bytes()
NONCE = 14990712327620729854
STAMPED_AT = datetime(2026, 11, 29, 6, 0, 34, tzinfo=UTC)
