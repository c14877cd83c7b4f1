"""The signatures of the messages in a bundle: whether the grid's side said what the event's revisions rest on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from pydantic import TypeAdapter, ValidationError

from gateway.bundle_file import BundleError
from gateway.bundle_recorded import MESSAGES, Recorded
from gateway.domain.bundle_check import Check
from protocols.errors import MessageError


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSignature:
    """A good signature: ``name`` is the signer's for people, ``certificate`` (DER) the one that made it.

    Certificate and instant are ``None`` where the message does not carry the certificate, and none is known.
    """

    name: str
    certificate: bytes | None
    signed_at: datetime | None


CheckSignature = Callable[[bytes, Sequence[bytes], datetime], MessageSignature | None]
"""What the signature of a message (of any dialect) shows, ``None`` where it has none.

It is given certificates that are known, for a message that does not carry its own, and the instant at which the message
came, when the certificate had to be valid. Raises ``MessageError`` where the signature is broken.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    sha256: str
    direction: str
    at: datetime


_ROW = TypeAdapter(_Row)


def check_signatures(
    recorded: Recorded, check: CheckSignature, certificates: Sequence[bytes]
) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    """A check for each message with a signature that is broken or by one of the reader's ``certificates``.

    In second place what is taken on trust: messages without a signature, or by a certificate that the reader does not
    know. Raises ``BundleError``.
    """
    received = _received(recorded)
    checks: list[Check] = []
    trust: list[str] = []
    for digest, revisions in _rested_on(recorded):
        name = f"message {digest[:16]} (revision {', '.join(map(str, revisions))})"
        body = recorded.bundle.files.get(f"messages/{digest}")
        if body is None or digest not in received or sha256(body).hexdigest() != digest:
            # The last revision's own is missed elsewhere.
            trust.append(f"Whose {name} is: the bundle does not hold it.")
            continue
        at = received[digest]
        try:
            found = check(body, certificates, at)
        except MessageError as cause:
            checks.append(Check(name="signature", holds="", faults=(f"{name} of {at:%Y-%m-%d %H:%M:%SZ}: {cause}",)))
            continue
        if found is None:
            trust.append(f"Whose {name} is: it is not signed.")
        elif found.certificate is None or found.signed_at is None:
            trust.append(
                f"Whose {name} is: it is signed and does not carry its certificate; name it with --certificate."
            )
        elif found.certificate not in certificates:
            trust.append(
                f"Whose {name} is: it is as it was signed, by the certificate {found.name}, which is none that you "
                "gave with --certificate."
            )
        else:
            ahead_s = (at - found.signed_at).total_seconds()
            holds = f"{name} is as it was signed, by your {found.name}, {ahead_s:.0f} s before it came"
            checks.append(Check(name="signature", holds=holds))
    return tuple(checks), tuple(trust)


def _rested_on(recorded: Recorded) -> Iterator[tuple[str, list[int]]]:
    """The messages that the event's revisions came with, each with the numbers of those revisions, in order."""
    event = recorded.event.event
    found: dict[str, list[int]] = {}
    for key, (_, revision) in sorted(recorded.revisions.items()):
        if key[:2] == (event.connection_id, event.event_id):
            found.setdefault(revision.raw_sha256, []).append(revision.revision)
    yield from found.items()


def _received(recorded: Recorded) -> Mapping[str, datetime]:
    """When each message came first, by its SHA-256."""
    found: dict[str, datetime] = {}
    for _, content in recorded.of_kind(MESSAGES):
        try:
            row = _ROW.validate_json(content)
        except ValidationError as cause:
            raise BundleError(f"{MESSAGES} cannot be read: {cause.errors()[0]['msg']}") from cause
        found[row.sha256] = min(row.at, found.get(row.sha256, row.at))
    return found
