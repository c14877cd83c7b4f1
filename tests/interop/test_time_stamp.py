"""Time stamps over signed heads by a real authority, OpenSSL's, asked by HTTP and checked without it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.domain.time_stamp import (
    MOST_RESPONSE_BYTES,
    NotGranted,
    OtherContent,
    TimeStampError,
    UnreadableTimeStamp,
    UntrustedTimeStamp,
    check_time_stamp,
    read_authorities,
    stamped_bytes,
)
from gateway.domain.tree_head import SignedHead, sign
from gateway.http.time_stamp_client import ask_time_stamp
from tests.openadr3_server import serving
from tests.recorded_time_stamp import head_of
from tests.time_stamp_authority import POLICY, TimeStampAuthority


def saying(body: bytes, status: int = 200) -> web.RouteDef:
    """Something on the network that answers whatever it is asked with this."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=status)

    return web.post("/", answer)


async def stamped(authority: TimeStampAuthority, signed: SignedHead, *, trusted: bytes | None = None) -> bytes:
    async with authority.served() as url:
        return await ask_time_stamp(url, signed, read_authorities(trusted or authority.chain_pem))


async def test_a_stamp_says_when_the_head_was_there_and_openssl_agrees(tmp_path: Path) -> None:
    authority, signed = TimeStampAuthority(tmp_path), head_of(datetime.now(UTC))
    response = await stamped(authority, signed)
    stamp = check_time_stamp(signed, response, read_authorities(authority.chain_pem))
    assert abs(stamp.delay_s) < 60
    assert (stamp.accuracy_s, stamp.policy, stamp.serial) == (1.5, POLICY, "2")
    assert authority.confirms(response, stamped_bytes(signed))
    assert not authority.confirms(response, stamped_bytes(head_of(signed.head.made_at + timedelta(seconds=1))))


async def test_a_stamp_is_over_the_head_and_its_signature(tmp_path: Path) -> None:
    authority, signed = TimeStampAuthority(tmp_path), head_of(datetime.now(UTC))
    response = await stamped(authority, signed)
    other_key = sign(signed.head, Ed25519PrivateKey.from_private_bytes(bytes(32)))
    for other in (replace(signed, head=replace(signed.head, size=5)), replace(signed, signature="00" * 64), other_key):
        with pytest.raises(OtherContent, match="something else than the head"):
            check_time_stamp(other, response, read_authorities(authority.chain_pem))


async def test_an_authority_with_an_rsa_key_is_believed_alike(tmp_path: Path) -> None:
    authority = TimeStampAuthority(tmp_path, key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    signed = head_of(datetime.now(UTC))
    assert authority.confirms(await stamped(authority, signed), stamped_bytes(signed))


async def test_a_head_that_is_dated_back_is_told_by_its_delay(tmp_path: Path) -> None:
    authority, signed = TimeStampAuthority(tmp_path), head_of(datetime.now(UTC) - timedelta(days=3))
    response = await stamped(authority, signed)
    stamp = check_time_stamp(signed, response, read_authorities(authority.chain_pem))
    assert stamp.delay_s == pytest.approx(timedelta(days=3).total_seconds(), abs=60)


async def test_a_chain_that_comes_along_needs_only_its_root_in_whatever_order_it_comes(tmp_path: Path) -> None:
    authority, signed = TimeStampAuthority(tmp_path, sends_chain=True), head_of(datetime.now(UTC))
    response = await stamped(authority, signed, trusted=authority.root_pem)
    assert authority.confirms(response, stamped_bytes(signed))


async def test_an_authority_that_says_no_accuracy_is_believed_without(tmp_path: Path) -> None:
    authority, signed = TimeStampAuthority(tmp_path, accuracy=""), head_of(datetime.now(UTC))
    response = await stamped(authority, signed)
    assert check_time_stamp(signed, response, read_authorities(authority.chain_pem)).accuracy_s is None


async def test_a_stamp_by_others_is_not_believed(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("ours", "theirs")]
    for folder in folders:
        folder.mkdir()
    ours, theirs = (TimeStampAuthority(folder) for folder in folders)
    with pytest.raises(UntrustedTimeStamp, match="unable to get local issuer certificate"):
        await stamped(theirs, head_of(datetime.now(UTC)), trusted=ours.chain_pem)


async def test_a_stamp_that_another_key_of_the_same_authority_signed_is_not_believed(tmp_path: Path) -> None:
    authority, signed = TimeStampAuthority(tmp_path), head_of(datetime.now(UTC))
    trusted = read_authorities(authority.chain_pem)
    response = await stamped(authority, signed)
    check_time_stamp(signed, authority.signed_again(response, ExtendedKeyUsageOID.TIME_STAMPING), trusted)
    for purpose in (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION, None):
        with pytest.raises(UntrustedTimeStamp, match=r"unsuitable certificate purpose|EKU"):
            check_time_stamp(signed, authority.signed_again(response, purpose), trusted)


async def test_a_certificate_that_was_over_when_it_stamped_is_not_believed(tmp_path: Path) -> None:
    authority = TimeStampAuthority(tmp_path, lasts=timedelta(hours=1))
    with pytest.raises(UntrustedTimeStamp, match="certificate has expired"):
        await stamped(authority, head_of(datetime.now(UTC)))


async def test_an_answer_to_an_earlier_request_is_not_taken(tmp_path: Path) -> None:
    authority, signed = TimeStampAuthority(tmp_path), head_of(datetime.now(UTC))
    earlier = await stamped(authority, signed)
    async with serving(saying(earlier)) as url:
        with pytest.raises(UntrustedTimeStamp, match="Nonce"):
            await ask_time_stamp(url, signed, read_authorities(authority.chain_pem))


async def test_an_authority_that_refuses_is_quoted(tmp_path: Path) -> None:
    authority = TimeStampAuthority(tmp_path, digests="sha512")
    with pytest.raises(NotGranted, match="Message digest algorithm is not supported"):
        await stamped(authority, head_of(datetime.now(UTC)))


@pytest.mark.parametrize("body", [b"", b"<html>", b"\x30\x03\x02\x01\x00", b"\x30" * (MOST_RESPONSE_BYTES + 1)])
async def test_an_answer_that_is_no_stamp_is_told(tmp_path: Path, body: bytes) -> None:
    authority = TimeStampAuthority(tmp_path)
    async with serving(saying(body)) as url:
        with pytest.raises(UnreadableTimeStamp):
            await ask_time_stamp(url, head_of(datetime.now(UTC)), read_authorities(authority.chain_pem))


async def test_without_an_answer_it_can_be_asked_later(tmp_path: Path) -> None:
    trusted = read_authorities(TimeStampAuthority(tmp_path).chain_pem)
    async with serving(saying(b"busy", 503)) as url:
        with pytest.raises(ConnectionError, match="answers with status 503"):
            await ask_time_stamp(url, head_of(datetime.now(UTC)), trusted)
    for nobody in (url, "no address"):
        with pytest.raises(ConnectionError, match="asked again later"):
            await ask_time_stamp(nobody, head_of(datetime.now(UTC)), trusted)


@pytest.mark.parametrize(
    "pem", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_authorities_that_cannot_be_read_are_told(pem: bytes) -> None:
    with pytest.raises(TimeStampError, match="no certificates in PEM"):
        read_authorities(pem)
