"""Time stamps in a bundle, by a real authority (OpenSSL's): believed by whom the reader names, and else by nobody."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
from typer.testing import CliRunner

from gateway.bundle_file import BundleFile
from gateway.bundle_stamps import STAMPS
from gateway.cli.main import app
from gateway.domain.evidence import canonical_json
from gateway.domain.time_stamp import read_authorities, stamped_bytes
from gateway.domain.tree_head import SignedHead, sign
from tests.bundle_record import OTHER_KEY, Files, Made, faults, heads_of, make, tampered, verified
from tests.time_stamp_authority import TimeStampAuthority

Response = Callable[[SignedHead], bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return asyncio.run(make(tmp_path_factory.mktemp("record")))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TimeStampAuthority:
    return TimeStampAuthority(tmp_path_factory.mktemp("authority"))


def stamp(authority: TimeStampAuthority, signed: SignedHead) -> bytes:
    query = TimestampRequestBuilder(
        data=stamped_bytes(signed), hash_algorithm=HashAlgorithm.SHA256, nonce=True, cert_req=True
    ).build()
    return authority.stamp(query.as_bytes())


def line(head: SignedHead, response: bytes) -> bytes:
    return canonical_json({"head_sha256": head.head.sha256, "response": b64encode(response).decode()}) + b"\n"


@pytest.fixture(scope="module")
def stamped(made: Made, authority: TimeStampAuthority) -> BundleFile:
    """The bundle with a stamp over each of its two heads."""

    def add(files: Files) -> None:
        files[STAMPS] = b"".join(line(head, stamp(authority, head)) for head in made.heads)

    return tampered(made, add)


def with_stamps(made: Made, lines: bytes) -> BundleFile:
    return tampered(made, lambda files: files.__setitem__(STAMPS, lines))


def said(bundle: BundleFile, authority: TimeStampAuthority) -> str:
    """What is wrong with the stamps, and with nothing else."""
    found = faults(verified(bundle, timestamp_authorities=read_authorities(authority.chain_pem)))
    assert found.keys() <= {"stamps"}
    return found.get("stamps", "")


def test_stamps_that_the_readers_authority_made_say_since_when_the_statement_stood(
    made: Made, stamped: BundleFile, authority: TimeStampAuthority
) -> None:
    found = verified(stamped, timestamp_authorities=read_authorities(authority.chain_pem))
    assert found.holds
    (holds,) = [one.holds for one in found.checks if one.name == "stamps"]
    assert holds.startswith("2 of 2 heads are stamped by an authority that you trust, at most ")
    assert "; statement 1 (entry " in holds
    assert " stood by 20" in holds
    assert not any("time stamp" in one for one in found.trust)
    # A head that has none yet is no fault, and is said.
    first = with_stamps(made, stamped.files[STAMPS].splitlines(keepends=True)[0])
    found = verified(first, timestamp_authorities=read_authorities(authority.chain_pem))
    (holds,) = [one.holds for one in found.checks if one.name == "stamps"]
    assert found.holds
    assert holds.startswith("1 of 2 heads")
    assert "none is over statement 1" in holds


def test_without_an_authority_of_the_readers_stamps_are_on_trust(made: Made, stamped: BundleFile) -> None:
    found = verified(stamped)
    assert "stamps" not in {one.name for one in found.checks}
    assert any("2 of 2 carry a time stamp. Name the authority" in one for one in found.trust)
    assert any("no authority has stamped them" in one for one in verified(made.bundle).trust)


def test_a_stamp_that_was_changed_is_named(made: Made, stamped: BundleFile, authority: TimeStampAuthority) -> None:
    row = json.loads(stamped.files[STAMPS].splitlines()[1])
    response = bytearray(b64decode(row["response"]))
    # The last octets are of the authority's signature.
    response[-3] ^= 1
    found = said(with_stamps(made, line(made.heads[1], bytes(response))), authority)
    assert "head of 2026-07-16 10:00:00Z: the time stamp was changed" in found
    assert "certificate" not in found.rpartition(":")[2]


def test_a_stamp_of_another_head_is_named(made: Made, authority: TimeStampAuthority) -> None:
    found = said(with_stamps(made, line(made.heads[1], stamp(authority, made.heads[0]))), authority)
    assert found == (
        "head of 2026-07-16 10:00:00Z: the time stamp is over something else than the head of "
        "2026-07-16T10:00:00+00:00, or that was changed"
    )


def test_a_stamp_of_a_head_that_is_not_there_is_named(made: Made, authority: TimeStampAuthority) -> None:
    other = sign(made.heads[1].head, OTHER_KEY)
    lines = line(made.heads[0], stamp(authority, made.heads[0])).replace(made.heads[0].head.sha256.encode(), b"ab" * 32)
    assert f"a time stamp is of head {'ab' * 32}, which the bundle does not have" in said(
        with_stamps(made, lines), authority
    )
    assert "something else than the head" in said(
        with_stamps(made, line(made.heads[1], stamp(authority, other))), authority
    )


def test_a_stamp_by_a_foreign_authority_is_named(made: Made, authority: TimeStampAuthority, tmp_path: Path) -> None:
    theirs = stamp(TimeStampAuthority(tmp_path), made.heads[1])
    found = said(with_stamps(made, line(made.heads[1], theirs)), authority)
    assert "from no authority that is trusted here: unable to get local issuer certificate" in found


def test_stamps_taken_away_are_missed_by_who_asks_for_them(made: Made, authority: TimeStampAuthority) -> None:
    assert said(made.bundle, authority) == "the bundle holds no time stamp of any head"


def test_a_head_that_was_signed_anew_has_lost_its_stamp(
    made: Made, stamped: BundleFile, authority: TimeStampAuthority
) -> None:
    def sign_again(files: Files) -> None:
        files[STAMPS] = stamped.files[STAMPS]
        first, last = heads_of(files)
        files["log/heads.jsonl"] = b"".join(canonical_json(one) + b"\n" for one in (first, sign(last.head, OTHER_KEY)))

    found = faults(verified(tampered(made, sign_again), timestamp_authorities=read_authorities(authority.chain_pem)))
    assert found.keys() == {"heads", "stamps"}
    assert "over something else than the head of 2026-07-16T10:00:00+00:00" in found["stamps"]


@pytest.mark.parametrize(
    "lines", [b"nothing\n", b"[]\n", b'{"head_sha256":"a","response":"?"}\n', b"{}\n", b"[" * 9999]
)
def test_what_is_no_stamp_is_said(made: Made, authority: TimeStampAuthority, lines: bytes) -> None:
    assert "has a line that is no time stamp" in said(with_stamps(made, lines), authority)
    twice = line(made.heads[0], b"x") * 2
    assert "has two time stamps of head" in said(with_stamps(made, twice), authority)
    assert "this is no response of a time-stamp authority" in said(
        with_stamps(made, line(made.heads[0], b"x")), authority
    )


def test_the_command_takes_the_authoritys_certificates_from_a_file(
    made: Made, stamped: BundleFile, authority: TimeStampAuthority, tmp_path: Path
) -> None:
    from gateway.bundle_file import write_bundle

    bundle, chain = tmp_path / "bundle.zip", tmp_path / "chain.pem"
    bundle.write_bytes(write_bundle(stamped))
    chain.write_bytes(authority.chain_pem)
    done = CliRunner().invoke(app, ["verify", str(bundle), "--timestamp-ca", str(chain)])
    assert (done.exit_code, "holds  stamps: 2 of 2 heads" in done.output) == (0, True)
    bundle.write_bytes(write_bundle(made.bundle))
    done = CliRunner().invoke(app, ["verify", str(bundle), "--timestamp-ca", str(chain)])
    assert (done.exit_code, "FAILS  stamps" in done.output) == (1, True)
    done = CliRunner().invoke(app, ["verify", str(bundle), "--timestamp-ca", str(bundle)])
    assert done.exit_code == 2
    assert "no certificates in PEM" in done.output
