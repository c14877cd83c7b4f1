"""``gridgate decode``: any message of a supported dialect in neutral form."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.output import BAD_USAGE, as_json, fail, read_input, show
from protocols.errors import ProtocolError


def decode(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A whole payload, a bare message or a fragment.")],
    *,
    json_wanted: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a message means: its events and prices in watts, fractions and instants in UTC."""
    from gateway.app import decode_message

    body = read_input(file, json_wanted=json_wanted)
    try:
        found = decode_message(body)
    except ProtocolError as cause:
        fail(f"{file}: {cause}", code=BAD_USAGE, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: _text(as_json(found)))


def _text(found: Mapping[str, Any]) -> str:
    signed = ", signed (not verified)" if found.get("signed") else ""
    lines = [f"{found['message']} ({found['protocol']} {found['version']}{signed})"]
    for event in found["events"]:
        lines += _event_lines(event)
    for fault in found.get("faults", ()):
        lines.append(f"event {fault['event_id']} revision {fault['revision']} contradicts itself: {fault['detail']}")
    if not found["events"] and not found.get("faults"):
        lines += _content_lines(found.get("content"), "  ")
    return "\n".join(lines)


def _event_lines(event: Mapping[str, Any]) -> list[str]:
    length = "open ended" if event["duration_s"] is None else f"{event['duration_s']:g} s"
    marks = [event["status"]]
    marks += ["test"] if event["test"] else []
    marks += [] if event["rank"] is None else [f"rank {event['rank']}"]
    marks += [] if event["response_required"] else ["no answer wanted"]
    lines = [
        f"event {event['event_id']} revision {event['revision']} of {event['program_id']}: {', '.join(marks)}",
        f"  from {event['starts_at']}, {length}",
    ]
    for signal in event["signals"]:
        currency = f" {signal['currency']}" if signal["currency"] else ""
        lines.append(f"  {signal['name']} {signal['dialect_kind']}: {signal['kind']}{currency}")
        for interval in signal["intervals"]:
            duration = "open ended" if interval["duration_s"] is None else f"{interval['duration_s']:g} s"
            lines.append(f"    {interval['starts_at']}  {duration:>10}  {interval['value']:g}")
    return lines


def _content_lines(content: Any, indent: str) -> list[str]:
    """What a message without events says, one thing a line; what is absent is left out."""
    if isinstance(content, Mapping):
        lines: list[str] = []
        for name, value in content.items():
            if isinstance(value, Mapping | list):
                below = _content_lines(value, indent + "  ")
                lines += [f"{indent}{name}:", *below] if below else []
            elif value is not None:
                lines.append(f"{indent}{name}: {value}")
        return lines
    if isinstance(content, list):
        return [line for item in content for line in _content_lines(item, indent)]
    return [] if content is None else [f"{indent}{content}"]
