"""The nearest rising sequence: isotonic regression by pooling neighbours that are in the wrong order."""

from collections.abc import Sequence


def isotonic(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The sequence that never falls with the least sum of weight * squared distance to ``values``.

    ``weights`` are positive, one a value; raises ``ValueError`` otherwise. Linear in time (pool adjacent violators:
    Ayer et al. 1955).
    """
    if len(values) != len(weights) or any(weight <= 0.0 for weight in weights):
        raise ValueError("isotonic regression needs a positive weight for each value")
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        mean, total, count = value, weight, 1
        while pools and pools[-1][0] > mean:
            left_mean, left_total, left_count = pools.pop()
            # As a step from the left, so that equal values stay exactly equal.
            mean = left_mean + (mean - left_mean) * total / (left_total + total)
            total, count = left_total + total, left_count + count
        pools.append((mean, total, count))
    return [mean for mean, _, count in pools for _ in range(count)]
