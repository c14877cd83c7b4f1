"""The objects of OpenADR 3 as data, in the protocol's own terms: units, signs and words are the sender's.

Names follow the definition. Optional things are ``None`` (or empty) where absent. Instants are aware, UTC; a start may
be ``values.NOW``, a duration ``values.FOREVER``. Terms are 3.1's; what only 3.0 has says so.

``metadata`` is what a VTN adds to what it holds. Without it an object is what a client sends (the definition's
``programRequest``, ``eventRequest`` and so on).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Under which id a VTN holds an object, and since when. 3.0 may leave the instants out."""

    id: str
    created_at: datetime | None = None
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of a curve; what the axes are is the payload type's matter."""

    x: float
    y: float


Value = float | int | str | bool | Point


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesMap:
    """Values under a type: a payload, an attribute, or (in 3.0) a target."""

    type: str
    values: tuple[Value, ...]


Targets = tuple[str | ValuesMap, ...]
"""Plain words in 3.1, typed values in 3.0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalPeriod:
    """When: of an interval, or by default of all intervals."""

    start: datetime | None = None
    duration: timedelta | None = None
    randomize_start: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Payloads over a time. ``id`` is what a report names it by, and no number in a sequence."""

    id: int
    payloads: tuple[ValuesMap, ...]
    period: IntervalPeriod | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPayloadDescriptor:
    """What the numbers of one payload type in an event are numbers of."""

    payload_type: str
    units: str | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPayloadDescriptor:
    """What the numbers of one payload type in a report are numbers of; ``confidence`` is in percent."""

    payload_type: str
    reading_type: str | None = None
    units: str | None = None
    accuracy: float | None = None
    confidence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDescriptor:
    """A report that an event asks for. Counts of intervals; -1 is all of them, or without end (``repeat``).

    ``report_intervals``: the event's own (INTERVALS), parts of them (SUB_INTERVALS) or any (OPEN_INTERVALS); 3.1 only.
    """

    payload_type: str
    reading_type: str | None = None
    units: str | None = None
    targets: Targets = ()
    aggregate: bool = False
    start_interval: int = -1
    num_intervals: int = -1
    historical: bool = True
    frequency: int = -1
    repeat: int = 1
    report_intervals: str = "INTERVALS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A programme of a utility. The fields from ``long_name`` on are 3.0's; 3.1 has ``attributes`` for them."""

    name: str
    period: IntervalPeriod | None = None
    descriptions: tuple[str, ...] = ()
    payload_descriptors: tuple[EventPayloadDescriptor | ReportPayloadDescriptor, ...] = ()
    attributes: tuple[ValuesMap, ...] = ()
    targets: Targets = ()
    metadata: Metadata | None = None
    long_name: str | None = None
    retailer_name: str | None = None
    retailer_long_name: str | None = None
    program_type: str | None = None
    country: str | None = None
    principal_subdivision: str | None = None
    time_zone_offset: timedelta | None = None
    binding_events: bool | None = None
    local_price: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a utility asks or tells. ``duration`` cuts the intervals short, or repeats them (3.1 only).

    A lower ``priority`` is more important. Without intervals it only asks for reports.
    """

    program_id: str
    name: str | None = None
    duration: timedelta | None = None
    priority: int | None = None
    targets: Targets = ()
    report_descriptors: tuple[ReportDescriptor, ...] = ()
    payload_descriptors: tuple[EventPayloadDescriptor, ...] = ()
    period: IntervalPeriod | None = None
    intervals: tuple[Interval, ...] = ()
    metadata: Metadata | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResource:
    """The data of one resource in a report; ``period`` is the default of its intervals."""

    name: str
    intervals: tuple[Interval, ...]
    period: IntervalPeriod | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Data that a VEN sends on an event. ``program_id`` is 3.0's, ``client_id`` what a VTN of 3.1 adds."""

    event_id: str
    client_name: str
    resources: tuple[ReportResource, ...]
    name: str | None = None
    payload_descriptors: tuple[ReportPayloadDescriptor, ...] = ()
    metadata: Metadata | None = None
    program_id: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectOperation:
    """Which operations (READ, CREATE, UPDATE, DELETE) on which types of objects are told to whom."""

    objects: tuple[str, ...]
    operations: tuple[str, ...]
    callback_url: str
    bearer_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Whom a VTN tells of what. ``client_id`` is what a VTN of 3.1 adds."""

    client_name: str
    object_operations: tuple[ObjectOperation, ...]
    program_id: str | None = None
    targets: Targets = ()
    metadata: Metadata | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Something that a VEN controls. Business logic names its ``client_id``, a VEN that makes its own does not."""

    name: str
    ven_id: str | None = None
    client_id: str | None = None
    targets: Targets = ()
    attributes: tuple[ValuesMap, ...] = ()
    metadata: Metadata | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ven:
    """A client with the role of a VEN; as for ``Resource``. ``resources`` is 3.0's."""

    name: str
    client_id: str | None = None
    targets: Targets = ()
    attributes: tuple[ValuesMap, ...] = ()
    metadata: Metadata | None = None
    resources: tuple[Resource, ...] = ()


Held = Program | Event | Report | Subscription | Ven | Resource
"""What a VTN holds under an id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """That something was done to an object. ``operation`` is READ, CREATE, UPDATE or DELETE, in both versions."""

    operation: str
    object: Held
    targets: Targets = ()
