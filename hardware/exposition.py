"""Prometheus' text exposition format, version 0.0.4, read strictly.

https://prometheus.io/docs/instrumenting/exposition_formats/ is the source: lines end in a line feed, also the last one
(so that half an answer is seen as such); label values know the escapes for backslash, quote and line feed; values are
as Go writes floats, NaN and infinities included; timestamps are milliseconds since 1970.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_SAMPLE = re.compile(
    rf"(?P<name>{_NAME})(?:[ \t]*\{{(?P<labels>(?:[^\"}}]|\"(?:[^\"\\]|\\.)*\")*)\}}[ \t]*|[ \t]+)"
    r"(?P<value>[^\s{}]+)(?:[ \t]+(?P<at>-?[0-9]+))?[ \t]*"
)
_LABEL = re.compile(r"[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*\"((?:[^\"\\]|\\.)*)\"[ \t]*(?:,|$)")
_VALUE = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan)", re.IGNORECASE)
_COMMENT = re.compile(rf"#[ \t]+(?P<what>HELP|TYPE)[ \t]+(?P<name>{_NAME})(?:[ \t]+(?P<rest>.*))?")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"\\": "\\", '"': '"', "n": "\n"}
_KINDS = {"counter", "gauge", "histogram", "summary", "untyped"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ExpositionError(ValueError):
    """The text is not in the format; says the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of one series. ``at`` is the exporter's own stamp, which few write."""

    name: str
    labels: Mapping[str, str]
    value: float
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposition:
    """All samples in the order of the text, and what TYPE and HELP lines say by metric."""

    samples: tuple[Sample, ...]
    kinds: Mapping[str, str]
    helps: Mapping[str, str]


def parse(text: str, *, only: str | None = None) -> Exposition:
    """Read a whole text; with ``only`` just the lines of that metric, which is quick. Raises ``ExpositionError``."""
    if text and not text.endswith("\n"):
        raise ExpositionError("the last line does not end: the answer was cut off")
    samples: list[Sample] = []
    kinds: dict[str, str] = {}
    helps: dict[str, str] = {}
    for number, line in _lines(text):
        try:
            if line.startswith("#"):
                _note(line, only, kinds, helps)
            elif only is None or line.startswith(only):
                sample = _sample(line)
                if only is None or sample.name == only:
                    samples.append(sample)
        except ExpositionError as fault:
            raise ExpositionError(f"line {number}: {fault}") from fault
    return Exposition(samples=tuple(samples), kinds=kinds, helps=helps)


def quoted(value: str) -> str:
    """A label value in quotes, escaped: the same in an exposition and in a query."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _lines(text: str) -> Iterator[tuple[int, str]]:
    # Not splitlines(): a label value may hold what Python takes for the end of a line.
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip(" \t")
        if stripped:
            yield number, stripped


def _note(line: str, only: str | None, kinds: dict[str, str], helps: dict[str, str]) -> None:
    match = _COMMENT.fullmatch(line)
    if match is None or (only is not None and match["name"] != only):
        return  # Any other comment is none of ours.
    name, rest = match["name"], match["rest"] or ""
    notes = kinds if match["what"] == "TYPE" else helps
    if name in notes:
        raise ExpositionError(f"a second {match['what']} line for {name}")
    if notes is kinds and rest not in _KINDS:
        raise ExpositionError(f"{rest!r} is no type of metric")
    notes[name] = rest if notes is kinds else _unescaped(rest, strict=False)


def _sample(line: str) -> Sample:
    match = _SAMPLE.fullmatch(line)
    if match is None:
        raise ExpositionError(f"no sample: {line[:80]!r}")
    if not _VALUE.fullmatch(match["value"]):
        raise ExpositionError(f"no number: {match['value'][:40]!r}")
    return Sample(
        name=match["name"],
        labels=_labels(match["labels"] or ""),
        value=float(match["value"]),
        at=None if match["at"] is None else _instant(match["at"]),
    )


def _labels(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    place, end = 0, len(text.rstrip(" \t"))
    while place < end:
        match = _LABEL.match(text, place)
        if match is None:
            raise ExpositionError(f"no label: {text[place : place + 40]!r}")
        if match[1] in labels:
            raise ExpositionError(f"label {match[1]} comes twice")
        labels[match[1]] = _unescaped(match[2], strict=True)
        place = match.end()
    return labels


def _unescaped(text: str, *, strict: bool) -> str:
    def plain(match: re.Match[str]) -> str:
        if match[1] in _ESCAPED and (strict or match[1] != '"'):
            return _ESCAPED[match[1]]
        if strict:
            raise ExpositionError(f"no escape: {match[0]!r}")
        return match[0]

    return _ESCAPE.sub(plain, text)


def _instant(milliseconds: str) -> datetime:
    try:
        return _EPOCH + timedelta(milliseconds=int(milliseconds))
    except (OverflowError, ValueError) as cause:
        raise ExpositionError(f"no instant: {milliseconds[:40]}") from cause
