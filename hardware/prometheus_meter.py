"""Power meters read over HTTP from what others already collect: an exporter's metrics page, or a Prometheus server.

A sum over series is only a measurement while all of them are there: an exporter that died looks exactly like load
that was shed. So ``Series.expected`` says how many there must be, and a missing or unreadable one makes the meter
silent. The same series told more than once (an exporter that repeats a GPU for each of its MIG instances or pods)
counts once by the label named in ``once_by``.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from hardware.device import PowerMeter, PowerReading
from hardware.errors import MeterSilent
from hardware.exposition import parse, quoted

DCGM_POWER = "DCGM_FI_DEV_POWER_USAGE"
"""Watts of one GPU, a gauge of NVIDIA's DCGM exporter."""

MAX_BODY_BYTES = 4 * 1024 * 1024

_TEXT = "text/plain;version=0.0.4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What is added up: the series of ``metric`` that carry all of ``labels``, each times ``scale`` to watts."""

    metric: str
    labels: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1.0
    expected: int | None = None
    once_by: str | None = None

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels is meant. A label that must be empty may be absent, as in PromQL."""
        return all(labels.get(name, "") == value for name, value in self.labels.items())

    def query(self, window_s: int) -> str:
        """The PromQL selector of the samples of the last ``window_s``, with their own stamps."""
        labels = ",".join(f"{name}={quoted(value)}" for name, value in self.labels.items())
        return f"{self.metric}{{{labels}}}[{window_s}s]"


class _Point(NamedTuple):
    labels: Mapping[str, str]
    value: float
    at: datetime | None


class ExporterMeter(PowerMeter):
    """The sum over the metrics pages of some exporters, all read at once.

    ``timeout_s`` covers each page from connection to last byte. The reading is stamped with the oldest of the samples'
    own stamps where the exporters write any, else with ``now()`` when the last page had come.
    """

    def __init__(
        self,
        *,
        meter_id: str,
        urls: Sequence[str],
        series: Series,
        session: aiohttp.ClientSession,
        now: Callable[[], datetime],
        timeout_s: float = 0.8,
    ) -> None:
        self._meter_id = meter_id
        self._urls = tuple(urls)
        self._series = series
        self._session = session
        self._now = now
        self._timeout_s = timeout_s

    async def read(self) -> tuple[PowerReading, ...]:
        """One reading. Raises ``MeterSilent``."""
        pages = await asyncio.gather(*(self._page(url) for url in self._urls))
        power_w, at = _total([point for page in pages for point in page], self._series, self._meter_id)
        return (PowerReading(meter_id=self._meter_id, power_w=power_w, measured_at=at or self._now()),)

    async def _page(self, url: str) -> list[_Point]:
        answer = await _get(
            self._session, url, params={}, accept=_TEXT, timeout_s=self._timeout_s, meter_id=self._meter_id
        )
        if answer.status != 200 or answer.content_type != "text/plain":
            raise _silent(self._meter_id, url, f"answered {answer.status} {answer.content_type}, not metrics")
        try:
            exposition = parse(answer.body.decode(), only=self._series.metric)
        except ValueError as cause:
            raise _silent(self._meter_id, url, f"not readable: {cause}") from cause
        kind = exposition.kinds.get(self._series.metric, "untyped")
        if kind not in {"gauge", "untyped"}:
            raise _silent(self._meter_id, url, f"{self._series.metric} is a {kind} and no gauge: no power")
        chosen = [sample for sample in exposition.samples if self._series.selects(sample.labels)]
        if len({tuple(sorted(sample.labels.items())) for sample in chosen}) < len(chosen):
            raise _silent(self._meter_id, url, f"a series of {self._series.metric} comes twice")
        return [_Point(sample.labels, sample.value, sample.at) for sample in chosen]


class QueryMeter(PowerMeter):
    """The sum over what an instant query to a Prometheus server gives.

    ``Series.query`` asks for the samples of the last ``window_s`` with their own stamps, and the reading has the oldest
    of the newest: a series that ended makes it grow old until the window has passed. Any other ``query`` may be given
    instead; its result carries the time of *asking*, and may rest on samples five minutes old (Prometheus' lookback),
    so that staleness cannot be seen: prefer the first. ``timeout_s`` covers all, and Prometheus is told of it.
    """

    def __init__(
        self,
        *,
        meter_id: str,
        url: str,
        series: Series,
        session: aiohttp.ClientSession,
        query: str | None = None,
        window_s: int = 60,
        timeout_s: float = 0.8,
    ) -> None:
        self._meter_id = meter_id
        self._url = url.rstrip("/") + "/api/v1/query"
        self._series = series
        self._session = session
        self._query = query or series.query(window_s)
        self._timeout_s = timeout_s

    async def read(self) -> tuple[PowerReading, ...]:
        """One reading. Raises ``MeterSilent``."""
        answer = await _get(
            self._session,
            self._url,
            params={"query": self._query, "timeout": f"{round(self._timeout_s * 1000)}ms"},
            accept="application/json",
            timeout_s=self._timeout_s,
            meter_id=self._meter_id,
        )
        try:
            said = _ANSWER.validate_json(answer.body)
            if isinstance(said, _Failure):
                raise _silent(self._meter_id, self._url, f"{answer.status} {said.error_type}: {said.error[:200]}")
            points = _points(said.data)
        except (ValidationError, ValueError, OverflowError, OSError) as cause:
            text = f"{answer.status}, and no answer of Prometheus' query interface"
            raise _silent(self._meter_id, self._url, text) from cause
        power_w, at = _total(points, self._series, self._meter_id)
        if at is None:
            raise _silent(self._meter_id, self._url, "no sample has a time")
        return (PowerReading(meter_id=self._meter_id, power_w=power_w, measured_at=at),)


_Pair = tuple[float, str]
"""A Unix time in seconds and a value as text."""


class _Now(BaseModel):
    metric: dict[str, str]
    value: _Pair


class _Lately(BaseModel):
    metric: dict[str, str]
    values: Annotated[list[_Pair], Field(min_length=1)]


class _Vector(BaseModel):
    result_type: Annotated[Literal["vector"], Field(alias="resultType")]
    result: list[_Now]


class _Matrix(BaseModel):
    result_type: Annotated[Literal["matrix"], Field(alias="resultType")]
    result: list[_Lately]


class _Scalar(BaseModel):
    result_type: Annotated[Literal["scalar"], Field(alias="resultType")]
    result: _Pair


class _Success(BaseModel):
    status: Literal["success"]
    data: _Vector | _Matrix | _Scalar


class _Failure(BaseModel):
    status: Literal["error"]
    error_type: Annotated[str, Field(alias="errorType")]
    error: str


_ANSWER: TypeAdapter[_Success | _Failure] = TypeAdapter(_Success | _Failure)
"""https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries, less what is not used."""


def _points(data: _Vector | _Matrix | _Scalar) -> list[_Point]:
    match data:
        case _Vector():
            newest = [(series.metric, series.value) for series in data.result]
        case _Matrix():
            newest = [(series.metric, max(series.values)) for series in data.result]
        case _Scalar():
            newest = [({}, data.result)]
    return [_Point(labels, float(value), datetime.fromtimestamp(at, UTC)) for labels, (at, value) in newest]


def _total(points: Sequence[_Point], series: Series, meter_id: str) -> tuple[float, datetime | None]:
    """The sum in watts and the oldest stamp, if any has one. Raises ``MeterSilent``."""
    values = [point.value for point in points]
    if series.once_by is not None:
        largest: dict[str, float] = {}
        for point in points:
            label = point.labels.get(series.once_by)
            if label is None:
                raise MeterSilent(f"a series of {series.metric} has no label {series.once_by}", device_id=meter_id)
            largest[label] = max(point.value, largest.get(label, point.value))
        values = list(largest.values())
    if not values or (series.expected is not None and len(values) != series.expected):
        expected = "some" if series.expected is None else series.expected
        raise MeterSilent(f"{len(values)} series of {series.metric} instead of {expected}", device_id=meter_id)
    power_w = _sum(values) * series.scale
    if not math.isfinite(power_w):
        raise MeterSilent(f"a series of {series.metric} holds no number", device_id=meter_id)
    return power_w, min((point.at for point in points if point.at is not None), default=None)


def _sum(values: Iterable[float]) -> float:
    try:
        return math.fsum(values)
    except (ValueError, OverflowError):
        return math.nan  # Infinities of both signs, or a sum beyond what a float holds.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    content_type: str
    body: bytes


async def _get(
    session: aiohttp.ClientSession,
    url: str,
    *,
    params: Mapping[str, str],
    accept: str,
    timeout_s: float,
    meter_id: str,
) -> _Answer:
    """Ask and read at most ``MAX_BODY_BYTES``. Raises ``MeterSilent``."""
    # Not compressed: what it would unpack to could not be bounded beforehand.
    headers = {"Accept": accept, "Accept-Encoding": "identity"}
    try:
        async with (
            asyncio.timeout(timeout_s),
            session.get(url, params=params, headers=headers, allow_redirects=False) as response,
        ):
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _silent(meter_id, url, f"answered more than {MAX_BODY_BYTES} bytes")
            return _Answer(status=response.status, content_type=response.content_type, body=bytes(body))
    except TimeoutError as cause:
        raise _silent(meter_id, url, f"did not answer in {timeout_s:g} s") from cause
    except (aiohttp.ClientError, OSError) as cause:
        raise _silent(meter_id, url, f"{type(cause).__name__}: {cause}") from cause


def _silent(meter_id: str, url: str, text: str) -> MeterSilent:
    """The fault, without what else a URL may hold (a password, a token)."""
    place = urlsplit(url)
    host = place.netloc.rpartition("@")[2]
    return MeterSilent(f"{host}{place.path}: {text}", device_id=meter_id)
