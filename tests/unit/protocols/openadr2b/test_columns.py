from dataclasses import FrozenInstanceError, dataclass

import pytest

from protocols.openadr2b.columns import build_all, columns_of
from protocols.xml import parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    meter: str
    power_w: float
    quality: str = "good"


def test_elements_of_one_shape_stand_in_columns() -> None:
    parent = parse(b"<a>\n <b x='1'><c>1</c><d><e>2</e></d></b>\n <b><c>3</c><d><e/></d></b></a>")
    columns = columns_of(parent)
    assert columns is not None
    assert [[(item.tag, item.text) for item in column] for column in columns.values()] == [
        [("b", None), ("b", None)],
        [("c", "1"), ("c", "3")],
        [("d", None), ("d", None)],
        [("e", "2"), ("e", None)],
    ]
    assert [column[0] for column in columns.values()] == list(columns) == list(parent[0].iter())


@pytest.mark.parametrize(
    "second",
    [
        "<b><c/></b>",
        "<b><c/><d/><d/></b>",
        "<b><c/><e/></b>",
        "<b><d/><c/></b>",
        "<b><c><d/></c></b>",
        "<n:b xmlns:n='urn:n'><c/><d/></n:b>",
        "<b/><c/><d/>",
        "<b><c/></b><d/>",
    ],
)
def test_elements_of_several_shapes_do_not(second: str) -> None:
    first = "<b><c/><d/></b>"
    assert columns_of(parse(f"<a>{first}{first}</a>".encode())) is not None
    assert columns_of(parse(f"<a>{first}{second}</a>".encode())) is None
    assert columns_of(parse(f"<a>{second}{first}</a>".encode())) is None


def test_instances_are_as_if_they_were_made_one_by_one() -> None:
    made = build_all(Reading, 2, {"power_w": iter([1.0, 2.0]), "meter": ["a", "b"]})
    assert made == [Reading(meter="a", power_w=1.0), Reading(meter="b", power_w=2.0)]
    assert hash(made[0]) == hash(Reading(meter="a", power_w=1.0))
    assert build_all(Reading, 1, {"meter": ["a"], "power_w": [1.0], "quality": ["bad"]})[0].quality == "bad"
    with pytest.raises(FrozenInstanceError):
        made[0].meter = "c"  # type: ignore[misc]  # what must be refused
    assert build_all(Reading, 0, {"meter": [], "power_w": []}) == []


def test_what_a_class_has_no_place_for_or_lacks_is_refused() -> None:
    with pytest.raises(TypeError, match="needs power_w"):
        build_all(Reading, 1, {"meter": ["a"]})
    with pytest.raises(TypeError, match="more than Reading has"):
        build_all(Reading, 1, {"meter": ["a"], "power_w": [1.0], "color": ["red"]})
