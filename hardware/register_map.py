"""Modbus registers as data: where a meter keeps its power and energy, how they are written, and what they mean.

Addresses are those on the wire, counted from 0. Manuals often count from 1, or write 30053 for input register 52 and
40101 for holding register 100.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_REGISTERS = 125
"""The most registers that one request may ask for (Modbus application protocol 1.1b3, 6.3 and 6.4)."""

_J_A_WH = 3600.0

_WRAP_SHARE = 16
"""A register that fell has wrapped where the way on over its end is under a sixteenth of its range, else was reset."""


class Kind(StrEnum):
    """How a number is written in one, two or four registers."""

    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"


class Table(StrEnum):
    """Which of the meter's tables: function 3 reads holding registers, function 4 input registers."""

    HOLDING = "holding"
    INPUT = "input"


class WordOrder(StrEnum):
    """Which register of a number stands first. Bytes within a register are always high byte first."""

    HIGH_FIRST = "high_first"
    LOW_FIRST = "low_first"


_FORMATS = {
    Kind.INT16: ">h",
    Kind.UINT16: ">H",
    Kind.INT32: ">i",
    Kind.UINT32: ">I",
    Kind.INT64: ">q",
    Kind.UINT64: ">Q",
    Kind.FLOAT32: ">f",
    Kind.FLOAT64: ">d",
}

# What SunSpec (Device Information Model Specification, 4.2) has for "not implemented", and many other makes, too.
# A float's is a NaN.
_ABSENT = {
    Kind.INT16: -(2**15),
    Kind.UINT16: 2**16 - 1,
    Kind.INT32: -(2**31),
    Kind.UINT32: 2**32 - 1,
    Kind.INT64: -(2**63),
    Kind.UINT64: 2**64 - 1,
}

_MAX_EXPONENT = 10
"""SunSpec's scale factors run from -10 to 10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """A number in a meter. ``scale`` turns it into watts or joules, import positive; its sign turns the direction.

    Where ``exponent_at`` is given the number is multiplied by ten to the power of the int16 there, too, and both are
    read in one request, so that a meter that changes its range never shows the one without the other.
    """

    address: int
    kind: Kind
    scale: float = 1.0
    words: WordOrder = WordOrder.HIGH_FIRST
    table: Table = Table.HOLDING
    exponent_at: int | None = None

    def __post_init__(self) -> None:
        if self.first < 0 or self.first + self.count > 2**16:
            raise ValueError(f"{self.name} is no address: they run from 0 to 65535")
        if self.count > MAX_REGISTERS:
            raise ValueError(f"{self.name} and its exponent at {self.exponent_at} are too far apart for one request")
        if not math.isfinite(self.scale) or self.scale == 0.0:
            raise ValueError(f"{self.name} has a scale of {self.scale}")

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.table} register {self.address}"

    @property
    def size(self) -> int:
        """How many registers the number takes."""
        return struct.calcsize(_FORMATS[self.kind]) // 2

    @property
    def first(self) -> int:
        """Address of the first register to be read."""
        return self.address if self.exponent_at is None else min(self.address, self.exponent_at)

    @property
    def count(self) -> int:
        """How many registers are to be read, from the first on."""
        end = self.address + self.size
        return (end if self.exponent_at is None else max(end, self.exponent_at + 1)) - self.first

    def number(self, block: Sequence[int]) -> int | float | None:
        """The bare number in what was read, ``None`` where the meter says that it has none."""
        start = self.address - self.first
        return _number(self.kind, self.words, block[start : start + self.size])

    def factor(self, block: Sequence[int]) -> float | None:
        """What the bare number is multiplied by, ``None`` where the exponent is missing or out of its range."""
        if self.exponent_at is None:
            return self.scale
        start = self.exponent_at - self.first
        exponent = _number(Kind.INT16, self.words, block[start : start + 1])
        if exponent is None or abs(exponent) > _MAX_EXPONENT:
            return None
        # A quotient is exact to the last bit where a product with 0.1 is not.
        scaled = self.scale / 10 ** -int(exponent) if exponent < 0 else self.scale * 10 ** int(exponent)
        return float(scaled)


def _number(kind: Kind, order: WordOrder, words: Sequence[int]) -> int | float | None:
    ordered = words if order is WordOrder.HIGH_FIRST else tuple(reversed(words))
    number: int | float
    (number,) = struct.unpack(_FORMATS[kind], struct.pack(f">{len(ordered)}H", *ordered))
    return None if not math.isfinite(number) or number == _ABSENT.get(kind) else number


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterMap:
    """What one model of meter has: power in watts, and a running register of imported energy in joules if any.

    ``energy_wraps_at`` is the count at which the energy register starts over; by default the range of its kind.
    """

    power: Register
    energy: Register | None = None
    energy_wraps_at: int | None = None

    def moved(self, offset: int) -> "RegisterMap":
        """The same map with every address ``offset`` further on, for a model block that starts there."""
        return RegisterMap(
            power=_moved(self.power, offset),
            energy=None if self.energy is None else _moved(self.energy, offset),
            energy_wraps_at=self.energy_wraps_at,
        )

    @property
    def wraps_at(self) -> int | None:
        """The count at which the energy register starts over; ``None`` for a float, which just loses digits."""
        if self.energy_wraps_at is not None or self.energy is None:
            return self.energy_wraps_at
        largest = _ABSENT.get(self.energy.kind)
        return None if largest is None else abs(largest) if largest < 0 else largest + 1


def _moved(register: Register, offset: int) -> Register:
    return Register(
        address=register.address + offset,
        kind=register.kind,
        scale=register.scale,
        words=register.words,
        table=register.table,
        exponent_at=None if register.exponent_at is None else register.exponent_at + offset,
    )


class RunningRegister:
    """Makes a register that starts over at its end run on, for as long as this object lives.

    One that was reset, or belongs to another meter now, is given as it reads: it falls, and that says so.
    """

    def __init__(self, wraps_at: int | None) -> None:
        self._wraps_at = wraps_at
        self._last: float | None = None
        self._past = 0

    def total(self, count: float) -> float:
        """The count, with all rounds that were seen."""
        if self._last is not None and count < self._last:
            wraps_at = self._wraps_at
            wrapped = wraps_at is not None and count + wraps_at - self._last <= wraps_at / _WRAP_SHARE
            self._past = self._past + (wraps_at or 0) if wrapped else 0
        self._last = count
        return count + self._past


SHIPPED: Mapping[str, RegisterMap] = {
    # SunSpec meter models 201 to 204 share these offsets from the model's ID register: W and W_SF, TotWhImp and
    # TotWh_SF (github.com/sunspec/models, json/model_203.json). Where the block starts is the meter's; move the map.
    "sunspec-int": RegisterMap(
        power=Register(address=18, kind=Kind.INT16, exponent_at=22),
        energy=Register(address=46, kind=Kind.UINT32, scale=_J_A_WH, exponent_at=54),
    ),
    # SunSpec meter models 211 to 214: W (json/model_213.json). Their energy is a float32 of watt-hours, which stands
    # still for minutes once a large site has counted some GWh: not used.
    "sunspec-float": RegisterMap(power=Register(address=28, kind=Kind.FLOAT32)),
    # Eastron SDM630 Modbus: 30053 total system power, W; 30073 total import, kWh.
    "eastron-sdm630": RegisterMap(
        power=Register(address=52, kind=Kind.FLOAT32, table=Table.INPUT),
        energy=Register(address=72, kind=Kind.FLOAT32, scale=1000 * _J_A_WH, table=Table.INPUT),
    ),
    # Schneider PowerLogic PM5000: register 3060 active power total, kW; 3204 active energy delivered into load, Wh.
    "schneider-pm5000": RegisterMap(
        power=Register(address=3059, kind=Kind.FLOAT32, scale=1000.0),
        energy=Register(address=3203, kind=Kind.INT64, scale=_J_A_WH),
    ),
}
"""Maps typed in from published lists. SunSpec's start at 0: ``moved`` puts them where the model block is."""
