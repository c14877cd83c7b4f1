from datetime import UTC, datetime, timedelta, timezone

import pytest

from protocols.openadr2b import values


def refused(simple: values.Simple, text: str) -> bool:
    try:
        simple.parse(text)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("2030-01-31T12:00:00", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("2030-01-31T12:00:00.5Z", datetime(2030, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2030-01-31T12:00:00.Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("2030-01-31T12:00:00.123456789Z", datetime(2030, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)),
        ("\n 2030-01-31T12:00:00Z\t", datetime(2030, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_instants(text: str, value: datetime) -> None:
    assert values.DATE_TIME.parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2030-01-31",
        "20300131T120000Z",
        "2030-01-31T12:00:00+01:00",
        "2030-01-31 12:00:00Z",
        "2030-02-30T12:00:00Z",
        "2030-01-31T24:00:00Z",
        "2030-W05-4T12:00:00Z",
        "20300131T120000.000Z",
        "2030-01-31T12:00:0\u0661Z",
        "+030-01-31T12:00:00Z",
        "2030-01-31T12:00: 0Z",
        "-2030-01-31T12:00:00Z",
        "\uff12030-01-31T12:00:00Z",
    ],
)
def test_what_is_no_instant(text: str) -> None:
    assert refused(values.DATE_TIME, text)


def test_instants_are_written_in_utc() -> None:
    east = datetime(2030, 1, 31, 14, tzinfo=timezone(timedelta(hours=2)))
    assert values.DATE_TIME.write(east) == "2030-01-31T12:00:00Z"
    with pytest.raises(ValueError, match="not aware"):
        values.DATE_TIME.write(datetime(2030, 1, 31))  # noqa: DTZ001 - what must be refused


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT0S", 0),
        ("PT15M", 900),
        ("PT90M", 5400),
        ("P1DT2H3M4S", 93_784),
        ("-PT5M", -300),
        ("+PT5M", 300),
        ("P1W", None),
        ("2W", 1_209_600),
        ("P5M", 5 * 30 * 86_400),
        ("P1Y", 365 * 86_400),
        ("P", 0),
        ("PT", 0),
        ("PT1.5S", None),
        ("PTS", None),
        ("", None),
        (" PT1S", None),
        ("P99999999999Y", None),
        ("PT1H1D", None),
    ],
)
def test_durations_follow_the_schema(text: str, seconds: int | None) -> None:
    if seconds is None:
        assert refused(values.DURATION, text)
    else:
        assert values.DURATION.parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "PT0S"), (900, "PT15M"), (5400, "PT1H30M"), (86_400, "P1D"), (93_784, "P1DT2H3M4S"), (-300, "-PT5M")],
)
def test_durations_are_written_in_whole_seconds(seconds: int, text: str) -> None:
    assert values.DURATION.write(timedelta(seconds=seconds)) == text
    with pytest.raises(ValueError, match="whole seconds"):
        values.DURATION.write(timedelta(seconds=seconds, milliseconds=500))


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), (" -1.5e3 ", -1500.0), (".5", 0.5), ("INF", float("inf"))])
def test_numbers(text: str, value: float) -> None:
    assert values.FLOAT.parse(text) == value


@pytest.mark.parametrize("text", ["", "1_0", "0x10", "infinity", "nan", "1,5", "1 2"])
def test_what_is_no_number(text: str) -> None:
    assert refused(values.FLOAT, text)


def test_numbers_that_are_not_finite_keep_their_names() -> None:
    assert [values.FLOAT.write(values.FLOAT.parse(text)) for text in ("NaN", "INF", "-INF")] == ["NaN", "INF", "-INF"]


@pytest.mark.parametrize("text", ["-1", "1.0", "4294967296", "", "1e3"])
def test_what_is_no_count(text: str) -> None:
    assert values.COUNT.parse(" 4294967295 ") == 4_294_967_295
    assert refused(values.COUNT, text)


def test_an_enumeration_knows_its_words_and_extensions() -> None:
    closed, open_ended = values.one_of("far", "near"), values.one_of("far", or_extension=True)
    assert closed.parse("\n far ") == "far"
    assert open_ended.parse("x-own") == "x-own"
    for simple, word in ((closed, "x-own"), (closed, "FAR"), (open_ended, "own"), (open_ended, "x-")):
        with pytest.raises(ValueError, match="one of far"):
            simple.parse(word)
        with pytest.raises(ValueError, match="one of far"):
            simple.write(word)


def test_text_that_xml_cannot_carry_is_replaced() -> None:
    assert values.TEXT.write("a\x00b\x1bc\ufffe\n") == "a\ufffdb\ufffdc\ufffd\n"
