"""What a ReadingType says of its readings, and whether they are of a kind that we read."""

from dataclasses import dataclass, field
from enum import Enum

from protocols.greenbutton import codes
from protocols.greenbutton.feed import Entry, whole_number
from protocols.greenbutton.model import Flow, Quality, ReadingType, Statistic
from protocols.greenbutton.names import ESPI


class Kind(Enum):
    """What a meter's values are."""

    ENERGY = "energy"
    POWER = "power"
    REGISTER = "register"


class NotRead(Exception):
    """Readings of a kind that we do not read; the text says of which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A reading type as far as it is needed. ``taken`` says in words what was taken for granted."""

    kind: Kind
    type: ReadingType
    statistic: Statistic
    default_quality: Quality
    taken: list[str] = field(default_factory=list)


def understand(entry: Entry) -> Understood:
    """The entry's reading type. Raises ``NotRead`` for what is not ours, ``MalformedMessage`` for what is no number."""
    element = entry.resources[0]
    said = {
        child.tag[len(ESPI) :]: whole_number(child, entry)
        for child in element
        if child.tag.startswith(ESPI) and not len(child) and (child.text or "").strip()
    }
    taken: list[str] = []
    commodity = said.get("commodity", codes.NOT_APPLICABLE)
    if commodity not in codes.ELECTRICITY:
        raise NotRead(f"{codes.COMMODITIES.get(commodity, 'no electricity')} (commodity {commodity})")
    for name, (least, most) in codes.RANGES.items():
        if not least <= said.get(name, 0) <= most:
            raise NotRead(f"{name} {said[name]}, which is not from {least} to {most}")
    default_quality = said.get("defaultQuality", 0)
    if default_quality not in codes.QUALITIES:
        taken.append(f"defaultQuality {default_quality}, which is not known, taken as suspect")
    kind, statistic = _kind(said, taken)
    return Understood(
        kind=kind,
        type=ReadingType(
            flow=_flow(said, taken),
            interval_s=said.get("intervalLength") or None,
            power_of_ten=said.get("powerOfTenMultiplier", 0),
            primary_metered=commodity == codes.PRIMARY_METERED,
            tou=said.get("tou", 0),
            consumption_tier=said.get("consumptionTier", 0),
        ),
        statistic=statistic,
        default_quality=codes.QUALITIES.get(default_quality, Quality.SUSPECT),
        taken=taken,
    )


def _kind(said: dict[str, int], taken: list[str]) -> tuple[Kind, Statistic]:
    unit = said.get("uom")
    accumulation = said.get("accumulationBehaviour", codes.NOT_APPLICABLE)
    qualifier = said.get("dataQualifier", codes.NOT_APPLICABLE)
    if unit == codes.WATT_HOURS:
        if qualifier not in codes.PLAIN_QUALIFIERS:
            raise NotRead(f"watt-hours of dataQualifier {qualifier}, which are no plain energy")
        if accumulation in codes.REGISTERS:
            return Kind.REGISTER, Statistic.UNSTATED
        if accumulation not in codes.INTERVAL_DATA:
            raise NotRead(f"watt-hours of accumulationBehaviour {accumulation}, neither by interval nor of a register")
        if accumulation != codes.DELTA:
            taken.append("no accumulationBehaviour, taken as energy by interval")
        return Kind.ENERGY, Statistic.UNSTATED
    if unit == codes.WATTS:
        if accumulation not in codes.POWERS:
            raise NotRead(f"watts of accumulationBehaviour {accumulation}, which is no power by interval")
        if qualifier not in codes.STATISTICS and qualifier not in codes.UNSTATED_STATISTIC:
            raise NotRead(f"watts of dataQualifier {qualifier}, neither average nor highest nor lowest")
        return Kind.POWER, codes.STATISTICS.get(qualifier, Statistic.UNSTATED)
    if unit is None:
        raise NotRead("no unit (uom)")
    raise NotRead(f"{codes.UNITS.get(unit, 'another unit')} (uom {unit}), neither watt-hours (72) nor watts (38)")


def _flow(said: dict[str, int], taken: list[str]) -> Flow:
    code = said.get("flowDirection", codes.NOT_APPLICABLE)
    if code == codes.NOT_APPLICABLE:
        taken.append("no flowDirection, taken as forward (consumption)")
        return Flow.FORWARD
    if code not in codes.FLOWS:
        raise NotRead(f"flowDirection {code}, which is neither forward (1) nor reverse (19) nor net (4)")
    return codes.FLOWS[code]
