"""A counterparty's statement as a file: JSON, CSV, or a statement of ours. No figure passes through a float."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gateway.domain.reconciliation import FIGURES, CounterpartyInterval, CounterpartyStatement
from gateway.domain.settlement import SettlementStatement

_MOST_BYTES = 32_000_000
_MOST_INTERVALS = 100_000
_STATEMENT = TypeAdapter(SettlementStatement)


class CounterpartyFileError(ValueError):
    """A file that is no statement; the text names the place and what is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a CSV file does not say; ``amount`` is such as ``12.50 USD``."""

    reference: str = ""
    party: str = ""
    amount: str = ""


def read_counterparty(content: bytes, named: Named, event_id: str) -> CounterpartyStatement:
    """A statement; ``event_id`` is of a CSV file, which has none. Raises ``CounterpartyFileError``."""
    text = _text(content)
    if not text.strip():
        raise CounterpartyFileError("the file is empty")
    try:
        return _of_json(text, named) if text.lstrip().startswith(("{", "[")) else _of_csv(text, named, event_id)
    except CounterpartyFileError:
        raise
    except ValueError as cause:
        raise CounterpartyFileError(str(cause)) from cause


def read_statement(content: bytes) -> SettlementStatement:
    """A statement as ``gridgate statement show --json`` prints it. Raises ``CounterpartyFileError``."""
    try:
        return _STATEMENT.validate_json(_text(content))
    except ValidationError as cause:
        first = cause.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise CounterpartyFileError(
            f"{place}: {first['msg']}; a statement as gridgate statement show --json prints it is wanted"
        ) from cause


def _text(content: bytes) -> str:
    if len(content) > _MOST_BYTES:
        raise CounterpartyFileError(f"more than {_MOST_BYTES // 10**6} MB: one statement is meant")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise CounterpartyFileError(f"not UTF-8 at byte {cause.start}") from cause


def _of_json(text: str, named: Named) -> CounterpartyStatement:
    try:
        whole = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError) as cause:
        raise CounterpartyFileError(f"not JSON: {cause}") from cause
    if not isinstance(whole, dict):
        raise CounterpartyFileError("an object is wanted")
    if "verified" in whole:
        return _of_ours(read_statement(text.encode()), named)
    rows = whole.get("intervals", [])
    if not isinstance(rows, list) or len(rows) > _MOST_INTERVALS:
        raise CounterpartyFileError(f"intervals: a list of at most {_MOST_INTERVALS} is wanted")
    return CounterpartyStatement(
        reference=named.reference or _word(whole, "reference"),
        party=named.party or _word(whole, "party"),
        event_id=_word(whole, "event_id"),
        currency=_word(whole, "currency"),
        amount=_number(whole.get("amount"), "amount"),
        delivered_kwh=_number_or_none(whole.get("delivered_kwh"), "delivered_kwh"),
        intervals=tuple(_interval(row, f"intervals[{index}]") for index, row in enumerate(rows)),
    )


def _of_ours(statement: SettlementStatement, named: Named) -> CounterpartyStatement:
    """Another gridgate's statement of the same event."""
    return CounterpartyStatement(
        reference=named.reference or statement.statement_id,
        party=named.party or statement.site_id,
        event_id=statement.verified.event_id,
        currency=statement.currency,
        amount=statement.amount,
        delivered_kwh=statement.delivered_kwh,
        intervals=tuple(
            CounterpartyInterval(
                starts_at=one.starts_at,
                duration_s=one.duration_s,
                baseline_kwh=Decimal(one.baseline_wh) / 1000,
                measured_kwh=Decimal(one.measured_wh) / 1000,
                delivered_kwh=Decimal(one.delivered_wh) / 1000,
            )
            for one in statement.verified.intervals
        ),
    )


def _of_csv(text: str, named: Named, event_id: str) -> CounterpartyStatement:
    amount, _, currency = named.amount.strip().partition(" ")
    missing = [
        option
        for option, given in (("--reference", named.reference), ("--party", named.party), ("--amount", currency))
        if not given
    ]
    if missing:
        raise CounterpartyFileError(f"a CSV file has intervals only: give {', '.join(missing)} (--amount '12.50 USD')")
    reader = csv.DictReader(io.StringIO(text))
    columns = set(reader.fieldnames or ())
    unknown = columns - {"starts_at", "duration_s", *FIGURES}
    if not {"starts_at", "duration_s"} <= columns or unknown or not columns & set(FIGURES):
        raise CounterpartyFileError(
            f"line 1: a header of starts_at, duration_s and of {', '.join(FIGURES)} at least one is wanted"
            + (f", not {', '.join(sorted(map(str, unknown)))}" if unknown else "")
        )
    intervals = tuple(
        _interval({key: value for key, value in row.items() if value != ""}, f"line {reader.line_num}")
        for row in reader
    )
    if not intervals:
        raise CounterpartyFileError("no interval after the header")
    return CounterpartyStatement(
        reference=named.reference,
        party=named.party,
        event_id=event_id,
        currency=currency.strip(),
        amount=_number(amount, "--amount"),
        intervals=intervals,
    )


def _interval(row: Any, place: str) -> CounterpartyInterval:
    if not isinstance(row, Mapping):
        raise CounterpartyFileError(f"{place}: an object is wanted")
    unknown = [str(key) for key in row if key not in {"starts_at", "duration_s", *FIGURES}]
    if unknown:
        raise CounterpartyFileError(f"{place}: {', '.join(unknown)} is not known")
    try:
        starts_at = datetime.fromisoformat(str(row.get("starts_at", "")))
    except ValueError as cause:
        raise CounterpartyFileError(f"{place}: starts_at: an instant such as 2026-07-01T12:00:00Z is wanted") from cause
    try:
        return CounterpartyInterval(
            starts_at=starts_at,
            duration_s=float(_number(row.get("duration_s"), f"{place}: duration_s")),
            **{figure: _number_or_none(row.get(figure), f"{place}: {figure}") for figure in FIGURES},
        )
    except CounterpartyFileError:
        raise
    except ValueError as cause:
        raise CounterpartyFileError(f"{place}: {cause}") from cause


def _word(table: Mapping[str, Any], key: str) -> str:
    found = table.get(key)
    if not isinstance(found, str) or not found.strip():
        raise CounterpartyFileError(f"{key}: text is wanted")
    return found


def _number_or_none(value: object, place: str) -> Decimal | None:
    return None if value is None else _number(value, place)


def _number(value: object, place: str) -> Decimal:
    try:
        found = Decimal(str(value).strip()) if isinstance(value, str | Decimal) else None
    except InvalidOperation:
        found = None
    if found is None or not found.is_finite() or abs(found) > Decimal(10) ** 15:
        raise CounterpartyFileError(f"{place}: a number such as 12.50 is wanted, not {value!r}")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
