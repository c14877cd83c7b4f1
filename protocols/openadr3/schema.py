"""JSON objects as tables: which fields they have and how each is read and written.

A field that no table has is passed over, as the definition allows (Required and optional properties; Model Extension);
null stands for absent. What is absent or null is ``None`` in the model, an absent list is empty.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from typing import Any, Protocol

from protocols.openadr3.values import Simple


class Misfit(Exception):
    """A value is not what its table says. ``steps`` lead to it, the innermost first."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.steps: list[str] = []

    def __str__(self) -> str:
        return f"{'$' + ''.join(reversed(self.steps))}: {self.text}"


class Content(Protocol):
    """What stands in a field or in a list."""

    def read(self, value: object) -> Any:
        """The value in the model's terms; raises ``Misfit``."""

    def write(self, value: Any) -> object:
        """The value in JSON's terms; ``ValueError`` for what the definition has no room for."""


def shown(value: object) -> str:
    """A value of a message as far as it is good to repeat in an error."""
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else repr(value)[:60]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value of a simple type."""

    simple: Simple

    def read(self, value: object) -> Any:
        try:
            return self.simple.parse(value)
        except ValueError as cause:
            raise Misfit(f"{shown(value)}, expected {self.simple.expected}") from cause

    def write(self, value: Any) -> object:
        return self.simple.write(value)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; the value is a tuple."""

    content: Content

    def read(self, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Misfit(f"{shown(value)}, expected a list")
        items: list[Any] = []
        read = self.content.read
        try:
            for item in value:
                items.append(read(item))  # noqa: PERF401 - a misfit must know at which item it is
        except Misfit as misfit:
            misfit.steps.append(f"[{len(items)}]")
            raise
        return tuple(items)

    def write(self, value: Any) -> list[object]:
        return [self.content.write(item) for item in value]


@dataclass(frozen=True, slots=True)
class Inside:
    """An object with one field that counts, whose value is the value of the whole."""

    key: str
    content: Content

    def read(self, value: object) -> Any:
        inner = read_object(value).get(self.key)
        if inner is None:
            raise Misfit(f"lacks {self.key}")
        return _read_field(self.key, self.content, inner)

    def write(self, value: Any) -> dict[str, object]:
        return {self.key: self.content.write(value)}


@dataclass(frozen=True, slots=True)
class Field:
    """Attribute ``name`` of the value, under ``key``."""

    name: str
    key: str
    content: Content
    required: bool = False


def one(name: str, key: str, content: Content) -> Field:
    """A field that must be there."""
    return Field(name, key, content, required=True)


def maybe(name: str, key: str, content: Content) -> Field:
    """A field that may be there."""
    return Field(name, key, content)


class Object:
    """An object; the value is ``make(**fields)``, ``make`` a dataclass.

    ``said`` are fields that always say the same: written always, checked where they are there, with ``also`` for other
    words that are let pass. ``inline`` is a field
    of the value whose own fields stand beside these. Fields of ``make`` that are not in the table must be at their
    default when written: this version of the definition has no room for them.
    """

    def __init__(
        self,
        make: type,
        *table: Field,
        said: Mapping[str, str] | None = None,
        also: Collection[str] = (),
        inline: tuple[str, "Object"] | None = None,
    ) -> None:
        self.make = make
        self._table = table
        self._get = [attrgetter(field.name) for field in table]
        self._said = dict(said or {})
        self._let_pass = {key: (None, word, *also) for key, word in self._said.items()}
        self._inline = inline
        known = {field.name for field in table} | {"metadata"}
        self._no_room = tuple(
            (field.name, field.default)
            for field in fields(make)
            if field.name not in known and field.default is not MISSING
        )

    def read(self, value: object) -> Any:
        own = read_object(value)
        for key, words in self._let_pass.items():
            if own.get(key) not in words:
                misfit = Misfit(f"{shown(own[key])}, expected {self._said[key]}")
                misfit.steps.append(f".{key}")
                raise misfit
        values: dict[str, Any] = {}
        if self._inline is not None:
            name, table = self._inline
            values[name] = table.read(own)
        for field in self._table:
            raw = own.get(field.key)
            if raw is not None:
                values[field.name] = _read_field(field.key, field.content, raw)
            elif field.required:
                lacking = [item.key for item in self._table if item.required and own.get(item.key) is None]
                raise Misfit(f"lacks {', '.join(lacking)}")
        return self.make(**values)

    def write(self, value: Any) -> dict[str, object]:
        if not isinstance(value, self.make):
            raise ValueError(f"{shown(value)} is no {self.make.__name__}")
        for name, default in self._no_room:
            if getattr(value, name) != default:
                raise ValueError(f"this version of OpenADR has no place for {name}")
        own: dict[str, object] = {}
        if self._inline is not None:
            name, table = self._inline
            held = getattr(value, name)
            if held is None:
                raise ValueError(f"{name} must be there")
            own |= table.write(held)
        own |= self._said
        for field, get in zip(self._table, self._get, strict=True):
            item = get(value)
            if item is None and field.required:
                raise ValueError(f"{field.key} must be there")
            if item is None or (item == () and not field.required):
                continue
            try:
                own[field.key] = field.content.write(item)
            except ValueError as cause:
                raise ValueError(f"{field.key}: {cause}") from cause
        return own


def read_object(value: object) -> dict[str, object]:
    """The fields of an object; ``Misfit`` for anything else."""
    if not isinstance(value, dict):
        raise Misfit(f"{shown(value)}, expected an object")
    return value


def _read_field(key: str, content: Content, value: object) -> Any:
    try:
        return content.read(value)
    except Misfit as misfit:
        misfit.steps.append(f".{key}")
        raise


@dataclass(frozen=True, slots=True)
class ByWord:
    """One of several objects, told apart by the word under ``key``; ``word_of`` says it of a value.

    An object without the word is taken for ``otherwise``, if there is such a thing.
    """

    key: str
    choices: Mapping[str, Content]
    word_of: Callable[[Any], str]
    otherwise: Callable[[Mapping[str, object]], str] | None = None

    def read(self, value: object) -> Any:
        own = read_object(value)
        word = own.get(self.key)
        if word is None and self.otherwise is not None:
            word = self.otherwise(own)
        if not isinstance(word, str) or word not in self.choices:
            misfit = Misfit(f"{shown(word)}, expected one of {', '.join(self.choices)}")
            misfit.steps.append(f".{self.key}")
            raise misfit
        return self.choices[word].read(own)

    def write(self, value: Any) -> object:
        return self.choices[self.word_of(value)].write(value)
