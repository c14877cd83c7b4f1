"""A VTN that is killed again and again while it takes events: every one that it said yes to is there, and told of."""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.lab import free_port
from tests.openadr3_vtn import HOST, ROOT, Issuer, serve

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

LIVES = 8


@asynccontextmanager
async def alive(folder: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """One life of the VTN, which ends by SIGKILL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.openadr3_process", folder, str(port), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_no_event_and_no_notification_is_lost_by_a_kill(tmp_path: Path) -> None:
    issuer = Issuer.new(tmp_path)
    port = free_port()
    vtn = f"https://{HOST}:{port}/openadr3/3.1"
    told: list[str] = []
    accepted: list[str] = []
    chance = random.Random(7)

    async def subscriber(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.Response(text=request.query["echo"])
        if chance.random() < 0.03:
            return web.Response(status=503)
        told.append((await request.json())["object"]["eventName"])
        return web.Response()

    async with (
        serve([web.route("*", "/hook", subscriber)], issuer) as hook,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=issuer.trust, force_close=True)) as session,
    ):
        async with alive(tmp_path, port):
            form = {"grant_type": "client_credentials", "client_id": "bl", "client_secret": "secret"}
            async with session.post(f"{vtn}/auth/token", data=form) as answer:
                headers = {"Authorization": f"Bearer {(await answer.json())['access_token']}"}
            async with session.post(f"{vtn}/programs", json={"programName": "p"}, headers=headers) as answer:
                program_id = (await answer.json())["id"]
            operation = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": f"{hook}/hook"}
            body = {"clientName": "c", "objectOperations": [operation]}
            async with session.post(f"{vtn}/subscriptions", json=body, headers=headers) as answer:
                assert answer.status == 201, await answer.text()
        for life in range(LIVES):
            async with alive(tmp_path, port) as process:
                asyncio.get_running_loop().call_later(chance.uniform(0.05, 0.6), process.kill)
                for number in range(10_000):
                    name = f"{life}.{number}"
                    event = {"programID": program_id, "eventName": name}
                    try:
                        async with session.post(f"{vtn}/events", json=event, headers=headers) as answer:
                            assert answer.status == 201
                            await answer.read()
                    except (aiohttp.ClientError, OSError):
                        break
                    accepted.append(name)
        async with alive(tmp_path, port):
            for _ in range(600):
                if set(accepted) <= set(told):
                    break
                await asyncio.sleep(0.1)
            held = []
            for skip in range(0, 100_000, 50):
                query = {"skip": str(skip)}
                async with session.get(f"{vtn}/events", params=query, headers=headers) as answer:
                    page = json.loads(await answer.read())
                held += [event["eventName"] for event in page]
                if len(page) < 50:
                    break

    assert len(accepted) > LIVES
    # What was not answered any more may be there or not.
    assert [name for name in held if name in set(accepted)] == accepted
    # At least once, and in order but for what came again after a kill.
    first_told = list(dict.fromkeys(told))
    assert [name for name in first_told if name in set(accepted)] == accepted
    assert set(told) <= set(held)
