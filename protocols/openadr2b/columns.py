"""Much of one kind at once, column by column: elements of one shape, and instances of one class.

A report says the same few things of each of its intervals. Looked at one beside the other, the shape of all is checked
in one comparison, and a whole column is read, or set, in one go.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from itertools import repeat
from typing import Any, TypeVar

from protocols.xml import Element

Kind = TypeVar("Kind")

Columns = Mapping[Element, list[Element]]
"""For each element in the first of many, and for that itself: the elements that stand at its place in each of them."""


def columns_of(parent: Element) -> Columns | None:
    """The columns of an element's children; ``None`` where these are not all of one shape.

    Their shape is the tags of all that is in them, in the order of the document, and how many children each has.
    """
    elements = list(parent.iter())
    del elements[0]
    tags = [element.tag for element in elements]
    counts = list(map(len, elements))
    items = len(parent)
    first = list(parent[0].iter())
    places = len(first)
    if tags != tags[:places] * items or counts != counts[:places] * items:
        return None
    return {element: elements[place::places] for place, element in enumerate(first)}


@cache
def _fields(kind: type) -> tuple[tuple[str, Callable[[Any, Any], None], Any], ...]:
    return tuple((field.name, getattr(kind, field.name).__set__, field.default) for field in fields(kind))


def build_all(kind: type[Kind], count: int, columns: Mapping[str, Iterable[Any]]) -> list[Kind]:
    """``count`` instances of a frozen, slotted dataclass without ``__post_init__`` and ``default_factory``.

    As ``kind(**row)`` for each row of the columns, which have ``count`` values each, in less than half the time: a
    frozen class sets attributes against its own resistance, one by one. Raises ``TypeError`` as ``kind`` does.
    """
    made = list(map(object.__new__, repeat(kind, count)))
    left = len(columns)
    for name, put, default in _fields(kind):  # type: ignore[arg-type]  # a class is hashable
        column = columns.get(name)
        if column is not None:
            left -= 1
        elif default is not MISSING:
            column = repeat(default)
        else:
            raise TypeError(f"{kind.__name__} needs {name}")
        deque(map(put, made, column), maxlen=0)
    if left:
        raise TypeError(f"{', '.join(columns)} are more than {kind.__name__} has")
    return made
