"""Who withholds, exchanges or rewrites something of a bundle is caught, with and without the key, and told where."""

import asyncio
import json
from dataclasses import replace
from hashlib import sha256

import pytest

from gateway.bundle_file import BundleError, write_bundle
from gateway.domain.evidence import canonical_json
from gateway.domain.tree_head import sign
from tests.bundle_record import (
    KEY_ID,
    OTHER_KEY,
    Files,
    Made,
    drop_record,
    edit_record,
    entries_of,
    faults,
    heads_of,
    make,
    rewrite_log,
    statement_id_of,
    tampered,
    verified,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An event with two versions of its statement; the bundle is of the second."""
    return asyncio.run(make(tmp_path_factory.mktemp("record"), versions=2))


def numbers_of(files: Files, kind: str) -> list[int]:
    return [int(line.partition(b" ")[0]) for line in files[f"records/{kind}.txt"].splitlines()]


def write_entries(files: Files, lines: list[bytes]) -> None:
    files["log/entries.jsonl"] = b"".join(line + b"\n" for line in lines)


def take_out(files: Files, number: int) -> None:
    """A record with its entry, all after it numbered anew and every head signed again: what only a key's owner can."""
    entries = entries_of(files)
    write_entries(
        files,
        [
            canonical_json(replace(entry, number=index))
            for index, entry in enumerate(entry for entry in entries if entry.number != number)
        ],
    )
    for name in [name for name in files if name.startswith("records/")]:
        lines = [line.partition(b" ") for line in files[name].splitlines()]
        kept = [
            (index - (index > number), content)
            for index, content in ((int(one[0]), one[2]) for one in lines)
            if index != number
        ]
        files[name] = b"".join(b"%d %s\n" % one for one in kept)
    heads = [
        replace(one, head=replace(one.head, size=one.head.size - (one.head.size > number))) for one in heads_of(files)
    ]
    files["log/heads.jsonl"] = b"".join(canonical_json(one) + b"\n" for one in heads)
    rewrite_log(files)


def test_two_versions_hold_together(made: Made) -> None:
    found = verified(made.bundle, *made.heads)
    assert faults(found) == {}
    (versions,) = [one.holds for one in found.checks if one.name == "versions"]
    assert versions == "it is the last of 2 statements of the event in the log"


@pytest.mark.parametrize("version", [1, 2])
def test_a_version_withheld_is_named_by_its_entry(made: Made, version: int) -> None:
    """From a bundle that is of the other one."""
    number = numbers_of(dict(made.bundle.files), "statement")[version - 1]
    bundle = tampered(made, lambda files: drop_record(files, "statement", number))
    found = faults(verified(replace(bundle, statement_id=statement_id_of(3 - version))))
    assert f"statement {version} (entry {number}) is in the log and was left out of the bundle" in found["records"]


def test_the_first_version_taken_out_of_the_whole_log_is_missed_by_the_second_and_by_the_readers_heads(
    made: Made,
) -> None:
    number = numbers_of(dict(made.bundle.files), "statement")[0]
    bundle = tampered(made, lambda files: take_out(files, number))
    assert faults(verified(bundle)) == {
        "versions": f"{statement_id_of(2)} is version 2 in place of {statement_id_of(1)}, which the log does not have: "
        "a version was withheld"
    }
    assert "does not fit: the log was rewritten" in faults(verified(bundle, made.heads[1]))["your heads"]


def test_the_second_version_withheld_by_an_older_head_is_missed_by_the_readers_later_head(made: Made) -> None:
    """The first as it was bundled when it was the last: nothing in it is wrong, but it is not the newest."""

    def cut(files: Files) -> None:
        first, second = numbers_of(files, "statement")
        size = made.heads[1].head.size
        assert first < size <= second
        write_entries(files, files["log/entries.jsonl"].splitlines()[:size])
        files["log/heads.jsonl"] = b"".join(files["log/heads.jsonl"].splitlines(keepends=True)[:2])
        drop_record(files, "statement", second)
        document = json.loads(json.loads(files["records/statement.txt"].partition(b" ")[2])["document"])
        files["statement.json"] = canonical_json(document)

    bundle = replace(tampered(made, cut), statement_id=statement_id_of(1))
    assert set(faults(verified(bundle, *made.heads[:2]))) <= {"figures"}
    found = faults(verified(bundle, *made.heads))
    assert (
        "entries were taken away, or it is older than the head (ask for one that is made later)" in found["your heads"]
    )


@pytest.mark.parametrize("kind", ["reading", "energy", "event_revision", "decision"])
def test_any_record_left_out_is_named(made: Made, kind: str) -> None:
    number = numbers_of(dict(made.bundle.files), kind)[-1]
    found = faults(verified(tampered(made, lambda files: drop_record(files, kind, number))))
    assert f"(entry {number}) is in the log and was left out of the bundle" in found["records"]


def test_a_message_left_out_or_its_record_is_named(made: Made) -> None:
    (name,) = [name for name in made.bundle.files if name.startswith("messages/")]
    digest = name.partition("/")[2]
    found = faults(verified(tampered(made, lambda files: files.pop(name))))
    assert found["signal"] == f"message {digest} is missing"
    found = faults(verified(tampered(made, lambda files: files.pop("records/raw_message.txt"))))
    assert f"no message with SHA-256 {digest} was logged" in found["signal"]


def test_a_message_swapped_with_all_that_names_it_is_missed_in_the_log(made: Made) -> None:
    """The figures of the event stay, so that only the log speaks against it."""
    (name,) = [name for name in made.bundle.files if name.startswith("messages/")]
    old = name.partition("/")[2].encode()

    def swap(files: Files) -> None:
        body = files.pop(name).replace(b'"eventName": "peak"', b'"eventName": "Peak"')
        new = sha256(body).hexdigest().encode()
        assert new != old
        files[f"messages/{new.decode()}"] = body
        for other in ("events.json", "statement.json", *(one for one in files if one.startswith("records/"))):
            files[other] = files[other].replace(old, new)

    found = faults(verified(tampered(made, swap)))
    assert "raw message 1 (entry 0) is not what was logged" in found["records"]
    assert "event revision utility/peak-1/" in found["records"]


def test_entries_exchanged_are_caught_by_their_numbers_and_by_the_root(made: Made) -> None:
    def exchange(files: Files) -> None:
        lines = files["log/entries.jsonl"].splitlines()
        lines[3], lines[4] = lines[4], lines[3]
        write_entries(files, lines)

    assert "entry 3 of the log says that it is number 4" in faults(verified(tampered(made, exchange)))["log"]

    def renumber(files: Files) -> None:
        third, fourth = entries_of(files)[3:5]
        lines = files["log/entries.jsonl"].splitlines()
        lines[3:5] = [canonical_json(replace(fourth, number=3)), canonical_json(replace(third, number=4))]
        write_entries(files, lines)

    found = faults(verified(tampered(made, renumber)))
    assert "the bundle's head of" in found["log"]
    assert "does not fit: the log was rewritten" in found["log"]


def one_reading_changed(files: Files) -> None:
    edit_record(
        files,
        "reading",
        lambda line: b"2026-07-15T22:0" in line,
        lambda content: content.replace(b"81505", b"71505", 1),
    )


def test_a_record_changed_with_its_entry_by_somebody_without_the_key_is_caught_by_the_heads(made: Made) -> None:
    """With the heads as they were, and with heads that he signs himself."""

    def follow(files: Files) -> None:
        kept = files["log/heads.jsonl"]
        one_reading_changed(files)
        assert files["records/reading.txt"] != made.bundle.files["records/reading.txt"]
        rewrite_log(files)
        files["log/heads.jsonl"] = kept

    found = faults(verified(tampered(made, follow)))
    assert "records" not in found
    assert "does not fit: the log was rewritten" in found["log"]

    def sign_too(files: Files) -> None:
        one_reading_changed(files)
        rewrite_log(files)
        files["log/heads.jsonl"] = b"".join(
            canonical_json(sign(one.head, OTHER_KEY)) + b"\n" for one in heads_of(files)
        )

    found = faults(verified(tampered(made, sign_too)))
    assert {"records", "log"}.isdisjoint(found)
    assert f"not by the trusted {KEY_ID}" in found["heads"]


def test_a_statement_of_another_site_in_its_place_is_named(made: Made) -> None:
    """The zip says that it is of a statement that the log knows nothing of."""
    bundle = replace(made.bundle, statement_id="lab-2-utility-peak-1-r0")
    found = faults(verified(bundle))
    assert "statement 'lab-2-utility-peak-1-r0' is not among its records" in found["figures"]


def test_without_log_or_heads_there_is_nothing_to_verify(made: Made) -> None:
    for name, says in (("log/heads.jsonl", "is missing"), ("log/entries.jsonl", "is missing")):
        with pytest.raises(BundleError, match=says):
            verified(tampered(made, lambda files, name=name: files.pop(name)))
    with pytest.raises(BundleError, match="no signed head"):
        verified(tampered(made, lambda files: files.__setitem__("log/heads.jsonl", b"")))


def test_a_record_that_is_there_twice_is_said(made: Made) -> None:
    def twice(files: Files) -> None:
        files["records/statement.txt"] += files["records/statement.txt"].splitlines(keepends=True)[0]

    assert "has a line that is no record, or one twice" in faults(verified(tampered(made, twice)))["records"]


def test_what_is_written_again_is_the_same(made: Made) -> None:
    assert write_bundle(made.bundle) == made.body
