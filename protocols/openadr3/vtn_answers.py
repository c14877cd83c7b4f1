"""Requests to a VTN and its answers, whatever carries them, and why a request is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from protocols.openadr3 import model_access
from protocols.openadr3.codec import encode
from protocols.openadr3.names import Version

JSON = "application/json"
"""Of problems too: the definition's answers have no other type."""
_MOST_DETAIL = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request below the VTN's base; ``path`` begins with a slash. ``peer`` is the address that it came from."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    authorization: str | None = field(default=None, repr=False)
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)
    peer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status and JSON."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that is not done. ``detail`` says what is wrong and what to do."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def problem(refused: Refused) -> Answer:
    """The answer to a request that is not done (Definition: Problem)."""
    said = model_access.Problem(
        title=HTTPStatus(refused.status).phrase, status=refused.status, detail=refused.detail[:_MOST_DETAIL]
    )
    return Answer(status=refused.status, body=encode(said, Version.V3_1), headers=refused.headers)
