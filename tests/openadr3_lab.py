"""An OpenADR 3 VTN over a real database, and clients that speak to it by plain calls."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from gateway.storage.object_store import SqlObjectStore
from gateway.storage.party_store import SqlPartyStore
from gateway.storage.sql_ledger import SqlLedger
from protocols.errors import Unreachable
from protocols.openadr3.vtn import Vtn
from protocols.openadr3.vtn_access import Client, Role
from protocols.openadr3.vtn_answers import Answer, Request
from protocols.openadr3.vtn_tokens import hash_secret
from protocols.openadr3.vtn_webhook import CallbackRefused, Callbacks
from tests.openadr3_definition import Definition

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
SECRET = "a long secret"
HASHED = hash_secret(SECRET, cost=2)


class Subscribers(Callbacks):
    """What was told to whom; ``away`` takes nothing, and ``strange`` echoes nothing."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.ids: list[str] = []
        self.tokens: list[str | None] = []
        self.proven: list[str] = []
        self.away: set[str] = set()

    async def prove(self, url: str) -> None:
        if "strange" in url:
            raise CallbackRefused("does not echo")
        self.proven.append(url)

    async def tell(self, url: str, body: bytes, *, notice_id: str, bearer_token: str | None, key: bytes | None) -> None:
        if url in self.away:
            raise Unreachable("away")
        self.told.append((url, json.loads(body)))
        self.ids.append(notice_id)
        self.tokens.append(bearer_token)

    @property
    def short(self) -> list[tuple[str, str, str]]:
        """URL's last step, operation and type of each notification."""
        return [(url.rpartition("/")[2], said["operation"], said["objectType"]) for url, said in self.told]


@dataclass
class Lab:
    """A VTN, its clock, its subscribers and its clients: bl, ven-a, ven-b."""

    ledger: SqlLedger
    definition: Definition
    now: datetime = NOON
    subscribers: Subscribers = field(default_factory=Subscribers)
    tokens: dict[str, str] = field(default_factory=dict)
    count: int = 0
    connection_id: str = "program"
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.vtn = self.start()

    def start(self) -> Vtn:
        """A new life of the VTN, over the same database."""
        self.vtn = Vtn(
            connection_id=self.connection_id,
            base_url="https://vtn.example:8443",
            store=SqlPartyStore(self.ledger),
            objects=SqlObjectStore(self.ledger),
            clients=[
                Client(client_id="bl", secret_hash=HASHED, role=Role.BUSINESS_LOGIC),
                Client(client_id="ven-a", secret_hash=HASHED, role=Role.VEN, webhook_key=b"key"),
                Client(client_id="ven-b", secret_hash=HASHED, role=Role.VEN),
                Client(
                    client_id="reader",
                    secret_hash=HASHED,
                    role=Role.VEN,
                    scopes=frozenset({"read_targets", "read_all"}),
                ),
            ],
            now=lambda: self.now,
            callbacks=self.subscribers,
            new_id=self._new_id,
            **self.more,
        )
        return self.vtn

    def _new_id(self) -> str:
        self.count += 1
        return f"id-{self.count}"

    def later(self, **length: float) -> None:
        self.now += timedelta(**length)

    async def token(self, client_id: str) -> str:
        if client_id not in self.tokens:
            form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET}
            answer = await self.vtn.respond(
                Request(method="POST", path="/auth/token", body=urlencode(form).encode(), peer="192.0.2.1")
            )
            self.tokens[client_id] = json.loads(answer.body)["access_token"]
        return self.tokens[client_id]

    async def ask(self, who: str | None, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        """Status and JSON of the answer, which is checked against the definition where it is a problem."""
        answer = await self.raw(who, method, path, body, **query)
        found = json.loads(answer.body)
        if answer.status >= 400:
            self.definition.check("problem", found)
        else:
            self._check(path, found)
        return answer.status, found

    async def raw(self, who: str | None, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        pairs = [
            (key, str(item))
            for key, value in query.items()
            for item in (value if isinstance(value, list | tuple) else [value])
        ]
        return await self.vtn.respond(
            Request(
                method=method,
                path=path,
                query=tuple(pairs),
                authorization=None if who is None else f"Bearer {await self.token(who)}",
                content_type="application/json",
                body=body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode(),
            )
        )

    async def made(self, who: str, path: str, **body: Any) -> dict[str, Any]:
        """An object that was just created."""
        status, found = await self.ask(who, "POST", path, body)
        assert status == 201, found
        held: dict[str, Any] = found
        return held

    async def names(self, who: str, path: str, **query: Any) -> list[str]:
        """The names of what is listed for a client."""
        status, found = await self.ask(who, "GET", path, **query)
        assert status == 200, found
        keys = ("programName", "eventName", "reportName", "venName", "resourceName", "clientName")
        return [next(item[key] for key in keys if key in item) for item in found]

    async def grant(self, client_id: str, *targets: str) -> dict[str, Any]:
        return await self.made(
            "bl",
            "/vens",
            objectType="BL_VEN_REQUEST",
            clientID=client_id,
            venName=f"name of {client_id}",
            targets=list(targets),
        )

    def _check(self, path: str, found: Any) -> None:
        schema = path.split("/")[1].removesuffix("s")
        for item in found if isinstance(found, list) else [found]:
            if schema in {"program", "event", "report", "subscription", "ven", "resource"}:
                self.definition.check(schema, item)
