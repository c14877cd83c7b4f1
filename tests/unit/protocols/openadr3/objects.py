"""Objects of OpenADR 3 to begin a test with."""

from datetime import UTC, datetime, timedelta

from protocols.openadr3 import model

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HELD = model.Metadata(id="event-1", created_at=NOON - HOUR, modified_at=NOON)


def event(*payloads: model.ValuesMap, **fields: object) -> model.Event:
    """An event of an hour from noon on, unless ``fields`` say otherwise."""
    usual: dict[str, object] = {
        "program_id": "program-1",
        "period": model.IntervalPeriod(start=NOON, duration=HOUR),
        "intervals": (model.Interval(id=0, payloads=payloads),) if payloads else (),
        "metadata": HELD,
    }
    return model.Event(**{**usual, **fields})  # type: ignore[arg-type]  # what a test says


def values(payload_type: str, *found: model.Value) -> model.ValuesMap:
    return model.ValuesMap(type=payload_type, values=found)


def in_units(payload_type: str, units: str | None, currency: str | None = None) -> tuple[model.EventPayloadDescriptor]:
    return (model.EventPayloadDescriptor(payload_type=payload_type, units=units, currency=currency),)
