"""toadr3, a VEN of OpenADR 3.0.1, in an environment of its own; it reads what 3.1 says in the same words."""

import asyncio
import json
import os

import pydantic
import toadr3


async def converse() -> dict[str, object]:
    url = os.environ["VTN_URL"]
    oauth = toadr3.OAuthConfig(
        token_url=f"{url}/auth/token",
        grant_type="client_credentials",
        claims={"scope": "read_targets read_ven_objects write_reports"},
        client_id="ven",
        client_secret=os.environ["SECRET_VEN"],
    )
    async with toadr3.ToadrClient(vtn_url=url, oauth_config=oauth) as client:
        programs = await client.get_programs(limit=10)
        events = await client.get_events(program_id=programs[0].id, skip=0, limit=5)
        data = {
            "programID": programs[0].id,
            "eventID": events[0].id,
            "clientName": "toadr3",
            "resources": [
                {
                    "resourceName": "meter",
                    "intervalPeriod": {"start": "2030-01-01T00:00:00Z", "duration": "PT15M"},
                    "intervals": [{"id": 0, "payloads": [{"type": "USAGE", "values": [1.5]}]}],
                }
            ],
        }
        lacks = []
        try:
            await client.post_report(toadr3.models.Report.model_validate(data))
        except pydantic.ValidationError as fault:
            # In 3.1 a report does not say its program any more, which a client of 3.0 wants of the answer.
            lacks = [item["loc"][0] for item in fault.errors()]
        missing = await client.get_subscription("nothing-there")
        return {
            "programs": [program.program_name for program in programs],
            "events": [event.event_name for event in events],
            "values": [str(event.intervals[0].payloads[0].values[0]) for event in events],
            "answer to the report lacks": lacks,
            "missing": missing,
        }


print(json.dumps(asyncio.run(converse())))  # noqa: T201
