"""Lengths of time and deadlines, as commands tell them."""

from datetime import UTC, datetime


def duration_in_words(seconds: float) -> str:
    """``90 s``, ``10 min`` or ``2 h``."""
    for unit_s, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= unit_s and seconds % unit_s == 0.0:
            return f"{seconds / unit_s:g} {unit}"
    return f"{seconds:g} s"


def instant_in_words(at: datetime) -> str:
    """An instant in UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def work_in_words(deadline_at: datetime | None, remaining_s: float | None) -> str:
    """By when a job must be done, and what is left of its work; empty where neither is known."""
    said = [] if deadline_at is None else [f"deadline {instant_in_words(deadline_at)}"]
    if remaining_s is not None:
        # Minutes are enough, of what lasts longer than one.
        shown_s = round(remaining_s) if remaining_s < 60.0 else 60.0 * round(remaining_s / 60.0)
        said.append(f"{duration_in_words(shown_s)} of work left at most")
    return ", ".join(said)
