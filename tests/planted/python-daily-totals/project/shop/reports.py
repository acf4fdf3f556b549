"""Reports for the dashboard."""

from collections import Counter


def best_sellers(items, count=3):
    """The names that were sold most often; ties by name."""
    counted = Counter(items)
    return sorted(counted, key=lambda name: (-counted[name], name))[:count]
