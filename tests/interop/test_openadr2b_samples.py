"""Payloads of other implementations: what the schema accepts we read, what it refuses we refuse with a clear error."""

import re
from pathlib import Path

import openleadr
import pytest
from lxml import etree

from protocols.errors import MessageError
from protocols.openadr2b import codec
from protocols.openadr2b.neutral import describe
from protocols.xml import parse

CLEAR = re.compile(r"^line \d+: \w+:\S+ .*(expected|lacks|needs|has no)")

# Samples that the schema refuses and we take, each with its reason: none so far.
TAKEN_ALL_THE_SAME: dict[str, str] = {}


def verdicts(shared: Path) -> list[tuple[str, Path, str]]:
    folder = shared / "data" / "openadr2b"
    lines = (folder / "samples_validation.tsv").read_text().splitlines()
    return [
        (verdict, folder / "samples" / path, path)
        for verdict, _, path in (line.split("\t")[:3] for line in lines if line.strip())
    ]


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(Path(openleadr.__file__).parent / "schema" / "oadr_20b.xsd"))


def test_every_sample_gets_the_verdict_of_the_schema(shared: Path) -> None:
    samples = verdicts(shared)
    assert {verdict for verdict, _, _ in samples} == {"OK", "FAIL"}
    wrong: list[str] = []
    for verdict, file, path in samples:
        try:
            codec.decode_any(parse(file.read_bytes()))
        except MessageError as refused:
            clear = refused.line is not None and CLEAR.search(str(refused)) is not None
            if verdict == "OK" or not clear:
                wrong.append(f"{path}: {refused}")
        else:
            if verdict == "FAIL" and path not in TAKEN_ALL_THE_SAME:
                wrong.append(f"{path}: taken")
    assert wrong == []


def test_every_message_is_written_again_as_the_schema_wants_it(shared: Path, schema: etree.XMLSchema) -> None:
    written = 0
    for verdict, file, path in verdicts(shared):
        if verdict == "OK":
            _, value = codec.decode_any(parse(file.read_bytes()))
            if isinstance(value, codec.Message):
                body = codec.encode(value)
                schema.assertValid(etree.fromstring(body))
                assert codec.decode(body) == value, path
                written += 1
    assert written > 70


def test_every_sample_can_be_described(shared: Path) -> None:
    described = [describe(file.read_bytes()) for verdict, file, _ in verdicts(shared) if verdict == "OK"]
    assert {found["message"] for found in described} >= {"oadrDistributeEvent", "oadrUpdateReport", "currencyPerKWh"}
    assert any(found["signed"] for found in described)
    assert all(found["protocol"] == "openadr" and found["version"] == "2.0b" for found in described)


def test_an_event_of_another_implementation_in_neutral_form(shared: Path) -> None:
    sample = shared / "data" / "openadr2b" / "samples" / "avob" / "eievent" / "oadrDistributeEvent.xml"
    found = describe(sample.read_bytes())
    (event,) = found["events"]
    assert (event.event_id, event.revision, event.rank) == ("Event_939393", 1, 1)
    assert [signal.kind for signal in event.signals] == ["level", "price"]
    assert [interval.value for interval in event.signals[0].intervals] == [3.0, 2.0]
    assert [price["price_per_kwh"] for price in found["prices"]] == [1.2, 1.3]
    assert {price["currency"] for price in found["prices"]} == {"USD"}
