"""How accurate a rule is at this site: its errors on the placebo days."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.domain.assurance.placebo import PlaceboDay

PJM_RRMSE_FRACTION = 0.2
"""PJM asks for a relative root mean square error below 20 % of a customer baseline load, else for another one.

Read in a public thread that cites PJM's certification; the Operating Agreement's text is to be checked.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """``rrmse_fraction`` and ``bias_fraction`` over all intervals, as fractions of the mean load of the placebo days.

    A bias above zero credits what was not delivered. ``within_pjm`` reads the RRMSE by PJM's 20 %; gridgate's placebo
    days are not PJM's certification sample, so that this is a reading and no certification. All ``None`` without days,
    or where these drew nothing.
    """

    days: int
    rrmse_fraction: float | None
    bias_fraction: float | None
    within_pjm: bool | None


def certify(days: Sequence[PlaceboDay]) -> Certificate:
    """RRMSE and bias over the days given."""
    errors = [error_w for day in days for error_w in day.errors_w]
    mean_w = math.fsum(power_w for day in days for power_w in day.measured_w) / len(errors) if errors else 0.0
    if mean_w <= 0.0:
        return Certificate(days=len(days), rrmse_fraction=None, bias_fraction=None, within_pjm=None)
    rrmse = math.sqrt(math.fsum(error_w**2 for error_w in errors) / len(errors)) / mean_w
    return Certificate(
        days=len(days),
        rrmse_fraction=rrmse,
        bias_fraction=math.fsum(errors) / len(errors) / mean_w,
        within_pjm=rrmse < PJM_RRMSE_FRACTION,
    )
