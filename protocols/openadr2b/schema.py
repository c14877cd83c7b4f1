"""Complex types as tables: the order and number of child elements, and how each is read and written.

A table is walked once for every message that comes or goes, so what it needs is laid out when it is made. Messages
are written as text: to build a tree of it first would take three times as long.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, Protocol

from protocols.errors import MalformedMessage
from protocols.openadr2b.columns import Columns, build_all, columns_of
from protocols.openadr2b.names import readable
from protocols.openadr2b.values import Simple
from protocols.xml import Element, line_of

MANY = 8
"""Of so many elements it pays to see first whether they are of one shape."""

_MARKUP = re.compile("[&<>\r]")
_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}


@cache
def tags(tag: str) -> tuple[str, str]:
    """What opens and what closes an element in text, with the customary prefix."""
    name = readable(tag)
    return f"<{name}>", f"</{name}>"


class Content(Protocol):
    """What stands in an element."""

    def read(self, element: Element) -> Any:
        """The element's value; ``MalformedMessage`` names line and element, and says what was expected."""

    def read_alike(self, first: Element, columns: Columns) -> list[Any]:
        """The values of all elements in the column of ``first``, which has been read without fault by itself.

        ``ValueError`` or ``MalformedMessage`` where one of them cannot be read: ``read`` says which, and why.
        """
        return [self.read(element) for element in columns[first]]

    def write(self, out: list[str], tag: str, value: Any) -> None:
        """Append an element to the text ``out``; ``ValueError`` for a value the schema has no room for."""


@dataclass(frozen=True, slots=True)
class Leaf(Content):
    """Text of a simple type, and no elements."""

    simple: Simple

    def read(self, element: Element) -> Any:
        if len(element):
            raise MalformedMessage(
                f"{readable(element.tag)} has elements in it, expected {self.simple.expected}", line=line_of(element)
            )
        text = element.text or ""
        try:
            return self.simple.parse(text)
        except ValueError as cause:
            raise MalformedMessage(
                f"{readable(element.tag)} is {text[:60]!r}, expected {self.simple.expected}", line=line_of(element)
            ) from cause

    def read_alike(self, first: Element, columns: Columns) -> list[Any]:
        parse = self.simple.parse
        return [parse(element.text or "") for element in columns[first]]

    def write(self, out: list[str], tag: str, value: Any) -> None:
        opening, closing = tags(tag)
        text = self.simple.write(value)
        if _MARKUP.search(text) is not None:
            text = _MARKUP.sub(lambda found: _ESCAPED[found[0]], text)
        out.append(f"{opening}{text}{closing}")


@dataclass(frozen=True, slots=True)
class Inside(Content):
    """Exactly one element ``tag``, whose value is the value of the whole; ``or_nothing`` allows none, read as None."""

    tag: str
    content: Content
    or_nothing: bool = False

    def read(self, element: Element) -> Any:
        if len(element) == 1:
            child = element[0]
            if child.tag == self.tag:
                return self.content.read(child)
        elif self.or_nothing and not len(element):
            return None
        found = ", ".join(readable(child.tag) for child in list(element)[:3]) or "nothing"
        raise MalformedMessage(
            f"{readable(element.tag)} has {found} in it, expected one {readable(self.tag)}", line=line_of(element)
        )

    def read_alike(self, first: Element, columns: Columns) -> list[Any]:
        return self.content.read_alike(first[0], columns) if len(first) else [None] * len(columns[first])

    def write(self, out: list[str], tag: str, value: Any) -> None:
        opening, closing = tags(tag)
        out.append(opening)
        self.content.write(out, self.tag, value)
        out.append(closing)


@dataclass(frozen=True, slots=True)
class ListOf(Content):
    """Any number of elements ``tag``, but ``at_least`` so many; the value is a tuple."""

    tag: str
    content: Content
    at_least: int = 0

    def read(self, element: Element) -> tuple[Any, ...]:
        tag, read = self.tag, self.content.read
        if len(element) >= MANY and element[0].tag == tag:
            # A fault of shape in any of them is one in the first.
            read(element[0])
            columns = columns_of(element)
            if columns is not None:
                with suppress(ValueError, MalformedMessage):
                    return tuple(self.content.read_alike(element[0], columns))
        items: list[Any] = []
        for child in element:
            if child.tag != tag:
                raise MalformedMessage(
                    f"{readable(child.tag)} in {readable(element.tag)}, expected only {readable(tag)}",
                    line=line_of(child),
                )
            items.append(read(child))
        if len(items) < self.at_least:
            raise MalformedMessage(f"{readable(element.tag)} has no {readable(tag)}", line=line_of(element))
        return tuple(items)

    def write(self, out: list[str], tag: str, value: Any) -> None:
        if len(value) < self.at_least:
            raise ValueError(f"{readable(tag)} needs at least {self.at_least} {readable(self.tag)}")
        opening, closing = tags(tag)
        write, each = self.content.write, self.tag
        out.append(opening if value else f"{opening[:-1]}/>")
        for item in value:
            write(out, each, item)
        if value:
            out.append(closing)


@dataclass(frozen=True, slots=True)
class Field:
    """One place in a sequence: attribute ``name`` of the value, as one of the elements in ``choices``.

    ``tag_of`` says which of several choices a value takes. Absent elements leave the attribute at its default, which
    is ``None``, or ``()`` where the place is ``repeated`` or ``listed`` (one element that holds a list).
    """

    name: str
    choices: Mapping[str, Content]
    required: bool = True
    repeated: bool = False
    tag_of: Callable[[Any], str] | None = None

    def write(self, out: list[str], value: Any) -> None:
        """Append the place's element, or elements, to ``out``."""
        for item in value if self.repeated else (value,):
            tag = next(iter(self.choices)) if self.tag_of is None else self.tag_of(item)
            if tag not in self.choices:
                raise ValueError(f"{readable(tag)} cannot stand for {self.name}")
            self.choices[tag].write(out, tag, item)


def one(name: str, tag: str, content: Content) -> Field:
    """An element that must be there once."""
    return Field(name, {tag: content})


def maybe(name: str, tag: str, content: Content) -> Field:
    """An element that may be there once."""
    return Field(name, {tag: content}, required=False)


def many(name: str, tag: str, content: Content, *, at_least: int = 0) -> Field:
    """An element any number of times."""
    return Field(name, {tag: content}, required=at_least > 0, repeated=True)


class Sequence(Content):
    """Elements in a fixed order, each field at most once unless repeated; the value is ``make(**fields)``."""

    def __init__(self, make: Callable[..., Any], *fields: Field) -> None:
        self.make = make
        self._fields = fields
        self._writers = [(attrgetter(field.name), *_only(field), field) for field in fields]
        self._places = {
            tag: (place, field.name, content.read, field.repeated)
            for place, field in enumerate(fields)
            for tag, content in field.choices.items()
        }
        self._contents = {tag: content for field in fields for tag, content in field.choices.items()}
        self._required = frozenset(field.name for field in fields if field.required)
        self._repeated = tuple(field.name for field in fields if field.repeated)

    def read(self, element: Element) -> Any:
        places = self._places
        values: dict[str, Any] = {}
        at = -1
        for child in element:
            try:
                place, name, read, repeated = places[child.tag]
            except KeyError:
                raise self._unexpected(element, child, at) from None
            if place > at:
                at = place
                values[name] = [read(child)] if repeated else read(child)
            elif repeated and place == at:
                values[name].append(read(child))
            else:
                raise self._unexpected(element, child, at)
        if not self._required <= values.keys():
            raise self._missing(element, values)
        for name in self._repeated:
            if name in values:
                values[name] = tuple(values[name])
        return self.make(**values)

    def read_alike(self, first: Element, columns: Columns) -> list[Any]:
        if not isinstance(self.make, type):
            return [self.read(element) for element in columns[first]]
        values: dict[str, Iterable[Any]] = {}
        repeats: dict[str, list[list[Any]]] = {}
        for child in first:
            _, name, _, repeated = self._places[child.tag]
            column = self._contents[child.tag].read_alike(child, columns)
            if repeated:
                repeats.setdefault(name, []).append(column)
            else:
                values[name] = column
        values.update((name, zip(*items, strict=True)) for name, items in repeats.items())
        return build_all(self.make, len(columns[first]), values)

    def write(self, out: list[str], tag: str, value: Any) -> None:
        opening, closing = tags(tag)
        out.append(opening)
        begun = len(out)
        for get, only, write, field in self._writers:
            item = get(value)
            if item is None or item == ():
                if field.required and not _holds_list(field):
                    raise ValueError(f"{readable(tag)} needs {field.name}")
                if not field.required:
                    continue
            if write is None:
                field.write(out, item)
            else:
                write(out, only, item)
        if len(out) == begun:
            out[-1] = f"{opening[:-1]}/>"
        else:
            out.append(closing)

    def _unexpected(self, element: Element, child: Element, at: int) -> MalformedMessage:
        first = max(at, 0) if at >= 0 and self._fields[at].repeated else at + 1
        wanted: list[str] = []
        for field in self._fields[first:]:
            wanted += map(readable, field.choices)
            if field.required and not (field.repeated and first == at):
                break
        expected = (
            f"expected {' or '.join(wanted[:6])}{' ...' if len(wanted) > 6 else ''}" if wanted else "expected no more"
        )
        return MalformedMessage(
            f"{readable(child.tag)} at this place in {readable(element.tag)}, {expected}", line=line_of(child)
        )

    def _missing(self, element: Element, values: Mapping[str, Any]) -> MalformedMessage:
        lacking = [
            " or ".join(map(readable, list(field.choices)[:4]))
            for field in self._fields
            if field.required and field.name not in values
        ]
        return MalformedMessage(f"{readable(element.tag)} lacks {', '.join(lacking)}", line=line_of(element))


def _holds_list(field: Field) -> bool:
    return not field.repeated and any(isinstance(content, ListOf) for content in field.choices.values())


def _only(field: Field) -> tuple[str, Callable[[list[str], str, Any], None] | None]:
    """The one element that a place can hold and what writes it; else it is the field's own business."""
    if field.repeated or field.tag_of is not None:
        return "", None
    tag, content = next(iter(field.choices.items()))
    return tag, content.write
