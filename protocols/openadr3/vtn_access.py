"""Who may do what at a VTN, and see what (Definition: Security; Object Privacy).

Scopes are the definition's. ``read_all`` is business logic's and lets every operation of reading through; what asks
for ``read_bl``, which the definition names but does not declare, asks for ``read_all`` here.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from protocols.openadr3 import model
from protocols.openadr3.model import Held
from protocols.openadr3.vtn_answers import Refused


class Role(StrEnum):
    """What a client is."""

    BUSINESS_LOGIC = "bl"
    VEN = "ven"


READ_ALL = "read_all"
READ_TARGETS = "read_targets"
READ_VEN_OBJECTS = "read_ven_objects"

SCOPES = {
    Role.BUSINESS_LOGIC: frozenset(
        {READ_ALL, "write_programs", "write_events", "write_subscriptions", "write_vens"},
    ),
    Role.VEN: frozenset({READ_TARGETS, READ_VEN_OBJECTS, "write_reports", "write_subscriptions", "write_vens"}),
}
"""What a client of a role may be given (Definition: EndPoints, OAuth2 Security Scopes)."""

READING: dict[type, str] = {
    model.Program: READ_TARGETS,
    model.Event: READ_TARGETS,
    model.Report: READ_VEN_OBJECTS,
    model.Subscription: READ_VEN_OBJECTS,
    model.Ven: READ_VEN_OBJECTS,
    model.Resource: READ_VEN_OBJECTS,
}
WRITING: dict[type, str] = {
    model.Program: "write_programs",
    model.Event: "write_events",
    model.Report: "write_reports",
    model.Subscription: "write_subscriptions",
    model.Ven: "write_vens",
    model.Resource: "write_vens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client as it is declared. ``secret_hash`` is what ``vtn_tokens.hash_secret`` makes of its secret.

    ``scopes`` are those of its role where none are named. ``webhook_key`` signs what is told to it, where there is one.
    """

    client_id: str
    secret_hash: str
    role: Role
    scopes: frozenset[str] | None = None
    webhook_key: bytes | None = None

    @property
    def granted(self) -> frozenset[str]:
        """The scopes it may ask for: never more than its role's."""
        return SCOPES[self.role] if self.scopes is None else SCOPES[self.role] & self.scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, as their token proves, with what it was given for."""

    client_id: str
    role: Role
    scopes: frozenset[str]

    @property
    def reads_all(self) -> bool:
        """Whether object privacy does not bind this caller."""
        return self.role is Role.BUSINESS_LOGIC and READ_ALL in self.scopes


def require(caller: Caller, *scopes: str) -> None:
    """Raise ``Refused`` (403) where the caller has none of the scopes."""
    if caller.scopes.isdisjoint(scopes):
        headers = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scopes[0]}"'}
        raise Refused(403, f"this needs a token with the scope {' or '.join(scopes)}", headers=headers)


def seen_by_ven(
    value: Held, client_id: str, *, requested: frozenset[str] | None, granted: frozenset[str]
) -> Held | None:
    """An object as a VEN's client may see it, ``None`` where it may not see it at all.

    Programs and events with targets are seen where one of these was both requested and granted, and only with those
    targets; anything else only by whom it belongs to. ``requested`` is ``None`` where the request has no place for
    targets (an object by its id, a topic of the VEN's own): then what is granted stands for it (User Guide 8.13).

    The targets of the reports that an event asks for are hidden in the same way, by what is granted; a report that is
    asked only of others is left out.
    """
    if not isinstance(value, model.Program | model.Event):
        return value if value.client_id == client_id else None
    allowed = granted if requested is None else granted & requested
    shown = tuple(target for target in value.targets if target in allowed)
    if value.targets and not shown:
        return None
    if isinstance(value, model.Program):
        return replace(value, targets=shown)
    return replace(value, targets=shown, report_descriptors=_asked_of(value, granted))


def _asked_of(event: model.Event, granted: frozenset[str]) -> tuple[model.ReportDescriptor, ...]:
    hidden = (
        replace(item, targets=tuple(target for target in item.targets if target in granted))
        for item in event.report_descriptors
    )
    return tuple(
        shown for shown, item in zip(hidden, event.report_descriptors, strict=True) if shown.targets or not item.targets
    )
