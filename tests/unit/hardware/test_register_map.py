import struct

import pytest

from hardware.register_map import SHIPPED, Kind, Register, RegisterMap, RunningRegister, WordOrder


def words(layout: str, number: float) -> list[int]:
    raw = struct.pack(f">{layout}", number)
    return list(struct.unpack(f">{len(raw) // 2}H", raw))


@pytest.mark.parametrize(
    ("kind", "layout", "number"),
    [
        (Kind.INT16, "h", -1234),
        (Kind.UINT16, "H", 54321),
        (Kind.INT32, "i", -1_234_567),
        (Kind.UINT32, "I", 4_000_000_000),
        (Kind.INT64, "q", -9_000_000_000_000),
        (Kind.UINT64, "Q", 18_000_000_000_000_000_000),
        (Kind.FLOAT32, "f", 1234.5),
        (Kind.FLOAT64, "d", -0.1),
    ],
)
def test_each_kind_in_both_orders_of_words(kind: Kind, layout: str, number: float) -> None:
    block = words(layout, number)
    assert Register(address=7, kind=kind).number(block) == number
    low_first = Register(address=7, kind=kind, words=WordOrder.LOW_FIRST)
    assert low_first.number(block[::-1]) == number
    if len(block) > 1:
        assert low_first.number(block) != number


@pytest.mark.parametrize(
    ("kind", "block"),
    [
        (Kind.INT16, [0x8000]),
        (Kind.UINT16, [0xFFFF]),
        (Kind.INT32, [0x8000, 0]),
        (Kind.UINT32, [0xFFFF, 0xFFFF]),
        (Kind.INT64, [0x8000, 0, 0, 0]),
        (Kind.UINT64, [0xFFFF] * 4),
        (Kind.FLOAT32, [0x7FC0, 0]),
        (Kind.FLOAT32, words("f", float("-inf"))),
        (Kind.FLOAT64, words("d", float("nan"))),
    ],
)
def test_what_is_not_implemented_is_no_number(kind: Kind, block: list[int]) -> None:
    assert Register(address=0, kind=kind).number(block) is None


@pytest.mark.parametrize(
    ("exponent", "factor"), [(0, 1.0), (2, 100.0), (0x10000 - 1, 0.1), (0x8000, None), (11, None), (0x10000 - 11, None)]
)
def test_an_exponent_beside_the_number(exponent: int, factor: float | None) -> None:
    register = Register(address=18, kind=Kind.INT16, exponent_at=22)
    assert (register.first, register.count) == (18, 5)
    assert register.factor([5, 0, 0, 0, exponent]) == factor


def test_an_exponent_before_the_number() -> None:
    register = Register(address=10, kind=Kind.INT32, exponent_at=8, scale=-1.0)
    assert (register.first, register.count) == (8, 4)
    block = [1, 0, *words("i", 70_000)]
    assert (register.number(block), register.factor(block)) == (70_000, -10.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": -1, "kind": Kind.INT16},
        {"address": 65535, "kind": Kind.FLOAT32},
        {"address": 0, "kind": Kind.INT16, "scale": 0.0},
        {"address": 0, "kind": Kind.INT16, "scale": float("nan")},
        {"address": 0, "kind": Kind.INT16, "exponent_at": 125},
    ],
)
def test_a_register_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="register"):
        Register(**wrong)


def test_a_register_runs_on_over_its_end_and_falls_at_a_reset() -> None:
    running = RunningRegister(2**16)
    assert [running.total(count) for count in (65_000, 65_535, 10, 40_000, 65_530, 3)] == [
        65_000,
        65_535,
        65_546,
        105_536,
        131_066,
        131_075,
    ]
    assert running.total(0) == 0  # From 3 to 0 is no wrap: the meter was reset, and says so by falling.
    assert running.total(5) == 5


def test_a_register_that_does_not_wrap_only_falls() -> None:
    running = RunningRegister(None)
    assert [running.total(count) for count in (10.0, 2.0, 3.0)] == [10.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("kind", "wraps_at"),
    [(Kind.UINT32, 2**32), (Kind.INT32, 2**31), (Kind.INT64, 2**63), (Kind.FLOAT32, None)],
)
def test_where_a_kind_wraps(kind: Kind, wraps_at: int | None) -> None:
    power = Register(address=0, kind=Kind.FLOAT32)
    assert RegisterMap(power=power, energy=Register(address=2, kind=kind)).wraps_at == wraps_at
    declared = RegisterMap(power=power, energy=Register(address=2, kind=kind), energy_wraps_at=1_000_000)
    assert declared.wraps_at == 1_000_000


def test_a_map_moves_as_a_whole() -> None:
    moved = SHIPPED["sunspec-int"].moved(40_069)
    assert (moved.power.address, moved.power.exponent_at) == (40_087, 40_091)
    assert moved.energy is not None
    assert (moved.energy.address, moved.energy.exponent_at, moved.energy.scale) == (40_115, 40_123, 3600.0)
    assert SHIPPED["sunspec-float"].moved(2).energy is None
