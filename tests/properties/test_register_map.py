import struct

from hypothesis import given
from hypothesis import strategies as st

from hardware.register_map import Kind, Register, RunningRegister, WordOrder

LAYOUTS = {
    Kind.INT16: "h",
    Kind.UINT16: "H",
    Kind.INT32: "i",
    Kind.UINT32: "I",
    Kind.INT64: "q",
    Kind.UINT64: "Q",
    Kind.FLOAT32: "f",
    Kind.FLOAT64: "d",
}


@given(kind=st.sampled_from(Kind), raw=st.binary(min_size=8, max_size=8), order=st.sampled_from(WordOrder))
def test_any_words_give_a_finite_number_that_is_them_or_none(kind: Kind, raw: bytes, order: WordOrder):
    register = Register(address=0, kind=kind, words=order)
    block = struct.unpack(f">{register.size}H", raw[: 2 * register.size])
    number = register.number(block)
    if number is not None:
        again = struct.unpack(f">{register.size}H", struct.pack(f">{LAYOUTS[kind]}", number))
        assert again == (block if order is WordOrder.HIGH_FIRST else block[::-1])


def test_words_minimal_example():
    assert Register(address=0, kind=Kind.INT16).number([0xFFFE]) == -2


@given(
    start=st.integers(0, 2**16 - 1),
    steps=st.lists(st.integers(0, 2**12), max_size=100),
)
def test_a_register_that_wraps_counts_all_that_was_added(start: int, steps: list[int]):
    running, true = RunningRegister(2**16), start
    first = running.total(start)
    for step in steps:
        true += step
        assert running.total(true % 2**16) - first == true - start


def test_a_wrap_minimal_example():
    running = RunningRegister(2**16)
    assert (running.total(65_535), running.total(1)) == (65_535, 65_537)
