"""Checks of when: gaps, duplicates, overlaps, lengths, clocks that step, local time for UTC, counts of a local day."""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import timedelta

from gateway.domain.measurement import IntervalEnergy, epoch_us, from_epoch_us
from gateway.domain.vee.clock_change import clock_changes
from gateway.domain.vee.finding import Figure, Finding, Kind, Severity, counted, found
from gateway.domain.vee.series import Series, Span, joined, runs, uncovered

_SECOND_US = 1_000_000
_HOUR_US = 3_600 * _SECOND_US


def check_times(series: Series) -> Iterator[Finding]:
    """Every finding about the instants of the period's intervals; the energies only tell whether duplicates agree."""
    missing, doubled = _missing(series), _doubled(series)
    yield from _gaps(series, missing)
    yield from _duplicates(series, doubled)
    yield from _overlaps(series)
    yield from _lengths(series)
    yield from _off_grid(series)
    yield from _whole_grid(series)
    yield from _hours(series, missing, _contradicting(series, doubled))
    yield from _day_counts(series)


def _missing(series: Series) -> list[Span]:
    """Time of the period's slots in which no usable interval lies."""
    slots = series.slots
    spans = ((begin_us, end_us) for begin_us, end_us, _ in series.records)
    return uncovered(slots[0], slots[-1] + series.interval_us, spans) if slots else []


def _doubled(series: Series) -> list[int]:
    """Slots of the period that were given more than once."""
    return [at for at in series.slots if len(series.on_grid.get(at, ())) > 1]


def _contradicting(series: Series, doubled: list[int]) -> list[Span]:
    """The doubled slots as spans, those left out in which every interval agrees with its duplicates."""
    return [
        span
        for span in runs(doubled, series.interval_us)
        if any(at not in series.power_w for at in range(*span, series.interval_us))
    ]


def _gaps(series: Series, missing: list[Span]) -> Iterator[Finding]:
    for begin_us, end_us in missing:
        long_us = end_us - begin_us
        count = long_us / series.interval_us
        yield found(
            Kind.GAP,
            Severity.SUSPECT,
            begin_us,
            end_us,
            f"For {_long(long_us)} ({counted(count)}) there is no usable reading. Ask the meter for it again; what "
            "it does not have can be estimated.",
            Figure("missing", long_us / _SECOND_US, "s"),
            Figure("intervals", count),
        )


def _duplicates(series: Series, doubled: list[int]) -> Iterator[Finding]:
    agreeing = [at for at in doubled if at in series.power_w]
    for begin_us, end_us in runs(agreeing, series.interval_us):
        count = (end_us - begin_us) // series.interval_us
        yield found(
            Kind.DUPLICATE,
            Severity.NOTE,
            begin_us,
            end_us,
            f"{counted(count)} came more than once with the same energy. Count each once, and find out who sends "
            "twice.",
            Figure("intervals", count),
        )
    for begin_us, end_us in runs((at for at in doubled if at not in series.power_w), series.interval_us):
        slots = range(begin_us, end_us, series.interval_us)
        apart_wh = max(_apart_wh(series.on_grid[at]) for at in slots)
        yield found(
            Kind.DUPLICATE,
            Severity.SUSPECT,
            begin_us,
            end_us,
            f"{counted(len(slots))} came more than once with energies up to {apart_wh:g} Wh apart. Nobody can tell "
            "which one is right: ask the meter again, or enter the right one as an edit.",
            Figure("intervals", len(slots)),
            Figure("apart", apart_wh, "Wh"),
        )


def _apart_wh(same: tuple[IntervalEnergy, ...]) -> float:
    energies_wh = [one.energy_wh for one in same]
    return max(energies_wh) - min(energies_wh)


def _overlaps(series: Series) -> Iterator[Finding]:
    places = sorted({(begin_us, end_us) for begin_us, end_us, _ in series.records})
    shared: list[Span] = []
    until_us = places[0][0] if places else 0
    for begin_us, end_us in places:
        if begin_us < until_us:
            shared.append((begin_us, min(until_us, end_us)))
        until_us = max(until_us, end_us)
    # Overlaps less than an interval apart have one cause.
    for begin_us, end_us in _near(shared, series.interval_us):
        if begin_us >= series.end_us or end_us <= series.begin_us:
            continue
        inside_us = sum(last - first for first, last in joined(shared) if begin_us <= first and last <= end_us)
        yield found(
            Kind.OVERLAP,
            Severity.SUSPECT,
            begin_us,
            end_us,
            f"Intervals overlap for {_long(inside_us)} in all: energy would count twice. Find out which of them are "
            "right and remove the others by an edit.",
            Figure("overlap", inside_us / _SECOND_US, "s"),
        )


def _near(spans: list[Span], apart_us: int) -> list[Span]:
    """Spans less than ``apart_us`` from each other, as one."""
    widened = joined((begin_us, end_us + apart_us - 1) for begin_us, end_us in spans)
    return [(begin_us, end_us - apart_us + 1) for begin_us, end_us in widened]


def _in_period(series: Series, interval: IntervalEnergy) -> bool:
    return series.begin_us <= epoch_us(interval.starts_at) and epoch_us(interval.ends_at) <= series.end_us


def _cut(series: Series, begin_us: int, end_us: int) -> bool:
    """Whether the edge of the period made an interval shorter."""
    return end_us - begin_us < series.interval_us and (begin_us == series.begin_us or end_us == series.end_us)


def _lengths(series: Series) -> Iterator[Finding]:
    wrong: dict[int, list[Span]] = {}
    for one in series.beside:
        begin_us, end_us = epoch_us(one.starts_at), epoch_us(one.ends_at)
        if end_us - begin_us != series.interval_us and _in_period(series, one) and not _cut(series, begin_us, end_us):
            wrong.setdefault(end_us - begin_us, []).append((begin_us, end_us))
    for length_us, spans in wrong.items():
        for begin_us, end_us in joined(spans):
            yield found(
                Kind.LENGTH,
                Severity.SUSPECT,
                begin_us,
                end_us,
                f"Intervals of {_long(length_us)} stand where {_long(series.interval_us)} are expected. Ask for the "
                "data in the meter's own intervals.",
                Figure("length", length_us / _SECOND_US, "s"),
                Figure("expected", series.interval_us / _SECOND_US, "s"),
            )


def _off_grid(series: Series) -> Iterator[Finding]:
    """Runs of intervals that begin as far beside the grid, up to the next one on it."""
    run: list[IntervalEnergy] = []
    off_us = 0
    for begin_us, end_us, one in series.records:
        beside_us = _beside_us(series, begin_us) if end_us - begin_us == series.interval_us else 0
        if run and beside_us != off_us:
            yield _stepped(run, off_us)
            run = []
        if beside_us and _in_period(series, one):
            run.append(one)
            off_us = beside_us
    if run:
        yield _stepped(run, off_us)


def _beside_us(series: Series, begin_us: int) -> int:
    """How far an instant lies after the nearest of the grid, negative before it."""
    after_us = (begin_us - series.offset_us) % series.interval_us
    return after_us if 2 * after_us <= series.interval_us else after_us - series.interval_us


def _stepped(run: list[IntervalEnergy], off_us: int) -> Finding:
    where = "after" if off_us > 0 else "before"
    return found(
        Kind.CLOCK_STEP,
        Severity.SUSPECT,
        epoch_us(run[0].starts_at),
        epoch_us(run[-1].ends_at),
        f"The stamps of {counted(len(run))} lie {_long(abs(off_us))} {where} the grid of the others. The meter's clock "
        "was set or runs wrong: set it, and ask for the data again.",
        Figure("off_grid", off_us / _SECOND_US, "s"),
        Figure("intervals", len(run)),
    )


def _whole_grid(series: Series) -> Iterator[Finding]:
    """The grid of all intervals against that of the local day."""
    _, first_us, _ = next(series.days())
    midnight = from_epoch_us(first_us).astimezone(series.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    off_us = -_beside_us(series, epoch_us(midnight))
    if off_us and series.slots:
        yield found(
            Kind.CLOCK_STEP,
            Severity.NOTE,
            series.begin_us,
            series.end_us,
            f"All intervals begin {_long(abs(off_us))} {'after' if off_us > 0 else 'before'} the grid of the local "
            "day. Check the meter's clock.",
            Figure("off_grid", off_us / _SECOND_US, "s"),
        )


def _hours(series: Series, missing: list[Span], doubled: list[Span]) -> Iterator[Finding]:
    """Hours missing or twice: at the change of the clocks local time was taken for UTC, elsewhere a clock stepped."""
    explained = set()
    # Taken for UTC, local time lies up to 14 hours from where it belongs.
    first = from_epoch_us(series.begin_us).astimezone(series.zone).date() - timedelta(days=1)
    last = from_epoch_us(series.end_us).astimezone(series.zone).date() + timedelta(days=1)
    for change in clock_changes(first, last, series.zone):
        skipped = change.forward_us > 0
        passes = (change.first_pass, change.second_pass)
        if change.as_utc in (missing if skipped else doubled):
            explained.add(change.as_utc)
            yield _local_time(change.as_utc, skipped=skipped)
        elif any(one in doubled and other in missing for one, other in (passes, passes[::-1])):
            explained.update(passes)
            yield _one_pass((passes[0][0], passes[1][1]))
    slots = series.slots
    # An hour at the edge of the period is not known to end there.
    inner = [hour for hour in missing if slots[0] < hour[0] and hour[1] < slots[-1] + series.interval_us]
    for hour in (*doubled, *inner):
        if hour in explained or hour[1] - hour[0] != _HOUR_US or series.interval_us >= _HOUR_US:
            continue
        yield _stepped_by_an_hour(hour, twice=hour in doubled)


def _local_time(hour: Span, *, skipped: bool) -> Finding:
    what = "missing" if skipped else "there twice"
    return found(
        Kind.LOCAL_TIME,
        Severity.SUSPECT,
        *hour,
        f"Just the hour that clocks on the wall {'skipped' if skipped else 'showed twice'} is {what} in UTC: local "
        "time was probably taken for UTC, so every stamp is off. Read the data again with its time zone before "
        "anything is estimated.",
        Figure("hour", (hour[1] - hour[0]) / _SECOND_US, "s"),
    )


def _one_pass(hours: Span) -> Finding:
    return found(
        Kind.LOCAL_TIME,
        Severity.SUSPECT,
        *hours,
        "One of the two hours that clocks on the wall showed alike is there twice, the other one is missing: local "
        "time without its offset was read as one hour. Read the data again with the offset, or in the order in which "
        "it came.",
        Figure("hour", (hours[1] - hours[0]) / 2 / _SECOND_US, "s"),
    )


def _stepped_by_an_hour(hour: Span, *, twice: bool) -> Finding:
    text = (
        "An hour is there twice, and clocks did not change then: the meter's clock was put back. Set it, and ask for "
        "the data again."
        if twice
        else "Just one hour is missing, and clocks did not change then: the meter may have stood still, or its clock "
        "was put forward. Compare its clock before you estimate."
    )
    severity = Severity.SUSPECT if twice else Severity.NOTE
    return found(
        Kind.CLOCK_STEP, severity, *hour, text, Figure("step", _HOUR_US / _SECOND_US * (-1 if twice else 1), "s")
    )


def _day_counts(series: Series) -> Iterator[Finding]:
    whole = ((begin_us, end_us, one) for begin_us, end_us, one in series.records if not _cut(series, begin_us, end_us))
    begins = [begin_us for begin_us, _, one in whole if _in_period(series, one)]
    slots = series.slots
    for day, begin_us, end_us in series.days():
        came = bisect_left(begins, end_us) - bisect_left(begins, begin_us)
        expected = bisect_left(slots, end_us) - bisect_left(slots, begin_us)
        # A day of which nothing came is a gap and no more.
        if not came or came == expected:
            continue
        yield found(
            Kind.DAY_COUNT,
            Severity.NOTE,
            begin_us,
            end_us,
            f"{day.isoformat()} has {counted(came)}, and {expected} belong to it by the clocks of its zone. The "
            "findings of that day say which.",
            Figure("intervals", came),
            Figure("expected", expected),
        )


def _long(time_us: int) -> str:
    """A length of time in words: hours and minutes where it is whole minutes, else seconds."""
    seconds = time_us / _SECOND_US
    if time_us % (60 * _SECOND_US):
        return f"{seconds:g} s"
    hours, minutes = divmod(time_us // (60 * _SECOND_US), 60)
    return " ".join(part for part in (f"{hours} h" * bool(hours), f"{minutes} min" * bool(minutes)) if part)
