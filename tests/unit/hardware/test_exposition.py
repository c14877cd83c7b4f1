import math
from datetime import UTC, datetime

import pytest

from hardware.exposition import ExpositionError, parse

DCGM = """\
# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="n1"} 31
# HELP DCGM_FI_DEV_POWER_USAGE Power draw (in W).
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="n1"} 67.692
DCGM_FI_DEV_POWER_USAGE{gpu="1", UUID="GPU-b",Hostname="n1",} 7.0e+02 1782907200000
DCGM_FI_DEV_POWER_USAGE_INSTANT{gpu="0",UUID="GPU-a"} 70
"""


def test_a_page_of_the_dcgm_exporter() -> None:
    page = parse(DCGM)
    assert [sample.name for sample in page.samples][1:3] == ["DCGM_FI_DEV_POWER_USAGE"] * 2
    assert page.kinds == {"DCGM_FI_DEV_GPU_TEMP": "gauge", "DCGM_FI_DEV_POWER_USAGE": "gauge"}
    assert page.helps["DCGM_FI_DEV_POWER_USAGE"] == "Power draw (in W)."
    first, second = page.samples[1:3]
    assert (first.value, first.at, first.labels["modelName"]) == (67.692, None, "NVIDIA H100 80GB HBM3")
    assert (second.value, second.at) == (700.0, datetime(2026, 7, 1, 12, tzinfo=UTC))
    assert second.labels == {"gpu": "1", "UUID": "GPU-b", "Hostname": "n1"}


def test_only_one_metric_is_looked_at() -> None:
    page = parse(DCGM + "DCGM_FI_DEV_GPU_TEMP this is no sample\n", only="DCGM_FI_DEV_POWER_USAGE")
    assert [sample.value for sample in page.samples] == [67.692, 700.0]
    assert page.kinds == {"DCGM_FI_DEV_POWER_USAGE": "gauge"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("-1.5e-3", -0.0015),
        (".5", 0.5),
        ("+5.", 5.0),
        ("+Inf", math.inf),
        ("-Inf", -math.inf),
        ("NaN", math.nan),
    ],
)
def test_values(text: str, value: float) -> None:
    (sample,) = parse(f"x {text}\n").samples
    assert sample.value == value or (math.isnan(sample.value) and math.isnan(value))


def test_escapes_spaces_and_odd_line_ends_in_labels() -> None:
    (sample,) = parse('  x { a = "q\\"b\\\\c\\nd}{,=" , b="\u2028\r" }\t1\n').samples
    assert sample.labels == {"a": 'q"b\\c\nd}{,=', "b": "\u2028\r"}


def test_comments_blank_lines_and_an_empty_page() -> None:
    assert parse("").samples == ()
    page = parse('\n# a comment\n#HELP x none\n# EOF\n# HELP x two\\nlines, \\\\ and \\" as they are\n# HELP y\n')
    assert (page.samples, page.helps) == ((), {"x": 'two\nlines, \\ and \\" as they are', "y": ""})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x 1\nx 12", "the last line does not end"),
        ("x\n", "line 1: no sample"),
        ("x1\n", "no sample"),
        ("\n1x 1\n", "line 2: no sample"),
        ("x 1 2 3\n", "no sample"),
        ('x{a="b} 1\n', "no sample"),
        ('x{a="b"} \n', "no sample"),
        ("x 1\r\n", "no sample"),
        ("x one\n", "no number: 'one'"),
        ("x 1_000\n", "no number"),
        ("x \u0661\n", "no number"),
        ("x 0x10\n", "no number"),
        ("x 1.5e\n", "no number"),
        ('x{a="b" c="d"} 1\n', "no label"),
        ("x{a=b} 1\n", "no label"),
        ('x{,a="b"} 1\n', "no label"),
        ('x{"utf.8"="b"} 1\n', "no label"),
        ('x{a="b",a="c"} 1\n', "label a comes twice"),
        ('x{a="\\t"} 1\n', "no escape"),
        ("x 1 99999999999999999999\n", "no instant"),
        ("# TYPE x gauge\n# TYPE x gauge\n", "a second TYPE line"),
        ("# TYPE x watts\n", "'watts' is no type"),
    ],
)
def test_what_is_not_the_format_is_refused(text: str, why: str) -> None:
    with pytest.raises(ExpositionError, match=why):
        parse(text)


def test_a_line_made_to_take_long_does_not() -> None:
    many = ",".join(f'l{number}="v"' for number in range(50_000))
    assert len(parse(f"x{{{many}}} 1\n").samples[0].labels) == 50_000
    for hostile in (
        'x{a="' + "\\" * 200_000,
        "x{" + 'a="",' * 50_000 + "} z",
        "x" * 300_000,
        "x " + " " * 300_000 + "{",
    ):
        with pytest.raises(ExpositionError):
            parse(hostile + "\n")
