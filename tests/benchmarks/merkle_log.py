"""Entries a second into the log of evidence, and what its root and proofs cost, beside plain SHA-256 of the same bytes.

python tests/benchmarks/merkle_log.py [ENTRIES]
"""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256

from gateway.domain.evidence import canonical_json
from gateway.domain.evidence_log import EvidenceEntry
from gateway.domain.merkle import MerkleLog, check_consistency, check_inclusion


def took_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main(count: int) -> None:
    """Measure and print."""
    at = datetime(2026, 7, 1, tzinfo=UTC)
    entries = [
        EvidenceEntry(number=number, kind="plan", key=str(number), at=at, sha256=f"{number:064x}")
        for number in range(count)
    ]
    spelled = [canonical_json(entry) for entry in entries]
    plain_s = took_s(lambda: [sha256(entry).digest() for entry in spelled])
    leaves: list[bytes] = []
    leaf_s = took_s(lambda: leaves.extend(entry.leaf for entry in entries))
    log = MerkleLog()
    tree_s = took_s(lambda: [log.append(leaf) for leaf in leaves])
    root_us = 1e6 * took_s(lambda: [log.root(count - 1 - step) for step in range(1000)]) / 1000
    places = [step * (count // 1000) for step in range(1000)]
    root = log.root()
    paths = [log.inclusion(place) for place in places]
    proof_us = 1e6 * took_s(lambda: [log.inclusion(place) for place in places]) / 1000
    check_us = 1e6 * took_s(
        lambda: [
            check_inclusion(leaves[place], place, count, path, root) for place, path in zip(places, paths, strict=True)
        ]
    )
    half = log.root(count // 2)
    grown_us = 1e6 * took_s(lambda: check_consistency(count // 2, half, count, root, log.consistency(count // 2)))
    print(f"{count:,} entries; plain SHA-256 of them {count / plain_s:,.0f} a second")
    print(f"spelled and hashed as leaves {count / leaf_s:,.0f} a second, {leaf_s / plain_s:.1f} times the plain hash")
    print(f"put into the tree            {count / tree_s:,.0f} a second, {tree_s / plain_s:.1f} times the plain hash")
    print(f"a root of any size {root_us:.0f} us")
    print(f"a proof of inclusion {proof_us:.0f} us, checked in {check_us / 1000:.0f} us")
    print(f"a proof of consistency made and checked {grown_us:.0f} us")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
