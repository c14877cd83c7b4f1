"""Slurm's lists of hosts and of devices: what is folded up unfolds to the same."""

from hypothesis import given
from hypothesis import strategies as st

from hardware.slurm.listing import hosts, numbers

INDICES = st.lists(st.integers(0, 300), min_size=1, max_size=40, unique=True).map(sorted)
STEM = st.text("abcdefgxyz-", min_size=1, max_size=6)


def folded(indices: list[int], width: int) -> str:
    """As Slurm writes them: neighbours as a range."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ",".join(
        f"{first:0{width}d}" if first == last else f"{first:0{width}d}-{last:0{width}d}" for first, last in ranges
    )


@given(INDICES)
def test_indices_unfold_to_what_was_folded(indices: list[int]) -> None:
    assert [int(number) for number in numbers(folded(indices, 1))] == indices


@given(st.lists(st.tuples(STEM, INDICES, st.sampled_from([1, 3])), min_size=1, max_size=4))
def test_hosts_unfold_to_what_was_folded(parts: list[tuple[str, list[int], int]]) -> None:
    text = ",".join(f"{stem}[{folded(indices, width)}]" for stem, indices, width in parts)
    assert hosts(text) == [f"{stem}{index:0{width}d}" for stem, indices, width in parts for index in indices]


@given(st.text("ab0123456789-,[]", max_size=30))
def test_any_text_is_unfolded_or_refused(text: str) -> None:
    try:
        names = hosts(text)
    except ValueError:
        return
    assert bool(names) is bool(text)
    assert all(name and not set(name) & set("[],") for name in names)


def test_minimal_example() -> None:
    assert hosts("a[1-2]") == ["a1", "a2"]
