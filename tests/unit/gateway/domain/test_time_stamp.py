"""A time stamp is believed for the head that it is over, of those who are trusted, long after its certificate ended."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509 import load_der_x509_certificate
from rfc3161_client import decode_timestamp_response

from gateway.domain.time_stamp import (
    MOST_RESPONSE_BYTES,
    NotGranted,
    OtherContent,
    TimeStamp,
    UnreadableTimeStamp,
    UntrustedTimeStamp,
    check_time_stamp,
    read_authorities,
)
from gateway.domain.time_stamp_order import with_ordered_certificates
from tests.certificates import authority
from tests.recorded_time_stamp import HEAD, NONCE, RESPONSE, ROOT_PEM, STAMPED_AT

TRUSTED = read_authorities(ROOT_PEM)


def test_a_stamp_outlives_the_certificate_that_made_it() -> None:
    certificates = decode_timestamp_response(with_ordered_certificates(RESPONSE)).signed_data.certificates
    ends = min(load_der_x509_certificate(der).not_valid_after_utc for der in certificates)
    assert ends - STAMPED_AT < timedelta(minutes=2)
    assert check_time_stamp(HEAD, RESPONSE, TRUSTED, nonce=NONCE) == TimeStamp(
        at=STAMPED_AT, accuracy_s=1.5, policy="1.3.6.1.4.1.55555.1", serial="2", delay_s=34.0
    )


def test_a_stamp_of_another_head_is_told() -> None:
    changed = replace(HEAD, head=replace(HEAD.head, size=5))
    with pytest.raises(OtherContent, match="something else than the head of 2026-11-29T06:00:00"):
        check_time_stamp(changed, RESPONSE, TRUSTED)


def test_a_time_that_was_changed_is_told() -> None:
    earlier = RESPONSE.replace(b"20261129060034Z", b"20261128060034Z")
    assert earlier != RESPONSE
    with pytest.raises(UntrustedTimeStamp, match="was changed"):
        check_time_stamp(HEAD, earlier, TRUSTED)


def test_the_answer_to_another_request_is_told() -> None:
    with pytest.raises(UntrustedTimeStamp, match="Nonce"):
        check_time_stamp(HEAD, RESPONSE, TRUSTED, nonce=NONCE + 1)


def test_an_authority_that_nobody_trusts_is_told() -> None:
    # The root's name is no help: it is its key that counts.
    other = read_authorities(authority("root", begins_at=datetime(2026, 1, 1, tzinfo=UTC)).pem)
    with pytest.raises(UntrustedTimeStamp):
        check_time_stamp(HEAD, RESPONSE, other)


def test_a_refusal_is_quoted() -> None:
    # PKIStatusInfo (RFC 3161, section 2.4.2): rejection, and one line of text.
    refusal = b"\x30\x0d\x30\x0b\x02\x01\x02\x30\x06\x0c\x04busy"
    with pytest.raises(NotGranted, match=r"status 2\): busy"):
        check_time_stamp(HEAD, refusal, TRUSTED)


@pytest.mark.parametrize(
    "response",
    [b"", b"<html>", RESPONSE[:-1], RESPONSE + b"\x00", b"\x30\x05\x30\x03\x02\x01\x00", b"\x30\x03\x02\x01\x00"],
)
def test_what_is_no_response_is_told(response: bytes) -> None:
    with pytest.raises(UnreadableTimeStamp):
        check_time_stamp(HEAD, response, TRUSTED)


def test_what_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(UnreadableTimeStamp, match="are the most"):
        check_time_stamp(HEAD, RESPONSE + bytes(MOST_RESPONSE_BYTES), TRUSTED)


def test_without_anybody_to_trust_nothing_is_believed() -> None:
    with pytest.raises(UntrustedTimeStamp, match="no certificate is given"):
        check_time_stamp(HEAD, RESPONSE, ())
