"""A strict reader for the tables of a rule sheet: a wrong key ends in one error that names it by its whole path."""

import re
from collections.abc import Sequence
from decimal import Decimal
from difflib import get_close_matches

_PLAIN = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)


class RuleError(ValueError):
    """A rule sheet that cannot be used; the text names the key."""


def exact_number(value: object) -> Decimal | None:
    """A whole number, or one written plainly as text, as Decimal; ``None`` for anything else, floats included."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    if isinstance(value, int) and abs(value) >= 10**15:
        return None
    return Decimal(value) if _PLAIN.fullmatch(str(value)) else None


class Table:
    """One table of a sheet. Each value is taken once; ``done`` refuses what nobody asked for."""

    def __init__(self, content: dict[str, object], path: str = "") -> None:
        self.path = path
        self._content = content
        self._taken: list[str] = []

    def text(self, key: str) -> str:
        """Text that is not empty."""
        value = self._take(key)
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(key, "text that is not empty", value)
        return value

    def choice(self, key: str, known: Sequence[str]) -> str:
        """One of the words known."""
        return self._word(key, self._take(key), known)

    def choices(self, key: str, known: Sequence[str]) -> tuple[str, ...]:
        """A list of the words known."""
        value = self._take(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list", value)
        return tuple(self._word(key, item, known) for item in value)

    def numbers(self, key: str, *, above: float) -> tuple[float, ...]:
        """A list of one number or more, each above a bound."""
        value = self._take(key)
        if not isinstance(value, list) or not value:
            raise self._wrong(key, "a list of numbers", value)
        return tuple(self._number(key, item, above) for item in value)

    def has(self, key: str) -> bool:
        """Whether the key is there at all, for those that may be left out."""
        return key in self._content

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._take(key)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def whole(self, key: str, *, above: int) -> int:
        """A whole number above a bound."""
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool) or value <= above:
            raise self._wrong(key, f"a whole number above {above}", value)
        return value

    def number(self, key: str, *, above: float = float("-inf")) -> float:
        """A number above a bound."""
        return self._number(key, self._take(key), above)

    def decimal(self, key: str, *, at_least: Decimal | None = None) -> Decimal:
        """An exact number: a whole one, or text such as "0.35"; under 10^15, down to a billionth."""
        value = self._take(key)
        bound = "" if at_least is None else f" from {at_least} on"
        found = exact_number(value)
        if found is None or (at_least is not None and found < at_least):
            raise self._wrong(key, f'an exact number{bound}, whole or as text such as "0.35",', value)
        return found

    def decimal_or(self, key: str, known: Sequence[str]) -> Decimal | str:
        """An exact number as in ``decimal``, or one of the words known."""
        value = self._take(key)
        found = exact_number(value)
        if found is None and value not in known:
            raise self._wrong(
                key, f'an exact number, whole or as text such as "0.35", or one of {", ".join(known)}', value
            )
        return str(value) if found is None else found

    def holds(self, key: str) -> bool:
        """Whether a key that may be left out is there."""
        return key in self._content

    def pair(self, key: str, *, optional: bool) -> tuple[float, float] | None:
        """Two numbers in rising order, ``None`` where the key is optional and absent."""
        if optional and key not in self._content:
            return None
        match self._take(key):
            case [int() | float() as low, int() | float() as high] if low <= high:
                return float(low), float(high)
            case value:
                raise self._wrong(key, "two numbers [low, high]", value)

    def table(self, key: str) -> "Table":
        """A table within this one."""
        value = self._take(key)
        if not isinstance(value, dict):
            raise self._wrong(key, "a table", value)
        return Table(value, self._full(key))

    def tables(self, key: str) -> list["Table"]:
        """One table or more under the same name (``[[key]]``)."""
        value = self._take(key)
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            raise self._wrong(key, "one or more tables [[...]]", value)
        return [Table(item, f"{self._full(key)}[{index}]") for index, item in enumerate(value)]

    def done(self) -> None:
        """Refuse the keys that were not taken."""
        for key in self._content:
            if key not in self._taken:
                near = get_close_matches(key, self._taken, n=1)
                raise RuleError(f"{self._full(key)}: unknown key{f', did you mean {near[0]}?' if near else ''}")

    def _take(self, key: str) -> object:
        if key not in self._content:
            raise RuleError(f"{self._full(key)}: missing")
        self._taken.append(key)
        return self._content[key]

    def _number(self, key: str, value: object, above: float) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not above < value < float("inf"):
            bound = "" if above == float("-inf") else f" above {above:g}"
            raise self._wrong(key, f"a number{bound}", value)
        return float(value)

    def _word(self, key: str, value: object, known: Sequence[str]) -> str:
        if not isinstance(value, str) or value not in known:
            raise self._wrong(key, f"one of {', '.join(known)}", value)
        return value

    def _full(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _wrong(self, key: str, wanted: str, value: object) -> RuleError:
        return RuleError(f"{self._full(key)}: {wanted} is wanted, not {value!r}")
