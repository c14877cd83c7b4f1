"""Runs in greenbutton-objects' own environment: a feed in, what it makes of it out."""

import json
import sys

from greenbutton_objects.parse import parse_feed


def told(path: str) -> list[dict[str, object]]:
    return [
        {
            "title": point.title,
            "service": point.serviceCategory.name,
            "meters": [
                {
                    "title": meter.title,
                    "flow": meter.readingType.flowDirection.name,
                    "unit": meter.readingType.uom.name,
                    "accumulation": meter.readingType.accumulationBehaviour.name,
                    "qualifier": meter.readingType.dataQualifier.name,
                    "kind": meter.readingType.kind.name,
                    "length_s": meter.readingType.intervalLength,
                    "blocks": len(meter.intervalBlocks),
                    "readings": [
                        (
                            reading.timePeriod.start.isoformat(),
                            reading.timePeriod.duration.total_seconds(),
                            reading.value,
                            [quality.quality.name for quality in reading.readingQualities],
                        )
                        for reading in meter.intervalReadings
                    ],
                }
                for meter in sorted(point.meterReadings, key=lambda meter: meter.title)
            ],
        }
        for point in parse_feed(path)
    ]


print(json.dumps(told(sys.argv[1])))  # noqa: T201 - what it says is read by the test
