"""A bundle holds by itself, and whatever is done to it afterwards is caught and named."""

import asyncio
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.bundle_file import write_bundle
from gateway.domain.evidence import canonical_json
from gateway.domain.tariff.sheet import shipped_tariff_sheets
from gateway.domain.tree_head import sign
from tests.bundle_record import (
    KEY_ID,
    OTHER_KEY,
    STATEMENT_ID,
    Files,
    Made,
    drop_record,
    edit_record,
    faults,
    heads_of,
    make,
    rewrite_log,
    tampered,
    verified,
)

EVENT_HOUR = b"2026-07-15T22:0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return asyncio.run(make(tmp_path_factory.mktemp("record")))


def test_everything_holds_and_the_figures_are_computed_from_raw_readings(made: Made) -> None:
    found = verified(made.bundle, *made.heads)
    assert faults(found) == {}
    assert found.holds
    held = {one.name: one.holds for one in found.checks}
    assert held["figures"].endswith("20.000 kWh, 15.00 USD")
    # Afternoons of 16 days; of those before, all but the first interval, which readings of an hour before may reach.
    assert held["energy"].startswith("1496 of 1524 closed intervals")
    assert "your 2 heads" in held["your heads"]


def test_the_same_statement_under_the_same_head_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    again = asyncio.run(make(tmp_path))
    assert again.body == made.body
    assert write_bundle(made.bundle) == made.body


def _root(leaves: Sequence[bytes]) -> bytes:
    """As RFC 6962, section 2.1 states it, word by word."""
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    under = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\x01" + _root(leaves[:under]) + _root(leaves[under:])).digest()


def test_it_can_be_checked_by_other_means_as_its_readme_says(made: Made) -> None:
    with zipfile.ZipFile(io.BytesIO(made.body)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(files["manifest.json"])
    assert {name: sha256(files[name]).hexdigest() for name in manifest["files"]} == manifest["files"]
    entries = files["log/entries.jsonl"].splitlines()
    heads = [json.loads(line) for line in files["log/heads.jsonl"].splitlines()]
    for signed in heads:
        head = signed["head"]
        assert _root(entries[: head["size"]]).hex() == head["root_sha256"]
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed["public_key"]))
        key.verify(bytes.fromhex(signed["signature"]), canonical_json(head))
    assert heads[1]["head"]["previous_sha256"] == sha256(canonical_json(heads[0]["head"])).hexdigest()
    for name in (name for name in files if name.startswith("records/")):
        for line in files[name].splitlines():
            number, _, content = line.partition(b" ")
            assert json.loads(entries[int(number)])["sha256"] == sha256(content).hexdigest()
    for name in (name for name in files if name.startswith("messages/")):
        assert name == f"messages/{sha256(files[name]).hexdigest()}"


def test_what_is_taken_on_trust_is_said(made: Made) -> None:
    without = "\n".join(verified(made.bundle, key_id=None).trust)
    assert "Capture" in without
    assert "you named none" in without
    assert "did not rewrite the whole log" in without
    with_both = "\n".join(verified(made.bundle, made.heads[0]).trust)
    assert "you named none" not in with_both
    assert "did not rewrite" not in with_both
    assert "Capture" in with_both


def _hour(files: Files, change: Callable[[list[list[object]]], object]) -> None:
    """Change the readings of the event's hour."""

    def changed(content: bytes) -> bytes:
        readings = json.loads(content)
        change(readings)
        return canonical_json(readings)

    edit_record(files, "reading", lambda line: EVENT_HOUR in line, changed)


def one_reading_changed(files: Files) -> None:
    _hour(files, lambda readings: readings[5].__setitem__(1, 70_000.0))


def one_reading_dropped(files: Files) -> None:
    _hour(files, lambda readings: readings.pop(5))


def one_reading_moved(files: Files) -> None:
    _hour(files, lambda readings: readings[5].__setitem__(0, "2026-07-15T22:05:30Z"))


def one_reading_added(files: Files) -> None:
    _hour(files, lambda readings: readings.insert(6, ["2026-07-15T22:05:30Z", 1.0, None, "good"]))


READINGS = (one_reading_changed, one_reading_dropped, one_reading_moved, one_reading_added)


@pytest.mark.parametrize("tamper", READINGS, ids=lambda one: one.__name__)
def test_a_reading_that_is_not_what_was_logged_is_named_by_its_hour_and_by_the_figure(
    made: Made, tamper: Callable[[Files], None]
) -> None:
    found = faults(verified(tampered(made, tamper)))
    assert "the hour of readings from 2026-07-15T22:00:00Z of meter site" in found["records"]
    assert "is not what was logged" in found["records"]
    assert "the interval at 2026-07-15 22:05:00Z is stated as" in found["energy"]
    assert "is stated as" in found["figures"]


@pytest.mark.parametrize("tamper", READINGS, ids=lambda one: one.__name__)
def test_the_whole_log_rewritten_by_the_owner_of_the_key_is_caught_by_the_readers_heads(
    made: Made, tamper: Callable[[Files], None]
) -> None:
    def everything(files: Files) -> None:
        tamper(files)
        rewrite_log(files)

    found = faults(verified(tampered(made, everything), made.heads[-1]))
    assert "your head of 2026-07-16 10:00:00Z" in found["your heads"]
    assert "the log was rewritten" in found["your heads"]
    assert {"heads", "log", "records"}.isdisjoint(found)


def test_an_hour_of_readings_left_out_is_missed(made: Made) -> None:
    def leave_out(files: Files) -> None:
        number = edit_record(files, "reading", lambda line: b"2026-07-10T22:0" in line, lambda content: content)
        drop_record(files, "reading", number)

    found = faults(verified(tampered(made, leave_out)))
    assert "the hour of readings from 2026-07-10T22:00:00Z of meter site" in found["records"]
    assert "was left out of the bundle" in found["records"]


def test_a_message_swapped_for_another_is_named(made: Made) -> None:
    def swap(files: Files) -> None:
        (name,) = [name for name in files if name.startswith("messages/")]
        files[name] = files[name].replace(b"[2]", b"[3]")

    assert "was swapped" in faults(verified(tampered(made, swap)))["signal"]


def test_an_event_that_the_message_does_not_give_is_named(made: Made) -> None:
    """The log is rewritten with the event, so that only the message itself speaks against it."""

    def change(files: Files) -> None:
        old, ours = json.loads(files["events.json"])
        ours["event"]["signals"][0]["intervals"][0]["value"] = 3
        files["events.json"] = canonical_json([old, ours])
        edit_record(
            files,
            "event_revision",
            lambda line: b"peak-1" in line,
            lambda content: content.replace(b'\\"value\\":2', b'\\"value\\":3'),
        )
        rewrite_log(files)

    found = faults(verified(tampered(made, change)))
    assert found == {"signal": "the event's signals[0].intervals[0].value is recorded as 3, the message says 2"}


@pytest.mark.parametrize(
    ("figure", "value", "says"),
    [
        ("duration_s", 1800, "duration_s is recorded as 1800, the message says 3600"),
        ("test", True, "test is recorded as true, the message says false"),
        ("status", "cancelled", 'status is recorded as "cancelled", the message says "far"'),
    ],
)
def test_what_settlement_asks_of_an_event_is_held_against_the_message(
    made: Made, figure: str, value: object, says: str
) -> None:
    def change(files: Files) -> None:
        old, ours = json.loads(files["events.json"])
        ours["event"][figure] = value
        files["events.json"] = canonical_json([old, ours])

    assert says in faults(verified(tampered(made, change)))["signal"]


def test_an_event_left_out_that_the_baseline_has_to_know_of_is_named(made: Made) -> None:
    def leave_out(files: Files) -> None:
        old, ours = json.loads(files["events.json"])
        assert old["event"]["event_id"] == "old-1"
        files["events.json"] = canonical_json([ours])

    found = faults(verified(tampered(made, leave_out)))
    assert found["events"] == "event old-1 of utility was left out"
    assert "inputs_sha256" in found["figures"]


def test_an_answer_that_was_not_ours_is_named(made: Made) -> None:
    def opt_out(files: Files) -> None:
        old, ours = json.loads(files["events.json"])
        old["decision"]["opt"] = "out"
        files["events.json"] = canonical_json([old, ours])

    found = faults(verified(tampered(made, opt_out)))
    assert found["events"] == 'event old-1: decision.opt is "out", logged was "in"'


def test_a_rule_sheet_altered_is_named_by_what_was_altered(made: Made) -> None:
    def alter(files: Files) -> None:
        files["rule.toml"] = files["rule.toml"].replace(b"clamp = [0.8, 1.2]", b"clamp = [0.5, 1.5]")
        assert b"[0.5, 1.5]" in files["rule.toml"]

    found = faults(verified(tampered(made, alter)))
    assert "method.adjustment.clamp" in found["rule"]
    assert "it was altered" in found["rule"]
    assert "inputs_sha256" in found["figures"]


def test_a_tariff_sheet_altered_is_named_by_what_was_altered(made: Made) -> None:
    def alter(files: Files) -> None:
        files["tariff.toml"] = files["tariff.toml"].replace(b"loss_factor = 1", b"loss_factor = 2")
        assert b"loss_factor = 2" in files["tariff.toml"]

    found = faults(verified(tampered(made, alter)))
    assert "energy.loss_factor is" in found["tariff"]
    assert "it was altered" in found["tariff"]
    assert "amount is stated as" in found["figures"]


def test_another_tariff_is_named(made: Made) -> None:
    def exchange(files: Files) -> None:
        files["tariff.toml"] = shipped_tariff_sheets()["hainan-2025-draft"].encode()

    found = faults(verified(tampered(made, exchange)))
    assert "the sheet is of hainan-2025-draft" in found["tariff"]
    assert "figures" in found


def test_a_head_signed_again_by_another_key_is_named(made: Made) -> None:
    def sign_again(files: Files) -> None:
        first, last = heads_of(files)
        files["log/heads.jsonl"] = b"".join(
            canonical_json(head) + b"\n" for head in (first, sign(last.head, OTHER_KEY))
        )

    assert f"not by the trusted {KEY_ID}" in faults(verified(tampered(made, sign_again)))["heads"]
    # Without a key of the reader's own the heads still do not agree with each other.
    assert "is signed by key" in faults(verified(tampered(made, sign_again), key_id=None))["heads"]


def test_a_head_left_out_is_named(made: Made) -> None:
    def leave_out(files: Files) -> None:
        files["log/heads.jsonl"] = files["log/heads.jsonl"].splitlines()[1] + b"\n"

    assert "one is missing or changed" in faults(verified(tampered(made, leave_out)))["heads"]


def test_a_version_withheld_is_named(made: Made) -> None:
    """A second statement of the event is logged; the bundle is of the first and does not show the second."""

    def second(files: Files) -> None:
        body = files["records/statement.txt"].splitlines()[0].partition(b" ")[2]
        last = len(files["log/entries.jsonl"].splitlines())
        files["records/statement.txt"] += b"%d %s\n" % (last, body.replace(b"-r0", b"-r1"))
        entry = files["log/entries.jsonl"].splitlines()[-1]
        told = {**json.loads(entry), "number": last, "kind": "statement", "key": "2"}
        files["log/entries.jsonl"] += canonical_json(told) + b"\n"
        heads = heads_of(files)
        grown = replace(heads[-1].head, size=last + 1)
        files["log/heads.jsonl"] = b"".join(
            canonical_json(head) + b"\n" for head in (heads[0], replace(heads[-1], head=grown))
        )
        rewrite_log(files)

    with_both = tampered(made, second)
    found = faults(verified(with_both))
    later = STATEMENT_ID.replace("-r0", "-r1")
    assert list(found) == ["versions"]
    assert found["versions"].startswith(f"{later} was issued later for the same event")
    # It is a copy, and so of the same number: two statements of one event.
    assert found["versions"].endswith(
        f"{later} is version 1 in place of nothing, and was issued after version 1, {STATEMENT_ID}: "
        "one of the event's statements is not as it was, or there are two"
    )
    last = max(int(line.partition(b" ")[0]) for line in with_both.files["records/statement.txt"].splitlines())

    def withhold(files: Files) -> None:
        second(files)
        drop_record(files, "statement", last)

    found = faults(verified(tampered(made, withhold)))
    assert found == {"records": f"statement 2 (entry {last}) is in the log and was left out of the bundle"}


def test_an_entry_taken_out_of_the_log_is_caught(made: Made) -> None:
    def take_out(files: Files) -> None:
        files["log/entries.jsonl"] = b"".join(
            line + b"\n" for index, line in enumerate(files["log/entries.jsonl"].splitlines()) if index != 3
        )

    found = faults(verified(tampered(made, take_out)))
    assert "entry 3 of the log says that it is number 4" in found["log"]


def test_money_that_does_not_follow_is_named_with_both_values(made: Made) -> None:
    def dearer(files: Files) -> None:
        files["terms.json"] = files["terms.json"].replace(b'"0.75"', b'"0.80"')

    assert (
        'price_per_kwh is stated as "0.75" and comes to "0.80"' in faults(verified(tampered(made, dearer)))["figures"]
    )


def test_a_closed_interval_that_its_readings_do_not_give_is_named_with_both_values(made: Made) -> None:
    """By somebody who owns the key and has the figures follow from it: the raw readings speak against it."""

    def change(files: Files) -> None:
        edit_record(
            files,
            "energy",
            lambda line: b'"starts_at":"2026-07-10T22:05:00Z"' in line,
            lambda content: content.replace(b'"energy_wh":', b'"energy_wh":1'),
        )
        rewrite_log(files)

    found = faults(verified(tampered(made, change)))
    assert "the interval at 2026-07-10 22:05:00Z is stated as 1" in found["energy"]
    assert "records" not in found


def test_content_that_cannot_be_read_is_a_fault_and_no_crash(made: Made) -> None:
    def spoil(files: Files) -> None:
        files["events.json"] = b"[1]"

    assert "events.json cannot be read" in faults(verified(tampered(made, spoil)))["records"]


def test_a_head_of_another_log_or_a_later_one_is_said(made: Made) -> None:
    other = replace(made.heads[0].head, log_id="lab-2")
    found = faults(verified(made.bundle, sign(other, OTHER_KEY)))
    assert "is of log lab-2" in found["your heads"]
    later = replace(made.heads[1], head=replace(made.heads[1].head, size=10**6))
    assert "ask for one that is made later" in faults(verified(made.bundle, later))["your heads"]
