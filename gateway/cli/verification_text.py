"""An assessment on one screen."""

from gateway.domain.assurance.assure import Assurance
from gateway.domain.assurance.placebo import Bound
from gateway.domain.assurance.sensitivity import Sensitivity


def in_words(found: Assurance) -> str:
    """What a reviewer reads: the result with its range, then what it rests on and what to look at."""
    certificate = found.certificate
    back = found.rebound
    lines = [
        f"{found.rule} {found.rule_version}: reduction {found.reduction_wh / 1000:+.3f} kWh (signed)",
        f"  at least, in one of two events: {_bound(found.p50)}",
        f"  at least, in nine of ten:       {_bound(found.p90)}",
        "",
        (
            f"accuracy over {certificate.days} placebo days: bias {_share(certificate.bias_fraction, '+')}, RRMSE "
            f"{_share(certificate.rrmse_fraction)} (PJM asks for less than 20 %: {_yes(certificate.within_pjm)})"
        ),
        f"other rules: {_range(found.sensitivity)}",
        f"{back.hours:g} h after, against {back.reference}: {back.finding}",
    ]
    if back.rebound_wh is not None and back.net_wh is not None:
        lines.append(f"  rebound {back.rebound_wh / 1000:+.3f} kWh, net effect {back.net_wh / 1000:+.3f} kWh")
    devices = found.reconciliation
    lines.append(
        f"devices against the meter: {devices.note}"
        if devices.note
        else f"devices are {_share(devices.ratio)} of the meter, unexplained of the fall "
        f"{_share(devices.unexplained_fraction)}"
    )
    quality = found.quality
    lines += [
        (
            f"metered {quality.coverage_fraction:.1%} of the event: {quality.good} intervals good, "
            f"{quality.estimated} estimated, {quality.suspect} suspect"
        ),
        "",
        "gaming tests (a finding is a place to look at, not an accusation)",
    ]
    for test in found.gaming:
        figure = "-" if test.figure is None else f"{test.figure:.2f}"
        lines.append(f"  {test.verdict.value:<10}  {test.name:<29} {figure:>7} of {test.limit:<4g}  {test.found}")
    return "\n".join(lines)


def _bound(bound: Bound) -> str:
    if bound.value is None:
        return f"cannot say, {bound.days} placebo days where {bound.days_needed} are needed"
    return f"{bound.value / 1000:+.3f} kWh (error {bound.rank} of {bound.days})"


def _range(found: Sensitivity) -> str:
    answered = sum(item.reduction_wh is not None for item in found.others)
    silent = len(found.others) - answered
    if found.lowest_wh is None or found.highest_wh is None:
        return f"none of {silent} can answer"
    return (
        f"{found.lowest_wh / 1000:+.3f} to {found.highest_wh / 1000:+.3f} kWh, {found.below} of {answered} below this "
        f"one; {silent} cannot answer"
    )


def _share(fraction: float | None, sign: str = "") -> str:
    return "unknown" if fraction is None else f"{fraction:{sign}.1%}"


def _yes(kept: bool | None) -> str:
    return {True: "kept", False: "not kept", None: "unknown"}[kept]
