import pytest

from protocols.errors import MalformedMessage, MessageTooLarge
from protocols.json import MAX_BYTES, MAX_DEPTH, parse


def test_values_come_as_they_are() -> None:
    found = parse(b'\xef\xbb\xbf {"a": [1, 1.5, -0.0, true, null, "\\u00e9\\n"], "b": {}} ')
    assert found == {"a": [1, 1.5, 0.0, True, None, "é\n"], "b": {}}
    assert isinstance(found, dict)
    assert type(found["a"][0]) is int


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "an empty body"),
        (b" \n", "an empty body"),
        (b"{", "line 1: not JSON"),
        (b'{"a": 1}\n{"b": 2}', "line 2: not JSON: Extra data"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1, "a": 1}', "'a' stands twice"),
        (b'[{"b": {"a": 1, "c": 2, "a": 3}}]', "'a' stands twice"),
        (b"[NaN]", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"[1e999]", "1e999 is too large"),
        (b"[" + b"9" * 5000 + b"]", "a number of 5000 digits"),
        (b'["\xff"]', "not UTF-8 at byte 2"),
        (b'["\n"]', "not JSON: Invalid control character"),
        (b'{"a": "' + b'\\"' * 1000, "not JSON"),
        (b"]]]]", "not JSON"),
    ],
)
def test_what_is_no_json_is_told(body: bytes, says: str) -> None:
    with pytest.raises(MalformedMessage) as told:
        parse(body)
    assert says in str(told.value)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b" " * (MAX_BYTES + 1), f"{MAX_BYTES + 1} bytes"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "levels"),
        (b'{"a":' * 100_000, "levels"),
        (b"[" + b"1," * 300_000 + b"1]", "values"),
        (b"[" + b"{}," * 200_000 + b"1]", "values"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_built(body: bytes, says: str) -> None:
    with pytest.raises(MessageTooLarge, match=says):
        parse(body)


def test_brackets_in_text_are_text() -> None:
    text = '[{"\\' * 100
    assert parse(b'["' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"]') == [text]


def test_the_deepest_that_is_allowed() -> None:
    found = parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        assert isinstance(found, list)
        (found,) = found
    assert found == []
