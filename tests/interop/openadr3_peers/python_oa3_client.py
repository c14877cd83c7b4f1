"""python-oa3-client as business logic and as a VEN, in an environment of its own."""

import json
import os

from openadr3_client.bl import BlClient
from openadr3_client.ven import VenClient

url = os.environ["VTN_URL"]
with (
    BlClient(url=url, client_id="bl", client_secret=os.environ["SECRET_BL"]) as bl,
    VenClient(url=url, client_id="ven", client_secret=os.environ["SECRET_VEN"]) as ven,
):
    program = bl.create_program({"programName": "peak"}).json()
    ven.register("phx")
    again = ven.register("phx")
    event = bl.create_event(
        {
            "programID": program["id"],
            "eventName": "price",
            "intervalPeriod": {"start": "2030-01-01T00:00:00Z", "duration": "PT1H"},
            "intervals": [{"id": 0, "payloads": [{"type": "PRICE", "values": [0.17]}]}],
        }
    ).json()
    forbidden = ven.create_event(event)
    polled = ven.poll_events("peak")
    report = ven.create_report(
        {
            "eventID": event["id"],
            "clientName": "phx",
            "resources": [
                {
                    "resourceName": "meter",
                    "intervals": [
                        {
                            "id": 0,
                            "intervalPeriod": {"start": "2030-01-01T00:00:00Z", "duration": "PT1H"},
                            "payloads": [{"type": "USAGE", "values": [3]}],
                        }
                    ],
                }
            ],
        }
    )
    print(  # noqa: T201
        json.dumps(
            {
                "programs": [item.program_name for item in ven.programs()],
                "found": ven.find_program_by_name("peak").id == program["id"],
                "polled": [item.event_name for item in polled],
                "vens": [item.ven_name for item in bl.vens()],
                "same": again.ven_id == ven.ven_id,
                "forbidden": forbidden.status_code,
                "report": report.status_code,
                "reports": [item.event_id == event["id"] for item in bl.reports()],
                "notifiers": ven.discover_notifiers(),
                "mqtt": ven.vtn_supports_mqtt(),
            }
        )
    )
