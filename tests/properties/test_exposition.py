import math
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hardware.exposition import ExpositionError, Sample, parse, quoted

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)
label_names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
label_values = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
milliseconds = st.integers(0, 4_102_444_800_000)
samples = st.builds(
    Sample,
    name=names,
    labels=st.dictionaries(label_names, label_values, max_size=4),
    value=st.floats(allow_nan=False),
    at=st.none() | milliseconds.map(lambda since: EPOCH + timedelta(milliseconds=since)),
)
blanks = st.sampled_from([" ", "\t", "  "])


def written(sample: Sample, blank: str) -> str:
    labels = f"{blank},{blank}".join(f"{name}{blank}={blank}{quoted(value)}" for name, value in sample.labels.items())
    at = "" if sample.at is None else f"{blank}{(sample.at - EPOCH) // timedelta(milliseconds=1)}"
    return f"{blank}{sample.name}{blank}{{{labels}}}{blank}{sample.value!r}{at}\n"


@given(listed=st.lists(samples, max_size=8), blank=blanks)
def test_what_is_written_is_read(listed: list[Sample], blank: str):
    text = "# a comment\n\n".join(written(sample, blank) for sample in listed)
    assert parse(text).samples == tuple(listed)
    for name in {sample.name for sample in listed}:
        assert parse(text, only=name).samples == tuple(sample for sample in listed if sample.name == name)


def test_what_is_written_minimal_example():
    sample = Sample(name="x", labels={"a": '"\\\n'}, value=-math.inf)
    assert written(sample, " ") == ' x {a = "\\"\\\\\\n"} -inf\n'
    assert parse(written(sample, " ")).samples == (sample,)


@given(text=st.text(st.sampled_from('x_{}=",\\n #TYPEHL019.eEinfa+-\t\n'), max_size=60) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str):
    try:
        page = parse(text)
    except ExpositionError:
        return
    assert text == "" or text.endswith("\n")
    assert len(page.samples) <= text.count("\n")


def test_any_text_minimal_example():
    assert parse("x 0\n").samples == (Sample(name="x", labels={}, value=0.0),)
