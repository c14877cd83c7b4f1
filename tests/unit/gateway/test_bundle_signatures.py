"""Signed messages in a bundle: whose they are by the reader's certificates, and what was done to them since."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from lxml import etree
from typer.testing import CliRunner

from gateway.app import decode_message
from gateway.bundle_file import write_bundle
from gateway.bundle_verify import Verification
from gateway.cli.main import app
from protocols.openadr2b import codec, model
from protocols.openadr2b.names import DS, EI
from protocols.openadr2b.neutral_event import write_event
from protocols.openadr2b.signature import Signer, encode_signed
from protocols.xml import Element, parse
from tests.bundle_record import (
    MESSAGE,
    RECEIVED_AT,
    Files,
    Made,
    edit_record,
    faults,
    make,
    rewrite_log,
    tampered,
    verified,
)
from tests.certificates import Identity, authority

ROOT = authority(begins_at=RECEIVED_AT - timedelta(days=9))
VTN = ROOT.vouch("vtn", begins_at=RECEIVED_AT - timedelta(days=9))
OTHER = ROOT.vouch("other", begins_at=RECEIVED_AT - timedelta(days=9))
AFTERWARDS = ROOT.vouch("vtn", begins_at=RECEIVED_AT + timedelta(days=1))
SECONDS = timedelta(seconds=2)


def message(revision: int = 0) -> model.DistributeEvent:
    """The event in words of 2.0b."""
    said = decode_message(json.dumps(MESSAGE).encode())["events"]
    assert isinstance(said, list)
    event = replace(said[0], revision=revision, connection_id="utility")
    return model.DistributeEvent(request_id="r", vtn_id="VTN-1", events=(write_event(event, now=RECEIVED_AT),))


def signed(identity: Identity = VTN, *, revision: int = 0) -> bytes:
    signer = Signer(key_pem=identity.key_pem, certificate_pem=identity.pem)
    return encode_signed(message(revision), signer, RECEIVED_AT + timedelta(minutes=revision) - SECONDS)


def of(body: bytes, change: Callable[[Element], None]) -> bytes:
    root = parse(body)
    change(root)
    return codec.serialised(root)


def without_certificate(payload: Element) -> None:
    signature = payload[0]
    signature.remove(signature.find(DS + "KeyInfo"))


def another_level(payload: Element) -> None:
    for value in payload.iter(EI + "value"):
        value.text = "3"


def lines(found: Verification) -> tuple[list[str], list[str], list[str]]:
    """What is said of signatures: what holds, what fails, what is on trust."""
    ours = [one for one in found.checks if one.name == "signature"]
    return (
        [one.holds for one in ours if not one.faults],
        [fault for one in ours for fault in one.faults],
        [one for one in found.trust if one.startswith("Whose")],
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An event with a revision, both signed."""
    messages = (signed(), signed(revision=1))
    return asyncio.run(make(tmp_path_factory.mktemp("record"), messages=messages))


def named(body: bytes, revision: int = 0) -> str:
    return f"message {sha256(body).hexdigest()[:16]} (revision {revision})"


def bodies(made: Made) -> list[bytes]:
    """By revision."""
    found = [body for name, body in made.bundle.files.items() if name.startswith("messages/")]
    return sorted(found, key=lambda body: decode_message(body)["events"][0].revision)  # type: ignore[index]


def swapped(made: Made, new: bytes, revision: int = 1) -> Files:
    """The files with another message in place of a revision's, everything else made to follow: the owner's own work."""
    old = bodies(made)[revision]
    was, now = (sha256(body).hexdigest().encode() for body in (old, new))

    def change(files: Files) -> None:
        for name in ("events.json", "statement.json"):
            files[name] = files[name].replace(was, now)
        for kind in ("raw_message", "event_revision", "statement"):
            files[f"records/{kind}.txt"] = files[f"records/{kind}.txt"].replace(was, now)
        del files[f"messages/{was.decode()}"]
        files[f"messages/{now.decode()}"] = new
        rewrite_log(files)

    return dict(tampered(made, change).files)


def verified_with(made: Made, new: bytes, *certificates: Identity, revision: int = 1) -> Verification:
    files = swapped(made, new, revision)
    bundle = replace(made.bundle, files=files)
    return verified(bundle, certificates=tuple(one.der for one in certificates))


def test_every_revisions_message_is_held_against_the_readers_certificates(made: Made) -> None:
    first, second = bodies(made)
    found = verified(made.bundle, certificates=(OTHER.der, VTN.der))
    assert faults(found) == {}
    holds, fails, trust = lines(found)
    assert (fails, trust) == ([], [])
    assert [line.partition(" is as")[0] for line in holds] == [named(first), named(second, 1)]
    assert all("by your" in line and "(CN=vtn), 2 s before it came" in line for line in holds)


def test_a_certificate_that_the_reader_does_not_name_is_on_trust(made: Made) -> None:
    for certificates in ((), (OTHER.der, AFTERWARDS.der)):
        found = verified(made.bundle, certificates=certificates)
        holds, fails, trust = lines(found)
        assert (found.holds, holds, fails) == (True, [], [])
        assert len(trust) == 2
        assert all("(CN=vtn), which is none that you gave with --certificate" in line for line in trust)


def test_a_message_that_is_not_signed_is_on_trust(made: Made) -> None:
    unsigned = codec.encode(message(1))
    found = verified_with(made, unsigned, VTN)
    holds, fails, trust = lines(found)
    assert (len(holds), fails) == (1, [])
    assert trust == [f"Whose {named(unsigned, 1)} is: it is not signed."]


def test_a_message_of_openadr_3_is_not_signed(tmp_path: Path) -> None:
    found = verified(asyncio.run(make(tmp_path)).bundle, certificates=(VTN.der,))
    (line,) = lines(found)[2]
    assert line.startswith(f"Whose message {sha256(json.dumps(MESSAGE).encode()).hexdigest()[:16]} (revision ")
    assert line.endswith("is: it is not signed.")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (of(signed(revision=1), another_level), "oadr:oadrSignedObject is not what"),
        (
            of(signed(revision=1), lambda payload: payload[0].append(etree.Element(DS + "Object"))),
            "expected ds:SignedInfo",
        ),
        (signed(AFTERWARDS, revision=1), "is valid from 2026-07-16"),
    ],
    ids=["changed", "malformed", "not valid when it came"],
)
def test_a_signature_that_is_broken_fails_whoever_the_reader_knows(made: Made, body: bytes, says: str) -> None:
    for certificates in ((), (VTN,), (AFTERWARDS,)):
        found = verified_with(made, body, *certificates)
        _, fails, _ = lines(found)
        assert not found.holds
        assert len(fails) == 1
        assert fails[0].startswith(f"{named(body, 1)} of 2026-07-15 20:01:00Z: ")
        assert says in fails[0]


def test_a_broken_signature_of_an_earlier_revision_fails_too(made: Made) -> None:
    body = of(signed(), another_level)
    _, fails, _ = lines(verified_with(made, body, VTN, revision=0))
    assert fails[0].startswith(named(body))


def test_the_message_counts_when_it_came_and_not_now(tmp_path: Path, made: Made) -> None:
    short = ROOT.vouch("vtn", begins_at=RECEIVED_AT - timedelta(days=9), lasts=timedelta(days=10))
    found = verified_with(made, signed(short, revision=1), short)
    assert len(lines(found)[0]) == 1
    # Received a day later, by the record, it was over.
    files = dict(swapped(made, signed(short, revision=1)))
    edit_record(
        files,
        "raw_message",
        lambda line: b"T20:01:00Z" in line,
        lambda line: line.replace(b"07-15T20:01", b"07-17T20:01"),
    )
    _, fails, _ = lines(verified(replace(made.bundle, files=files), certificates=(short.der,)))
    assert "expired at 2026-07-16" in fails[0]


def test_a_message_without_its_certificate_is_tried_with_the_readers(made: Made) -> None:
    body = of(signed(revision=1), without_certificate)
    holds, fails, _ = lines(verified_with(made, body, OTHER, VTN))
    assert ([named(body, 1) in line for line in holds], fails) == ([False, True], [])
    _, fails, _ = lines(verified_with(made, body, OTHER))
    assert "the signature is not one by the certificate" in fails[0]
    holds, fails, trust = lines(verified_with(made, body))
    assert (holds, fails) == ([], [])
    assert (
        trust[-1]
        == f"Whose {named(body, 1)} is: it is signed and does not carry its certificate; name it with --certificate."
    )


def test_an_earlier_message_that_was_left_out_is_said(made: Made) -> None:
    first, _ = bodies(made)
    bundle = tampered(made, lambda files: files.pop(f"messages/{sha256(first).hexdigest()}"))
    assert lines(verified(bundle, certificates=(VTN.der,)))[2] == [
        f"Whose {named(first)} is: the bundle does not hold it."
    ]


def test_the_command_takes_certificates_from_files(made: Made, tmp_path: Path) -> None:
    bundle, pem = tmp_path / "bundle.zip", tmp_path / "vtn.pem"
    bundle.write_bytes(write_bundle(made.bundle))
    pem.write_bytes(OTHER.pem + VTN.pem)
    run = CliRunner().invoke
    done = run(app, ["verify", str(bundle), "--certificate", str(pem)])
    assert (done.exit_code, done.output.count("holds  signature: message")) == (0, 2)
    done = run(app, ["verify", str(bundle)])
    assert (done.exit_code, done.output.count("none that you gave with --certificate")) == (0, 2)
    done = run(app, ["verify", str(bundle), "--certificate", str(bundle)])
    assert (done.exit_code, "holds no certificate (PEM)" in done.output) == (2, True)
