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
