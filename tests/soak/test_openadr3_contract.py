"""The whole definition of OpenADR 3.1.1 against our VTN, by another program's thousands of good and bad requests."""

import asyncio
import os
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest

from tests.openadr3_vtn import SECRETS, Served, peer_python, served_vtn

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]


async def _token(served: Served, client_id: str) -> str:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRETS[client_id]}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=served.issuer.trust)) as session,
        session.post(
            f"{served.url}/auth/token",
            data=urlencode(form),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        ) as answer,
    ):
        token: str = (await answer.json())["access_token"]
        return token


# The definition gives a held ven or resource two types at once, which nothing can be (tests/openadr3_definition.py).
# What may be answered 409 or 405 it does not list everywhere (ven names, Definition: Response Codes and Errors).
@pytest.mark.parametrize("client_id", ["bl", "ven"])
@pytest.mark.parametrize(
    ("checks", "paths"),
    [
        ("not_a_server_error,content_type_conformance", "."),
        ("response_schema_conformance,status_code_conformance", "^/(programs|events|reports|subscriptions|auth)"),
    ],
)
async def test_the_vtn_answers_as_defined(
    shared: Path, tmp_path: Path, client_id: str, checks: str, paths: str
) -> None:
    python = peer_python("schemathesis")
    definition = shared / "data" / "openadr3" / "3.1.1" / "openadr3.yaml"
    async with served_vtn(tmp_path) as served:
        token = await _token(served, client_id)
        process = await asyncio.create_subprocess_exec(
            python.with_name("schemathesis"),
            "run",
            definition,
            f"--url={served.url}",
            f"--header=Authorization: Bearer {token}",
            f"--tls-verify={served.issuer.ca_file}",
            f"--checks={checks}",
            f"--include-path-regex={paths}",
            "--max-examples=20",
            "--seed=1",
            "--phases=coverage,fuzzing",
            "--no-color",
            "--generation-database=:memory:",
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        failures = out.decode().partition(" FAILURES ")[2].partition(" WARNINGS ")[0]
        assert process.returncode == 0, failures or out.decode()[-4000:]
