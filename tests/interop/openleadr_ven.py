"""A real openleadr VEN as a process of its own, told what to do over standard input, one JSON object a line.

It says what happened to it over standard output in the same way.
"""

import argparse
import asyncio
import json
import logging
import sys
from datetime import timedelta
from typing import Any

from openleadr import OpenADRClient

POWER_W = 1234.5


def say(what: str, **facts: Any) -> None:
    sys.stdout.write(json.dumps({"what": what, **facts}, default=str) + "\n")
    sys.stdout.flush()


class Site:
    def __init__(self, arguments: argparse.Namespace) -> None:
        tls = {}
        if arguments.tls:
            tls = {
                "cert": f"{arguments.tls}/ven.crt",
                "key": f"{arguments.tls}/ven.key",
                "ca_file": f"{arguments.tls}/ca.crt",
                "vtn_fingerprint": arguments.vtn_fingerprint,
                "show_fingerprint": False,
            }
        self.client = OpenADRClient(ven_name=arguments.name, vtn_url=arguments.url, allow_jitter=False, **tls)
        self.client.add_report(
            callback=self.power,
            resource_id="hall-1",
            measurement="RealPower",
            unit="W",
            scale="none",
            sampling_rate=timedelta(seconds=1),
        )
        self.client.add_handler("on_event", self.on_event)
        self.client.add_handler("on_update_event", self.on_update)

    async def power(self) -> float:
        return POWER_W

    async def on_event(self, event: dict[str, Any]) -> str:
        return self.told("event", event)

    async def on_update(self, event: dict[str, Any]) -> str:
        return self.told("update", event)

    def told(self, what: str, event: dict[str, Any]) -> str:
        descriptor = event["event_descriptor"]
        say(
            what,
            event_id=descriptor["event_id"],
            revision=descriptor["modification_number"],
            status=descriptor["event_status"],
            signal=event["event_signals"][0]["signal_name"],
        )
        return "optOut" if descriptor["event_id"].startswith("refuse") else "optIn"

    async def obey(self, order: dict[str, Any]) -> None:
        do = order.pop("do")
        if do == "create_opt":
            opt_id = await self.client.create_opt(targets=[{"ven_id": self.client.ven_id}], **order)
            say("opt created", opt_id=opt_id)
        elif do == "leave":
            await self.client.cancel_party_registration()
            say("left", registration_id=self.client.registration_id)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--tls")
    parser.add_argument("--vtn-fingerprint")
    arguments = parser.parse_args()
    logging.getLogger("openleadr").setLevel(logging.WARNING)
    site = Site(arguments)
    await site.client.run()
    say("ready", ven_id=site.client.ven_id, registration_id=site.client.registration_id)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        await site.obey(json.loads(line))


asyncio.run(main())
