"""What a report is made of, before it is a page or a sheet: sections of tables whose cells keep their type.

Figures are turned into words here and nowhere else, so that every form of a report says the same.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo

MINUS = "\N{MINUS SIGN}"
LONGEST_TEXT = 2000
"""Characters of one cell; a sender who was carried away is cut, with a sign of it."""

_BIDIRECTIONAL = frozenset(map(chr, (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))))
"""Marks that turn the direction of what is shown (Unicode TR9): a figure could be shown back to front."""

Cell = str | float | Decimal | datetime | None


class Kind(StrEnum):
    """What the cells of a column are."""

    TEXT = "text"
    NUMBER = "number"
    INSTANT = "instant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """``unit`` is ``""`` where there is none; ``decimals`` is of numbers, ``None`` shows all digits there are."""

    title: str
    kind: Kind = Kind.TEXT
    unit: str = ""
    decimals: int | None = 0

    @property
    def heading(self) -> str:
        """``Baseline (kWh)``."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """``name`` is unique in its report, 31 letters at the most: a sheet is called so. A cell of ``None`` is not known.

    ``most_on_pages`` are so many rows as pages show, from the first; sheets and files have all of them.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    most_on_pages: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """``lead`` says in a sentence or two what there is to know, or that nothing is on record."""

    number: int
    title: str
    lead: str
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartSpan:
    """Mean power over ``[starts_at, ends_at)`` in watts, and the price of a kWh; ``None`` where there is none."""

    starts_at: datetime
    ends_at: datetime
    metered_w: float | None
    baseline_w: float | None = None
    target_w: float | None = None
    price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What is drawn; ``price_unit`` as ``USD/kWh``. ``description`` says the same for those who cannot see it.

    ``reduction`` is what is written into the area between baseline and meter.
    """

    spans: tuple[ChartSpan, ...]
    event_start: datetime
    event_end: datetime
    price_unit: str
    description: str
    reduction: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report. ``issued_at`` is the statement's, so that the same statement makes the same report."""

    report_id: str
    title: str
    site_id: str
    issued_at: datetime
    timezone: ZoneInfo
    sections: tuple[Section, ...]
    chart: Chart | None = None

    @property
    def tables(self) -> tuple[Table, ...]:
        """Of all sections, in order."""
        return tuple(table for section in self.sections for table in section.tables)


def one_line(text: str) -> str:
    """The text as it can be shown: in one line, without characters that nobody sees, not longer than a cell holds."""
    seen = (letter if letter.isprintable() else " " for letter in text if letter not in _BIDIRECTIONAL)
    line = " ".join("".join(seen).split())
    return line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 1]}\N{HORIZONTAL ELLIPSIS}"


def number_text(value: float | Decimal, decimals: int | None) -> str:
    """``-1,234.5`` with a minus sign, rounded half to even; a zero has no sign."""
    exact = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
    if not exact.is_finite():
        return "no number"
    rounded = exact if decimals is None else exact.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)
    return f"{abs(rounded) if rounded.is_zero() else rounded:,f}".replace("-", MINUS)


def instant_text(at: datetime, zone: ZoneInfo) -> str:
    """``2025-05-03 16:15:00 -07:00``: local time with its offset, which tells the two hours of a clock change apart."""
    local = at.astimezone(zone)
    offset = f"{local:%z}"
    return f"{local:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:]}"


def cell_text(cell: Cell, column: Column, zone: ZoneInfo) -> str:
    """A cell as people read it; what is not known is a dash."""
    match cell:
        case None:
            return "\N{EN DASH}"
        case str():
            return one_line(cell)
        case datetime():
            return instant_text(cell, zone)
        case _:
            return number_text(cell, column.decimals)
