"""What the offline commands over an event are told: a rule, a zone, the event, readings and other events.

Everything here raises ``HistoryError`` with one line that says what to do; a file that cannot be read ends the command.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.cli.history_csv import (
    HistoryError,
    MeteredHistory,
    parse_event,
    parse_events,
    parse_instant,
    parse_readings,
    parse_temperatures,
)
from gateway.cli.output import read_input
from gateway.domain.baseline.rule import DayMatching, GeneratorOutput, Rule, find_rule


def rule_named(rule_id: str) -> Rule:
    """A rule that comes with gridgate."""
    try:
        return find_rule(rule_id)
    except ValueError as cause:
        raise HistoryError(str(cause)) from cause


def zone_named(name: str | None) -> ZoneInfo | None:
    """An IANA zone, ``None`` where none is named."""
    try:
        return None if name is None else ZoneInfo(name)
    # An unknown name, a name that leads out of the database, or one of a folder in it (such as America).
    except (ZoneInfoNotFoundError, ValueError, OSError) as cause:
        raise HistoryError(f"no time zone {name!r}: use an IANA name such as America/Phoenix") from cause


def zone_of_days(rule: Rule, history: MeteredHistory) -> tzinfo:
    """Without a zone the days are those of the stamps' own offset, where there is but one."""
    if len(history.offsets) > 1 and isinstance(rule.method, DayMatching | GeneratorOutput):
        raise HistoryError("the stamps have more than one UTC offset: say with --timezone what a day is")
    return timezone(min(history.offsets))


def window_option(event: str, zone: tzinfo | None) -> tuple[datetime, datetime]:
    """The value of ``--event``."""
    start, slash, end = event.partition("/")
    if not slash:
        raise HistoryError(f"--event {event!r} is not START/END")
    with _naming("--event"):
        return parse_event(start, end, zone)


def instant_option(option: str, text: str, zone: tzinfo | None) -> datetime:
    """The value of an option that is an instant."""
    with _naming(option):
        return parse_instant(text, zone)


def read_readings(path: Path, zone: tzinfo | None, *, json_wanted: bool) -> MeteredHistory:
    """Metered history from a file."""
    with _naming(path):
        return parse_readings(read_input(path, json_wanted=json_wanted), zone)


def read_events(path: Path | None, zone: tzinfo | None, *, json_wanted: bool) -> tuple[tuple[datetime, datetime], ...]:
    """Events from a file; none without one."""
    if path is None:
        return ()
    with _naming(path):
        return parse_events(read_input(path, json_wanted=json_wanted), zone)


def read_temperatures(
    path: Path | None, zone: tzinfo | None, *, json_wanted: bool
) -> tuple[tuple[datetime, float], ...]:
    """Temperatures from a file; none without one."""
    if path is None:
        return ()
    with _naming(path):
        return parse_temperatures(read_input(path, json_wanted=json_wanted), zone)


@contextmanager
def _naming(what: Path | str) -> Iterator[None]:
    try:
        yield
    except HistoryError as cause:
        raise HistoryError(f"{what}: {cause}") from cause
