"""Tokens for client credentials (RFC 6749, 4.4)."""

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from protocols.object_store import Asked
from protocols.openadr3.vtn_answers import Answer, Request
from protocols.openadr3.vtn_tokens import MOST_FAILURES, MOST_TOKENS, hash_secret

RIGHT = {"grant_type": "client_credentials", "client_id": "ven-a", "client_secret": "a long secret"}


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


async def fetch(lab: Any, form: dict[str, str] | bytes, *, peer: str = "192.0.2.7", **more: Any) -> Answer:
    body = form if isinstance(form, bytes) else urlencode(form).encode()
    answer: Answer = await lab.vtn.respond(Request(method="POST", path="/auth/token", body=body, peer=peer, **more))
    return answer


async def status_of(lab: Any, token: str) -> int:
    answer = await lab.vtn.respond(Request(method="GET", path="/programs", authorization=f"Bearer {token}"))
    return int(answer.status)


async def test_a_token_opens_what_it_says_and_is_not_kept_by_anybody(lab: Any) -> None:
    answer = await fetch(lab, RIGHT, content_type="application/x-www-form-urlencoded; charset=utf-8")
    said = json.loads(answer.body)
    lab.definition.check("clientCredentialResponse", said)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert said["expires_in"] == 3600
    assert said["scope"] == "read_targets read_ven_objects write_reports write_subscriptions write_vens"
    assert await status_of(lab, said["access_token"]) == 200


@pytest.mark.parametrize("secret", ["a+long%20secret", "a long secret"])
@pytest.mark.parametrize("form", [{}, {"client_id": "ven-a"}])
async def test_credentials_may_come_by_http_basic(lab: Any, form: dict[str, str], secret: str) -> None:
    header = basic("ven-a", secret)
    answer = await fetch(lab, {"grant_type": "client_credentials", **form}, authorization=header)
    assert answer.status == 200


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("read_targets", "read_targets"),
        ("read_all read_targets", "read_targets"),
        ("", "read_targets read_ven_objects write_reports write_subscriptions write_vens"),
    ],
)
async def test_a_client_gets_of_the_scopes_it_asks_for_what_it_may_have(lab: Any, asked: str, given: str) -> None:
    answer = await fetch(lab, {**RIGHT, "scope": asked})
    assert json.loads(answer.body)["scope"] == given


async def test_a_token_of_fewer_scopes_opens_less(lab: Any) -> None:
    token = json.loads((await fetch(lab, {**RIGHT, "scope": "read_ven_objects"})).body)["access_token"]
    assert await status_of(lab, token) == 403


@pytest.mark.parametrize(
    ("form", "more", "status", "error"),
    [
        ({**RIGHT, "client_secret": "wrong"}, {}, 401, "invalid_client"),
        ({**RIGHT, "client_id": "nobody"}, {}, 401, "invalid_client"),
        ({**RIGHT, "grant_type": "password"}, {}, 400, "unsupported_grant_type"),
        ({"client_id": "ven-a"}, {}, 400, "invalid_request"),
        ({"grant_type": "client_credentials"}, {}, 400, "invalid_request"),
        ({**RIGHT, "scope": "read_all"}, {}, 400, "invalid_scope"),
        ({**RIGHT, "client_secret": "x" * 5000}, {}, 400, "invalid_request"),
        (b"\xff=1", {}, 400, "invalid_request"),
        (b"a=%ff", {}, 400, "invalid_request"),
        (b"client_id=a&client_id=b&grant_type=client_credentials", {}, 400, "invalid_request"),
        (b"&".join([b"a=1"] * 100), {}, 400, "invalid_request"),
        (b"{}", {"content_type": "application/json"}, 400, "invalid_request"),
        (RIGHT, {"authorization": basic("ven-a", "a long secret")}, 400, "invalid_request"),
        ({**RIGHT, "client_secret": ""}, {"authorization": basic("ven-b", "x")}, 400, "invalid_request"),
        ({"grant_type": "client_credentials"}, {"authorization": "Basic %%%"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials"}, {"authorization": "Bearer abc"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials"}, {"authorization": basic("ven-a", "%ff")}, 401, "invalid_client"),
    ],
)
async def test_what_is_wrong_is_said_in_the_words_of_the_rfc(
    lab: Any, form: Any, more: dict[str, Any], status: int, error: str
) -> None:
    answer = await fetch(lab, form, **more)
    said = json.loads(answer.body)
    assert (answer.status, said["error"]) == (status, error)
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    lab.definition.check("authError", said)
    lab.definition.check("problem", said)


async def test_a_token_ends_with_its_time_and_outlives_a_restart(lab: Any) -> None:
    token = await lab.token("ven-a")
    lab.later(seconds=3599)
    lab.start()
    assert await status_of(lab, token) == 200
    lab.later(seconds=1)
    assert await status_of(lab, token) == 401


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer abc", "Bearer \udcff", "abc"])
async def test_anything_else_is_no_token(lab: Any, header: str | None) -> None:
    answer = await lab.vtn.respond(Request(method="GET", path="/programs", authorization=header))
    assert answer.status == 401


async def test_the_record_opens_nothing(lab: Any) -> None:
    token = await lab.token("ven-a")
    (stored,) = await lab.vtn._tokens._store.objects("program", Asked(kind="TOKEN"))
    assert token not in str([getattr(stored, name) for name in stored.__slots__])
    assert await status_of(lab, stored.object_id) == 401


async def test_a_client_has_only_so_many_tokens(lab: Any) -> None:
    first = await lab.token("ven-a")
    for _ in range(MOST_TOKENS):
        lab.later(milliseconds=1)
        last = json.loads((await fetch(lab, RIGHT)).body)["access_token"]
    assert await status_of(lab, first) == 401
    assert await status_of(lab, last) == 200
    lab.later(hours=2)
    await fetch(lab, RIGHT)
    assert len(await lab.vtn._tokens._store.objects("program", Asked(kind="TOKEN"))) == 1


async def test_who_guesses_has_to_wait_and_keeps_nobody_else_out(lab: Any) -> None:
    wrong = {**RIGHT, "client_secret": "guess"}
    for _ in range(MOST_FAILURES):
        assert (await fetch(lab, wrong)).status == 401
    answer = await fetch(lab, RIGHT)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "60")
    assert (await fetch(lab, RIGHT, peer="192.0.2.8")).status == 200
    assert (await fetch(lab, {**RIGHT, "client_id": "ven-b"})).status == 200
    lab.later(minutes=1)
    assert (await fetch(lab, RIGHT)).status == 200


def test_a_secret_is_hashed_with_a_salt() -> None:
    assert hash_secret("s", cost=2) != hash_secret("s", cost=2)
    assert "s3cret" not in hash_secret("s3cret", cost=2)
