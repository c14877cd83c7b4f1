"""The messages of OpenADR 2.0b as data, in the protocol's own terms: units, scales and signs are the sender's.

Names follow the schema without its prefixes; wrappers that hold a single value are left out. Optional things are
``None`` (or empty) where absent. Instants are aware, UTC. Enumerations are the schema's own words.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class EiResponse:
    """How an earlier message was taken: ``code`` is three digits, 2xx for well."""

    code: str
    request_id: str
    description: str | None = None

    @property
    def well(self) -> bool:
        """Whether the code says success."""
        return self.code.startswith("2")


@dataclass(frozen=True, slots=True, kw_only=True)
class QualifiedEvent:
    """One revision of one event."""

    event_id: str
    modification_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerAttributes:
    """The nominal supply that a power is measured at."""

    hertz: Decimal
    voltage: Decimal
    ac: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemBase:
    """A unit: ``kind`` is the element's name (``powerReal``), ``scale`` the SI scale code (``k``, ``none``).

    ``power`` belongs to the kinds of power only, ``pulse_factor`` (kWh a count) to ``pulseCount``, which has no scale.
    """

    kind: str
    description: str
    units: str
    scale: str | None = None
    power: PowerAttributes | None = None
    pulse_factor: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportInterface:
    """The two edges of a transport segment."""

    point_of_receipt: str
    point_of_delivery: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What something is for (eiTarget). Areas are polygons, as the flat list of their coordinates."""

    aggregated_pnodes: tuple[str, ...] = ()
    end_device_assets: tuple[str, ...] = ()
    meter_assets: tuple[str, ...] = ()
    pnodes: tuple[str, ...] = ()
    service_areas: tuple[tuple[float, ...], ...] = ()
    service_delivery_points: tuple[str, ...] = ()
    service_locations: tuple[tuple[float, ...], ...] = ()
    transport_interfaces: tuple[TransportInterface, ...] = ()
    group_ids: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    resource_ids: tuple[str, ...] = ()
    ven_ids: tuple[str, ...] = ()
    party_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """When: of an event, a report or an availability. A ``duration`` of zero is open ended (rule 47)."""

    starts_at: datetime
    duration: timedelta
    start_after: timedelta | None = None
    notification: timedelta | None = None
    ramp_up: timedelta | None = None
    recovery: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalInterval:
    """One value of a signal or a baseline."""

    value: float
    starts_at: datetime | None = None
    duration: timedelta | None = None
    uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSignal:
    """One signal of an event; ``targets`` names device classes."""

    name: str
    type: str
    signal_id: str
    intervals: tuple[SignalInterval, ...]
    targets: Targets | None = None
    unit: ItemBase | None = None
    current_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBaseline:
    """What the sender holds our load would be."""

    baseline_id: str
    name: str
    starts_at: datetime
    duration: timedelta
    intervals: tuple[SignalInterval, ...]
    resource_ids: tuple[str, ...] = ()
    unit: ItemBase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSet:
    """What an event says over time."""

    signals: tuple[EventSignal, ...]
    baseline: EventBaseline | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDescriptor:
    """Who an event is. ``priority`` 0 is none and 1 the highest; ``test_event`` other than "false" is a test."""

    event_id: str
    modification_number: int
    market_context: str
    created_at: datetime
    status: str
    modified_at: datetime | None = None
    modification_reason: str | None = None
    priority: int | None = None
    test_event: str | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EiEvent:
    """One revision of one event."""

    descriptor: EventDescriptor
    period: Period
    signal_set: SignalSet
    targets: Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedEvent:
    """An event in an oadrDistributeEvent; ``response_required`` is ``always`` or ``never``."""

    event: EiEvent
    response_required: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventResponse:
    """Our answer to one event: ``opt`` is ``optIn`` or ``optOut``, ``request_id`` that of the oadrDistributeEvent."""

    code: str
    request_id: str
    event: QualifiedEvent
    opt: str
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEvent:
    """VEN to VTN: tell us every event you have for us."""

    request_id: str
    ven_id: str
    reply_limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributeEvent:
    """VTN to VEN: every event there is for it."""

    request_id: str
    vtn_id: str
    events: tuple[OfferedEvent, ...] = ()
    response: EiResponse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedEvent:
    """VEN to VTN: we opt in, or out."""

    response: EiResponse
    ven_id: str
    event_responses: tuple[EventResponse, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The general answer."""

    response: EiResponse
    ven_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """VEN to VTN: give us what there is for us, a message at a time."""

    ven_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRegistration:
    """VEN to VTN: say how one can register."""

    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePartyRegistration:
    """VEN to VTN: register us."""

    request_id: str
    profile: str
    transport: str
    report_only: bool
    xml_signature: bool
    registration_id: str | None = None
    ven_id: str | None = None
    transport_address: str | None = None
    ven_name: str | None = None
    http_pull_model: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A version of the protocol and the transports it is spoken over."""

    name: str
    transports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """A key and its value."""

    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedInfo:
    """What is said of one service or extension."""

    name: str
    infos: tuple[Info, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedPartyRegistration:
    """VTN to VEN: what we speak, and, once registered, under which ids."""

    response: EiResponse
    vtn_id: str
    profiles: tuple[Profile, ...]
    registration_id: str | None = None
    ven_id: str | None = None
    poll_every: timedelta | None = None
    services: tuple[NamedInfo, ...] = ()
    extensions: tuple[NamedInfo, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelPartyRegistration:
    """Either way: the registration ends."""

    request_id: str
    registration_id: str
    ven_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CanceledPartyRegistration:
    """The answer to it."""

    response: EiResponse
    registration_id: str | None = None
    ven_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReregistration:
    """VTN to VEN: register anew."""

    ven_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOpt:
    """VEN to VTN: we opt in or out of one event, or for some time to come."""

    opt_id: str
    opt: str
    reason: str
    ven_id: str
    created_at: datetime
    request_id: str
    targets: Targets
    market_context: str | None = None
    availability: tuple[Period, ...] = ()
    event: QualifiedEvent | None = None
    device_class: Targets | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedOpt:
    """The answer to it."""

    response: EiResponse
    opt_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOpt:
    """VEN to VTN: that opt no longer holds."""

    request_id: str
    opt_id: str
    ven_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CanceledOpt:
    """The answer to it."""

    response: EiResponse
    opt_id: str | None = None
