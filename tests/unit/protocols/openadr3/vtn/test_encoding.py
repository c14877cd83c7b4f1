from dataclasses import replace
from datetime import timedelta

from protocols.openadr3 import model
from protocols.openadr3.codec import encode
from protocols.openadr3.names import Version
from protocols.openadr3.vtn_encoding import Encoder
from tests.unit.protocols.openadr3.objects import HELD, NOON, event


def views() -> list[model.Event]:
    """Views of one event that differ in what may be hidden of it, and one of another revision."""
    asked = tuple(
        model.ReportDescriptor(payload_type=kind, targets=targets)
        for kind, targets in (("USAGE", ("a",)), ("DEMAND", ("a",)), ("USAGE", ("a", "b")))
    )
    whole = event(targets=("a", "b"), report_descriptors=asked)
    return [
        whole,
        replace(whole, targets=("a",)),
        replace(whole, targets=()),
        *(replace(whole, report_descriptors=asked[:count]) for count in range(3)),
        replace(whole, report_descriptors=asked[1:2]),
        replace(whole, report_descriptors=asked[2:]),
        replace(whole, metadata=replace(HELD, modified_at=NOON + timedelta(microseconds=1))),
        replace(whole, metadata=replace(HELD, id="event-2")),
    ]


def test_no_view_is_given_out_for_another() -> None:
    for encoder in (Encoder(), Encoder(most_bytes=500), Encoder(most_bytes=0)):
        for value in (*views(), *reversed(views())):
            assert encoder.one(value) == encode(value, Version.V3_1)
        assert encoder._bytes == sum(len(body) for body in encoder._kept.values()) <= encoder._most_bytes


def test_a_list_is_the_objects_of_it() -> None:
    encoder = Encoder()
    first, second = (encode(value, Version.V3_1) for value in views()[:2])
    assert encoder.all(views()[:2]) == b"[" + first + b"," + second + b"]"
    assert encoder.all([]) == b"[]"
