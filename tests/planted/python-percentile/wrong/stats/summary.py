"""Figures that sum up a list of numbers."""


def mean(values):
    """The arithmetic mean."""
    if not values:
        raise ValueError("no values")
    return sum(values) / len(values)


def spread(values):
    """The difference between the greatest and the least."""
    if not values:
        raise ValueError("no values")
    return max(values) - min(values)


def percentile(values, p):
    """The nearest-rank percentile: at least `p` percent of the values are not greater."""
    if not values:
        raise ValueError("no values")
    if not 0 <= p <= 100:
        raise ValueError("p must be between 0 and 100")
    ordered = sorted(values)
    rank = int(len(ordered) * p / 100)
    return ordered[min(rank, len(ordered) - 1)]
