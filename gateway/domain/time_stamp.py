"""Time stamps of an authority over signed heads (RFC 3161): that a head stood as it is before a certain instant.

Our own signature says when we made a head; a time stamp says it without us. What is stamped is the SHA-256 of the
canonical JSON of the whole ``SignedHead``: its signature too, which so stands even where our key is stolen after the
stamp (RFC 3161, appendix B; clauses of this RFC from memory, to be checked). A stamp is kept as the authority's whole
response in DER, which ``openssl ts -verify`` takes as it is.

Needs ``rfc3161-client``, which comes with ``gridgate[evidence]``: whoever can do without imports this where it is used.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    Accuracy,
    PKIStatus,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from gateway.domain.evidence import canonical_json
from gateway.domain.time_stamp_order import with_ordered_certificates
from gateway.domain.tree_head import SignedHead

MOST_RESPONSE_BYTES = 64 * 1024
"""Our own bound. A response of ``openssl ts`` has 0.9 to 1.7 KB with one to three certificates on elliptic curves."""

_SHA256 = "2.16.840.1.101.3.4.2.1"
_MOST_REASON = 200
_VERIFY_ERROR = re.compile(r"Verify error: ([^\"]+)")


class TimeStampError(ValueError):
    """A time stamp proves nothing about the head; the text says why."""


class UnreadableTimeStamp(TimeStampError):
    """It is no response of a time-stamp authority."""


class NotGranted(TimeStampError):
    """The authority stamped nothing, and says why."""


class OtherContent(TimeStampError):
    """It is a stamp over something else: another head, or this one before it was changed."""


class UntrustedTimeStamp(TimeStampError):
    """It was changed, or comes from nobody whom the given authorities vouch for, or answers another request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeStamp:
    """What an authority says: the head was there at ``at``, give or take ``accuracy_s`` (``None``: it does not say).

    ``policy`` is the object identifier of the rules that it stamps by, ``serial`` its number of the stamp in
    hexadecimal. ``delay_s`` is how long after the instant that the head itself gives: below zero, the log's clock was
    ahead of the authority's.
    """

    at: datetime
    accuracy_s: float | None
    policy: str
    serial: str
    delay_s: float


def stamped_bytes(signed: SignedHead) -> bytes:
    """What a time stamp of this head is over, before it is hashed."""
    return canonical_json(signed)


def read_authorities(pem: bytes) -> tuple[Certificate, ...]:
    """The certificates of those whom we trust to vouch for a time-stamp authority. Raises ``TimeStampError``."""
    try:
        return tuple(load_pem_x509_certificates(pem))
    except ValueError as cause:
        raise TimeStampError(f"no certificates in PEM to trust a time-stamp authority by: {cause}") from cause


def check_time_stamp(
    signed: SignedHead, response: bytes, authorities: Sequence[Certificate], *, nonce: int | None = None
) -> TimeStamp:
    """What the response proves about the head; with ``nonce`` it must be the answer to that very request.

    The stamp's chain of certificates must end at one of ``authorities`` that vouches for itself; others between may be
    given there or come with the stamp. All have to be valid at the instant of the stamp, not now: it outlives them.
    Raises any ``TimeStampError``.
    """
    if not authorities:
        raise UntrustedTimeStamp("no certificate is given of an authority that could vouch for a time stamp")
    parsed = _read(response)
    try:
        _require_granted(parsed)
        verifier = VerifierBuilder(roots=list(authorities), nonce=nonce).build()
        # What it is over first: of a stamp for another head nobody needs to know who made it.
        _require_content(parsed, signed)
        verifier.verify_message(parsed, stamped_bytes(signed))
        info = parsed.tst_info
        return TimeStamp(
            at=info.gen_time,
            accuracy_s=_seconds(info.accuracy),
            policy=info.policy.dotted_string,
            serial=f"{info.serial_number:x}",
            delay_s=(info.gen_time - signed.head.made_at).total_seconds(),
        )
    except TimeStampError:
        raise
    except VerificationError as cause:
        raise UntrustedTimeStamp(
            f"the time stamp was changed, or it is from no authority that is trusted here: {_reason(cause)}"
        ) from cause
    except ValueError as cause:
        raise UnreadableTimeStamp(f"the time stamp cannot be read: {_reason(cause)}") from cause


def _read(response: bytes) -> TimeStampResponse:
    if len(response) > MOST_RESPONSE_BYTES:
        raise UnreadableTimeStamp(f"a time stamp of {len(response)} bytes; {MOST_RESPONSE_BYTES} are the most")
    try:
        return decode_timestamp_response(with_ordered_certificates(response))
    except ValueError as cause:
        raise UnreadableTimeStamp(f"this is no response of a time-stamp authority: {_reason(cause)}") from cause


def _require_granted(parsed: TimeStampResponse) -> None:
    # "Granted with modifications" would be a stamp by rules that we did not ask for, and we ask for none.
    if parsed.status != PKIStatus.GRANTED:
        said = "; ".join(parsed.status_string)[:_MOST_REASON] or "no reason given"
        raise NotGranted(f"the time-stamp authority refused (status {parsed.status}): {said}")


def _require_content(parsed: TimeStampResponse, signed: SignedHead) -> None:
    imprint = parsed.tst_info.message_imprint
    made_at = signed.head.made_at.isoformat()
    if imprint.hash_algorithm.dotted_string != _SHA256:
        raise OtherContent(f"the time stamp of the head of {made_at} is over another hash than SHA-256")
    if imprint.message != sha256(stamped_bytes(signed)).digest():
        raise OtherContent(f"the time stamp is over something else than the head of {made_at}, or that was changed")


def _seconds(accuracy: Accuracy | None) -> float | None:
    if accuracy is None:
        return None
    return (accuracy.seconds or 0) + (accuracy.millis or 0) / 1e3 + (accuracy.micros or 0) / 1e6


def _reason(cause: Exception) -> str:
    """What went wrong, without the places in a library's source where it did."""
    text = str(cause)
    told = _VERIFY_ERROR.search(text)
    return (told[1] if told else text)[:_MOST_REASON]
