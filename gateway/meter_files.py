"""Files of metered energy in Green Button, in neutral terms: energy of one meter by interval, import positive."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from gateway.domain.measurement import IntervalEnergy, worst
from gateway.domain.meter_import import RegisterReading
from hardware.device import Quality
from protocols.errors import ProtocolError
from protocols.greenbutton import model
from protocols.greenbutton.codec import decode, encode


class MeterFileError(ValueError):
    """A file that cannot be used: the text says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GreenButtonFile:
    """What a feed says of one meter, in order of time, and what its reader should know (``remarks``)."""

    usage_point: str
    intervals: tuple[IntervalEnergy, ...]
    registers: tuple[RegisterReading, ...]
    remarks: tuple[str, ...]


def read_green_button(body: bytes, *, usage_point: str | None, local_time: tzinfo | None) -> GreenButtonFile:
    """The energy of one usage point: what is taken, less what is given where the feed has both.

    ``local_time`` is the zone of a feed that writes what the clock on the wall says as if it were UTC. Raises
    ``MeterFileError``.
    """
    try:
        data = decode(body, usage_point=usage_point, local_time=local_time)
    except ProtocolError as cause:
        raise MeterFileError(str(cause)) from cause
    whole = [one for one in data.energy if not one.type.tou and not one.type.consumption_tier]
    taken = [one for one in whole if one.type.flow is not model.Flow.REVERSE and one.readings]
    given = [one for one in whole if one.type.flow is model.Flow.REVERSE and one.readings]
    if not taken:
        raise MeterFileError("the feed has no energy by interval that is taken from the grid: nothing to import")
    if len(taken) > 1 or len(given) > 1:
        named = ", ".join(f"{one.meter_id} {one.title!r}" for one in (*taken, *given))
        raise MeterFileError(
            f"the feed has several meters of energy ({named}): ask for a feed of one of them, and import each for a "
            "meter of its own"
        )
    energies_wh = _by_place(taken[0])
    remarks = list(data.remarks)
    if given:
        other = _by_place(given[0])
        if energies_wh.keys() != other.keys():
            raise MeterFileError(
                "the feed has energy that is given back over other intervals than energy that is taken: what is left "
                "of it cannot be told"
            )
        energies_wh = {
            place: (energy_wh - other[place][0], worst((quality, other[place][1])))
            for place, (energy_wh, quality) in energies_wh.items()
        }
        remarks.append("energy that is given back was taken off")
    return GreenButtonFile(
        usage_point=data.usage_point_id,
        intervals=tuple(
            IntervalEnergy(
                starts_at=starts_at,
                duration_s=float(duration_s),
                energy_wh=energy_wh,
                coverage_fraction=1.0,
                quality=quality,
            )
            for (starts_at, duration_s), (energy_wh, quality) in energies_wh.items()
        ),
        registers=tuple(
            RegisterReading(at=one.read_at, energy_wh=one.register_wh)
            for series in data.registers
            if series.type.flow is taken[0].type.flow and len(data.registers) == 1
            for one in series.readings
        ),
        remarks=tuple(remarks),
    )


def write_green_button(intervals: Sequence[IntervalEnergy], *, meter_id: str, title: str) -> bytes:
    """A feed of whole intervals in order of time. Raises ``MeterFileError`` for what the format has no room for."""
    readings = []
    for one in intervals:
        if one.duration_s != int(one.duration_s) or one.starts_at.microsecond:
            raise MeterFileError(
                f"the interval at {one.starts_at.isoformat()} lasts {one.duration_s:g} s: Green Button knows whole "
                "seconds alone, so write CSV"
            )
        readings.append(
            model.IntervalReading(
                starts_at=one.starts_at,
                duration_s=int(one.duration_s),
                energy_wh=one.energy_wh,
                quality=model.Quality(one.quality.value),
            )
        )
    lengths = {one.duration_s for one in readings}
    net = any(one.energy_wh < 0 for one in readings)
    data = model.UsageData(
        usage_point_id=meter_id,
        title=title,
        energy=(
            model.EnergySeries(
                meter_id=meter_id,
                title=title,
                type=model.ReadingType(
                    flow=model.Flow.NET if net else model.Flow.FORWARD,
                    interval_s=lengths.pop() if len(lengths) == 1 else None,
                    # A thousandth of a watt-hour.
                    power_of_ten=-3,
                ),
                readings=tuple(readings),
            ),
        ),
    )
    try:
        return encode(data)
    except ValueError as cause:
        raise MeterFileError(str(cause)) from cause


def _by_place(series: model.EnergySeries) -> dict[tuple[datetime, int], tuple[float, Quality]]:
    """Energy and quality by the interval's start and length in seconds."""
    return {(one.starts_at, one.duration_s): (one.energy_wh, Quality(one.quality.value)) for one in series.readings}
