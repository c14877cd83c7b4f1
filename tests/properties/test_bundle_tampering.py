"""Whichever bit of what a statement rests on is changed, verification does not hold."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.bundle_file import BundleError
from tests.bundle_record import Files, Made, faults, make, tampered, verified


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return asyncio.run(make(tmp_path_factory.mktemp("record")))


def _rests_on(name: str) -> bool:
    """Site and program say more than a settlement asks for, and a sheet has comments."""
    return name not in {"README.txt", "terms.json", "rule.toml", "events.json"}


def _flip(files: Files, name: str, at: int) -> None:
    body = bytearray(files[name])
    body[at] ^= 1
    files[name] = bytes(body)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_bit_can_be_changed(made: Made, data: st.DataObject) -> None:
    files = made.bundle.files
    name = data.draw(st.sampled_from(sorted(filter(_rests_on, files))))
    at = data.draw(st.integers(0, len(files[name]) - 1))
    try:
        found = verified(tampered(made, lambda changed: _flip(changed, name, at)), made.heads[-1])
    except BundleError:
        return
    assert not found.holds


def test_a_bit_of_the_last_reading_record(made: Made) -> None:
    name = "records/reading.txt"
    at = made.bundle.files[name].rindex(b"good")
    found = verified(tampered(made, lambda changed: _flip(changed, name, at)))
    assert "is not what was logged" in faults(found)["records"]
    assert not found.holds


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_there_is_an_answer(made: Made, data: st.DataObject) -> None:
    files = made.bundle.files
    name = data.draw(st.sampled_from(sorted(files)))
    at = data.draw(st.integers(0, len(files[name])))
    piece = data.draw(st.sampled_from([b"", b"0", b"9" * 30, b"-", b"null", b"[" * 5000, b"\xff", b"\n", b'"', b"e9"]))
    kept = data.draw(st.sampled_from([0, 1, 10]))

    def change(changed: Files) -> None:
        changed[name] = changed[name][:at] + piece + changed[name][at + kept :]

    with suppress(BundleError):
        verified(tampered(made, change), made.heads[-1])
