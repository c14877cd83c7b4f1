"""MQTT topics: their names, what is published on them, and who may read them.

Names are those of the examples in the definition's document on notifications by additional protocols (8.2). Everything
is published on topics for business logic; what a VEN may see by what is granted to it, on topics of its own ven (9.2).
READ is not published, nor are messages retained: a client that comes reads the objects (16.2), and a message that stays
behind would outlive the right to see it.

=====================================  =====================================================
of                                     topics, each with create, update or delete at the end
=====================================  =====================================================
every kind                             programs, events, reports, subscriptions, vens, resources
a program, a ven                       programs/ID, vens/ID (no create)
the events of a program                events/programs/ID
what a ven may see                     programs/vens/ID, events/vens/ID, resources/vens/ID
=====================================  =====================================================
"""

from collections.abc import Iterable, Iterator, Mapping

from protocols.openadr3 import model, model_access
from protocols.openadr3.model import Held
from protocols.openadr3.vtn_access import READ_ALL, READ_VEN_OBJECTS, Caller, Client, Role, require, seen_by_ven
from protocols.openadr3.vtn_answers import Refused
from protocols.openadr3.vtn_notices import Sight, as_seen
from protocols.openadr3.vtn_objects import Change, VtnObjects, id_of

_PLURALS: dict[type, str] = {
    model.Program: "programs",
    model.Event: "events",
    model.Report: "reports",
    model.Subscription: "subscriptions",
    model.Ven: "vens",
    model.Resource: "resources",
}
_SEEN_BY_VENS = ("programs", "events", "resources")
_OF_ONE = (model.Program, model.Ven)


def topics_at(steps: tuple[str, ...], caller: Caller, objects: VtnObjects) -> model_access.Topics:
    """The topics at an address below /notifiers/mqtt/topics. Raises ``Refused`` (403, 404)."""
    match steps:
        case (plural,) if plural in _PLURALS.values():
            require(caller, READ_ALL)
            return _topics(plural)
        case ("programs", program_id, *below) if below in ([], ["events"]):
            require(caller, READ_ALL)
            if objects.one(model.Program, program_id) is None:
                raise Refused(404, "there is no program with this id")
            return _topics(f"events/programs/{program_id}") if below else _topics(f"programs/{program_id}", one=True)
        case ("vens", ven_id, *below) if not below or (len(below) == 1 and below[0] in _SEEN_BY_VENS):
            require(caller, READ_VEN_OBJECTS, READ_ALL)
            ven = objects.one(model.Ven, ven_id)
            if ven is None or not (caller.reads_all or ven.client_id == caller.client_id):
                raise Refused(404, "there is no ven with this id")
            return _topics(f"{below[0]}/vens/{ven_id}") if below else _topics(f"vens/{ven_id}", one=True)
    raise Refused(404, "OpenADR 3.1 has nothing at this address")


def _topics(base: str, *, one: bool = False) -> model_access.Topics:
    return model_access.Topics(
        create=None if one else f"{base}/create", update=f"{base}/update", delete=f"{base}/delete", all=f"{base}/+"
    )


def messages_of(change: Change, clients: Mapping[str, Client], objects: VtnObjects) -> Iterator[tuple[str, bytes]]:
    """What is published of a change: topics, each with its message."""
    whole = as_seen(change, lambda value: value)
    if whole is not None:
        operation, plural = whole.operation.lower(), _PLURALS[type(whole.object)]
        yield f"{plural}/{operation}", whole.body
        if isinstance(whole.object, _OF_ONE) and operation != "create":
            yield f"{plural}/{id_of(whole.object)}/{operation}", whole.body
        if isinstance(whole.object, model.Event):
            yield f"events/programs/{whole.object.program_id}/{operation}", whole.body
        if plural in _SEEN_BY_VENS:
            for ven in objects.all(model.Ven):
                told = as_seen(change, _sight_of(ven, clients, objects))
                if told is not None:
                    yield f"{plural}/vens/{id_of(ven)}/{told.operation.lower()}", told.body


def _sight_of(ven: model.Ven, clients: Mapping[str, Client], objects: VtnObjects) -> Sight:
    client = clients.get(ven.client_id or "")

    def sight(value: Held) -> Held | None:
        if client is None or client.role is not Role.VEN:
            return None
        if isinstance(value, model.Resource) and value.ven_id != id_of(ven):
            return None
        return seen_by_ven(value, client.client_id, requested=None, granted=objects.granted(client.client_id))

    return sight


def mosquitto_acl(publisher: str, clients: Iterable[Client], vens: Iterable[model.Ven]) -> str:
    """Who may do what, in the form of Mosquitto's ``acl_file``: a VEN reads the topics of its own vens, and no others.

    Raises ``ValueError`` for a client id that would be more than a name there.
    """
    own: dict[str, list[str]] = {}
    for ven in vens:
        own.setdefault(ven.client_id or "", []).append(id_of(ven))
    lines = [f"user {_user(publisher)}", "topic write #"]
    for client in clients:
        lines += ["", f"user {_user(client.client_id)}"]
        if client.role is Role.BUSINESS_LOGIC and READ_ALL in client.granted:
            lines += ["topic read #"]
        elif client.role is Role.VEN and READ_VEN_OBJECTS in client.granted:
            for ven_id in own.get(client.client_id, ()):
                lines += [f"topic read {plural}/vens/{ven_id}/+" for plural in _SEEN_BY_VENS]
                lines += [f"topic read vens/{ven_id}/+"]
    return "\n".join(lines) + "\n"


def _user(name: str) -> str:
    if not name.isprintable() or name != name.strip() or not name:
        raise ValueError(f"{name!r} cannot be a user of Mosquitto: use printable letters")
    return name
