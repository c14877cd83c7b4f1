"""What went over a connection, a line a message: when, which way, what it says, what came of it, how long it took."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from protocols.party_store import Direction, RawMessage

Describe = Callable[[bytes], Mapping[str, Any]]
"""A message in neutral form; raises for one that cannot be read."""

_SECRETS = (
    rb"client_secret|access_token|refresh_token|id_token|token|password|passwd|secret|bearerToken|authorization"
    rb"|api_?key"
)
_MASKED = b"***"
_IN_JSON = re.compile(rb'("(?:' + _SECRETS + rb')"\s*:\s*")(?:[^"\\]|\\.)*(")', re.IGNORECASE)
_IN_XML = re.compile(rb"(<(?:\w+:)?(?:" + _SECRETS + rb")(?:\s[^>]*)?>)[^<]*(</)", re.IGNORECASE)
_IN_FORM = re.compile(rb"(\b(?:" + _SECRETS + rb")=)[^&\s\"<]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedMessage:
    """One message. ``verdict`` says in plain words what it brings or answers.

    ``well`` is false for an error, or what could not be read. ``took_s`` of an answer is how long it took.
    """

    at: datetime
    direction: Direction
    name: str
    size_bytes: int
    verdict: str
    well: bool
    took_s: float | None
    sha256: str


def trace(messages: Sequence[RawMessage], describe: Describe) -> tuple[TracedMessage, ...]:
    """The messages as lines, in their order."""
    return tuple(_traced(message, describe) for message in messages)


def masked(body: bytes) -> bytes:
    """A body as it may be shown: values of what is named as a secret are taken out, in JSON, XML and forms alike."""
    body = _IN_JSON.sub(rb"\1" + _MASKED + rb"\2", body)
    body = _IN_XML.sub(rb"\1" + _MASKED + rb"\2", body)
    return _IN_FORM.sub(rb"\1" + _MASKED, body)


def _traced(message: RawMessage, describe: Describe) -> TracedMessage:
    try:
        found = describe(message.body)
    except Exception as fault:  # noqa: BLE001 - whatever is on record is to be listed
        name, verdict, well = message.name or "?", f"cannot be read: {fault}", False
    else:
        name = message.name or str(found.get("message", "?"))
        verdict, well = _verdict(found)
    return TracedMessage(
        at=message.at,
        direction=message.direction,
        name=name,
        size_bytes=len(message.body),
        verdict=verdict,
        well=well,
        took_s=message.took_s,
        sha256=message.sha256,
    )


def _verdict(found: Mapping[str, Any]) -> tuple[str, bool]:
    """What a message brings or answers, and whether that is well."""
    said: list[str] = []
    well = True
    content = found.get("content")
    content = content if isinstance(content, Mapping) else {}
    response = content.get("response")
    if isinstance(response, Mapping):
        code = str(response.get("code", ""))
        well = code.startswith("2")
        said.append(" ".join(part for part in (code, str(response.get("description") or "")) if part))
    elif "status" in content and ("title" in content or "detail" in content):
        # A problem of OpenADR 3 (RFC 9457).
        status = content["status"]
        well = isinstance(status, int) and status < 400
        said.append(f"{status} {content.get('title') or ''}: {content.get('detail') or ''}".strip(" :"))
    said += _answers(content.get("event_responses"))
    said += _reports(content)
    said += [f"{event.event_id} revision {event.revision} {event.status.value}" for event in found.get("events", ())]
    for fault in found.get("faults", ()):
        said.append(f"{fault.event_id} contradicts itself: {fault.detail}")
        well = False
    return "; ".join(said), well


def _answers(responses: object) -> list[str]:
    """The answers to events that an oadrCreatedEvent brings."""
    if not isinstance(responses, list):
        return []
    return [
        f"{one['event']['event_id']} {one['opt']}"
        + ("" if str(one["code"]).startswith("2") else f" ({one['code']} {one.get('description') or ''})".rstrip())
        for one in responses
    ]


def _reports(content: Mapping[str, Any]) -> list[str]:
    """What a message brings: the reports of 2.0b (data or offers), the resources of a report of OpenADR 3."""
    reports = [(one.get("report_request_id"), one) for one in _tables(content, "reports")]
    resources = [(one.get("name"), one) for one in _tables(content, "resources")]
    return [
        _counted(offers, "data point on offer", "data points on offer")
        if (offers := one.get("descriptions"))
        else f"{name}: {_counted(one['intervals'], 'interval', 'intervals')}"
        for name, one in (*reports, *resources)
        if "intervals" in one
    ]


def _tables(content: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = content.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _counted(found: Sequence[object], one: str, more: str) -> str:
    return f"{len(found)} {one if len(found) == 1 else more}"
