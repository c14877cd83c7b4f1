"""The hash tree of RFC 6962, section 2.1: one root over a log that only grows, and short proofs about it.

A proof of inclusion shows that an entry stands in the log at its place, a proof of consistency that one log is the
beginning of another. Leaves and nodes are hashed with different first bytes, so that no node can pass for an entry.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
"""Root of a log without entries."""


class ProofError(ValueError):
    """A proof does not show what it is said to show; the text says why."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash under which an entry stands in the tree."""
    return sha256(b"\x00" + entry).digest()


class MerkleLog:
    """The leaves' hashes, and every complete node above them, so that roots and proofs cost O(log n).

    Holds 64 bytes an entry. ``leaves`` are hashes as ``leaf_hash`` makes them.
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [list(leaves)]
        # Level by level takes half the time of leaf by leaf.
        while len(below := self._levels[-1]) > 1:
            self._levels.append([_node(left, right) for left, right in zip(below[::2], below[1::2], strict=False)])

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add the hash of one more entry."""
        level = 0
        self._levels[0].append(leaf)
        while len(self._levels[level]) % 2 == 0:
            if level + 1 == len(self._levels):
                self._levels.append([])
            self._levels[level + 1].append(_node(*self._levels[level][-2:]))
            level += 1

    def root(self, size: int | None = None) -> bytes:
        """Root over the first ``size`` entries, by default over all. Raises ``ValueError`` for more than there are."""
        size = self._checked(size)
        return self._root(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """The audit path of the entry at ``index`` (from 0) in the log of ``size`` entries (2.1.1).

        Raises ``ValueError`` where there is no such entry.
        """
        size = self._checked(size)
        if not 0 <= index < size:
            raise ValueError(f"there is no entry {index} among {size}")
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _largest_power_under(end - start)
            if index < middle:
                path.append(self._root(middle, end))
                end = middle
            else:
                path.append(self._root(start, middle))
                start = middle
        return tuple(reversed(path))

    def consistency(self, earlier: int, size: int | None = None) -> tuple[bytes, ...]:
        """The proof that the first ``earlier`` entries are the beginning of the log of ``size`` entries (2.1.2).

        Empty where there is nothing to prove. Raises ``ValueError`` where ``earlier`` is more.
        """
        size = self._checked(size)
        if not 0 <= earlier <= size:
            raise ValueError(f"a log of {size} entries does not begin with {earlier}")
        if earlier in {0, size}:
            return ()
        path: list[bytes] = []
        start, end, whole = 0, size, True
        while end != earlier:
            middle = start + _largest_power_under(end - start)
            if earlier <= middle:
                path.append(self._root(middle, end))
                end = middle
            else:
                path.append(self._root(start, middle))
                start, whole = middle, False
        if not whole:
            path.append(self._root(start, end))
        return tuple(reversed(path))

    def _checked(self, size: int | None) -> int:
        if size is None:
            return len(self)
        if not 0 <= size <= len(self):
            raise ValueError(f"there are {len(self)} entries, not {size}")
        return size

    def _root(self, start: int, end: int) -> bytes:
        """Root over ``[start, end)``; ``start`` is a multiple of a power of two that is not under the length."""
        count = end - start
        level = (count - 1).bit_length()
        if 1 << level == count:
            return self._levels[level][start >> level]
        middle = start + _largest_power_under(count)
        return _node(self._root(start, middle), self._root(middle, end))


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raise ``ProofError`` unless the entry with this hash stands at ``index`` in the log of ``size`` with this root.

    Source: RFC 9162, section 2.1.3.2, which states the check for the trees of RFC 6962.
    """
    if not 0 <= index < size:
        raise ProofError(f"there is no entry {index} in a log of {size}")
    found = leaf
    for sibling, on_the_left in _climb(index, size - 1, path, "inclusion"):
        found = _node(sibling, found) if on_the_left else _node(found, sibling)
    if found != root:
        raise ProofError(f"entry {index} does not stand in the log with this root")


def check_consistency(earlier: int, earlier_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> None:
    """Raise ``ProofError`` unless the log of ``size`` entries begins with the log of ``earlier``, by their roots.

    Source: RFC 9162, section 2.1.4.2.
    """
    if not 0 <= earlier <= size:
        raise ProofError(f"a log of {size} entries does not begin with {earlier}")
    if earlier in {0, size}:
        _check_same(earlier_root, EMPTY_ROOT if earlier == 0 else root, path)
        return
    # A beginning that is a complete tree is a node of the later log, and is not repeated in the proof.
    steps = [earlier_root, *path] if earlier & (earlier - 1) == 0 else list(path)
    if not steps:
        raise ProofError("the proof of consistency is too short")
    node, last = earlier - 1, size - 1
    while node % 2:
        node, last = node >> 1, last >> 1
    old = new = steps[0]
    for sibling, on_the_left in _climb(node, last, steps[1:], "consistency"):
        old = _node(sibling, old) if on_the_left else old
        new = _node(sibling, new) if on_the_left else _node(new, sibling)
    if (old, new) != (earlier_root, root):
        raise ProofError(f"the log of {size} entries does not begin with that of {earlier}: it was rewritten")


def _check_same(earlier_root: bytes, root: bytes, path: Sequence[bytes]) -> None:
    """Of two heads of the same size, or an empty beginning."""
    if path:
        raise ProofError("the proof of consistency is too long")
    if earlier_root != root:
        raise ProofError("the roots of the same log differ")


def _climb(node: int, last: int, steps: Iterable[bytes], what: str) -> Iterator[tuple[bytes, bool]]:
    """The siblings on the way from a node to the root, each with whether it stands on the left.

    ``last`` is the number of the last node on the same level.
    """
    for step in steps:
        if last == 0:
            raise ProofError(f"the proof of {what} is too long")
        on_the_left = node % 2 == 1 or node == last
        yield step, on_the_left
        while on_the_left and node and not node % 2:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    if last:
        raise ProofError(f"the proof of {what} is too short")


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _largest_power_under(count: int) -> int:
    """The largest power of two that is less than ``count``, which is over 1."""
    return 1 << ((count - 1).bit_length() - 1)
