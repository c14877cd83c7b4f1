"""``[program.contract]``: when and how often a program may call, and for how much."""

from datetime import date, time
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.config.parts import Section
from gateway.domain.contract import ALL_WEEK, WHOLE_YEAR, Contract, ContractWindow, Direction, Season

WEEKDAYS: tuple["Weekday", ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _day(text: str) -> str:
    """A day of the year. Raises ``ValueError``."""
    try:
        date.fromisoformat(f"2024-{text}")
    except ValueError as cause:
        raise ValueError(f"{text!r} is no day of the year: write month and day, as in 06-01") from cause
    return text


Day = Annotated[str, AfterValidator(_day)]


class SeasonSettings(Section):
    """From a day to another, both included."""

    first: Day
    last: Day

    def season(self) -> Season:
        """The domain's word for it."""
        first, last = (date.fromisoformat(f"2024-{day}") for day in (self.first, self.last))
        return Season(first=(first.month, first.day), last=(last.month, last.day))


class WindowSettings(Section):
    """``[[program.contract.window]]``: when a call may be, by the site's clock."""

    weekdays: tuple[Weekday, ...] = WEEKDAYS
    begins: time = time(0)
    ends: time = time(0)
    """On the next day where it is no later than ``begins``."""
    season: SeasonSettings | None = None

    def window(self) -> ContractWindow:
        """The domain's word for it."""
        return ContractWindow(
            weekdays=frozenset(WEEKDAYS.index(day) for day in self.weekdays) or ALL_WEEK,
            from_time=self.begins,
            to_time=self.ends,
            season=WHOLE_YEAR if self.season is None else self.season.season(),
        )


class ContractSettings(Section):
    """``[program.contract]``. What is not given has no bound."""

    committed_kw: float = Field(gt=0)
    direction: Literal["reduce", "increase"] = "reduce"
    window: tuple[WindowSettings, ...] = ()
    season: SeasonSettings | None = None
    """What counts as one season for calls and hours; without it the year."""
    notice_s: float = Field(default=0.0, ge=0)
    min_duration_s: float = Field(default=0.0, ge=0)
    max_duration_s: float | None = Field(default=None, gt=0)
    calls_per_day: int | None = Field(default=None, ge=0)
    calls_per_season: int | None = Field(default=None, ge=0)
    hours_per_season: float | None = Field(default=None, ge=0)
    rest_s: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _lengths_fit(self) -> "ContractSettings":
        if self.max_duration_s is not None and self.min_duration_s > self.max_duration_s:
            raise ValueError("min_duration_s is no longer than max_duration_s")
        return self

    def contract(self) -> Contract:
        """The domain's word for it."""
        return Contract(
            committed_w=self.committed_kw * 1000.0,
            direction=Direction(self.direction),
            windows=tuple(window.window() for window in self.window),
            season=WHOLE_YEAR if self.season is None else self.season.season(),
            notice_s=self.notice_s,
            min_duration_s=self.min_duration_s,
            max_duration_s=self.max_duration_s,
            calls_per_day=self.calls_per_day,
            calls_per_season=self.calls_per_season,
            hours_per_season=self.hours_per_season,
            rest_s=self.rest_s,
        )
