"""The messages of a connection, as a page, as JSON, and one of them whole."""

import html
from datetime import timedelta
from hashlib import sha256
from typing import Any

from gateway.domain.opting import OptCommand, OptKind
from gateway.storage.party_store import SqlPartyStore
from protocols.grid import Opt, OptSchedule
from protocols.openadr2b import model
from protocols.openadr2b.codec import encode
from protocols.party_store import Direction, RawMessage

Stage = Any
"""Of this folder's conftest; its type cannot be imported from there."""


async def heard(stage: Stage, body: bytes, name: str, age_s: float = 0.0, took_s: float | None = None) -> str:
    digest = sha256(body).hexdigest()
    await SqlPartyStore(stage.ledger).record_message(
        RawMessage(
            connection_id="utility",
            direction=Direction.IN,
            at=stage.at - timedelta(seconds=age_s),
            name=name,
            body=body,
            sha256=digest,
            took_s=took_s,
        )
    )
    return digest


def response(code: str, description: str) -> bytes:
    return encode(
        model.Response(response=model.EiResponse(code=code, description=description, request_id="1"), ven_id="v")
    )


async def test_the_page_lists_them_newest_first_and_says_what_is_not_well(stage: Stage) -> None:
    await heard(stage, response("200", "OK"), "oadrResponse", age_s=60.0, took_s=0.0423)
    digest = await heard(stage, response("452", "<b>not yours</b>"), "oadrResponse")
    answer = await stage.get("/messages")
    text = await answer.text()
    assert answer.status == 200
    assert text.index("452") < text.index("200 OK")
    assert "<strong>Not well: </strong>452 &lt;b&gt;not yours" in text
    assert "42 ms" in text
    assert f'href="/messages/{digest}"' in text


async def test_a_connection_without_messages_says_so_and_each_can_be_chosen(stage: Stage) -> None:
    text = await (await stage.get("/messages?connection=below")).text()
    assert "Nothing is on record over this connection yet" in text
    assert 'href="/messages?connection=below" aria-current="page"' in text
    assert 'href="/messages?connection=utility"' in text


async def test_the_same_as_json(stage: Stage) -> None:
    await heard(stage, response("452", "not yours"), "oadrResponse")
    (line,) = await (await stage.get("/api/messages?connection=utility&last=5")).json()
    assert (line["verdict"], line["well"], line["name"]) == ("452 not yours", False, "oadrResponse")
    for query in ("connection=utility&last=0", "connection=utility&last=501", "connection=nobody", "last=x"):
        answer = await stage.get(f"/api/messages?{query}")
        assert answer.status == 400
        assert (await answer.json())["error"]


async def test_one_message_is_shown_as_text_without_its_secrets(stage: Stage) -> None:
    digest = await heard(stage, b'{"client_secret": "s3cr3t", "note": "<script>"}', "")
    answer = await stage.get(f"/messages/{digest}")
    assert (answer.status, answer.content_type) == (200, "text/plain")
    assert await answer.text() == '{"client_secret": "***", "note": "<script>"}'
    assert (await stage.get("/messages/" + "0" * 64)).status == 404
    assert "s3cr3t" not in html.unescape(await (await stage.get("/messages")).text())


async def test_the_schedules_of_a_connection_stand_over_its_messages_escaped(stage: Stage) -> None:
    assert "When we take part" not in await (await stage.get("/messages?connection=utility")).text()
    schedule = OptSchedule(
        opt_id="o1",
        connection_id="utility",
        opt=Opt.OUT,
        created_at=stage.at,
        periods=((stage.at, 5400.0),),
        program_id="<peak>",
    )
    await stage.ledger.record_opt(
        OptCommand(command_id="o1", at=stage.at, by="ann", kind=OptKind.CREATE, schedule=schedule)
    )
    text = await (await stage.get("/messages?connection=utility")).text()
    assert f"{stage.at:%Y-%m-%d %H:%M:%S} for 90 min" in text
    assert "&lt;peak&gt;" in text
    assert "not acted on yet" in text
    assert "When we take part" not in await (await stage.get("/messages?connection=below")).text()
