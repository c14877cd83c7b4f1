"""Objects as a VTN gives them out, each encoded once for all who see the same of it.

To encode is most of what a poll costs, and thousands of VENs poll the same events.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable

from protocols.openadr3 import model
from protocols.openadr3.codec import encode
from protocols.openadr3.model import Held
from protocols.openadr3.names import Version

MOST_BYTES = 32 << 20


class Encoder:
    """Encodes, and keeps what was asked for lately, ``most_bytes`` of it."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0

    def one(self, value: Held) -> bytes:
        """An object in JSON."""
        key = _key(value)
        if key is None:
            return encode(value, Version.V3_1)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        body = encode(value, Version.V3_1)
        self._kept[key] = body
        self._bytes += len(body)
        while self._bytes > self._most_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped)
        return body

    def all(self, values: Iterable[Held]) -> bytes:
        """A list of objects in JSON."""
        return b"[" + b",".join(self.one(value) for value in values) + b"]"


def _key(value: Held) -> Hashable | None:
    """What tells one view of one revision of an object from every other; ``None`` for what is not worth keeping."""
    if not isinstance(value, model.Program | model.Event) or value.metadata is None:
        return None
    asked = () if isinstance(value, model.Program) else tuple(item.targets for item in value.report_descriptors)
    # A descriptor may be hidden without a trace in the targets of the others, but for its payload type.
    kinds = () if isinstance(value, model.Program) else tuple(item.payload_type for item in value.report_descriptors)
    return type(value), value.metadata.id, value.metadata.modified_at, value.targets, asked, kinds
