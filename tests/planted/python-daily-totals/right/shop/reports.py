"""Reports for the dashboard."""

from collections import Counter


def best_sellers(items, count=3):
    """The names that were sold most often; ties by name."""
    counted = Counter(items)
    return sorted(counted, key=lambda name: (-counted[name], name))[:count]


def daily_totals(sales, zone):
    """Cents by day of the shop's own time zone, in order of the days."""
    totals = Counter()
    for when, cents in sales:
        totals[when.astimezone(zone).date()] += cents
    return dict(sorted(totals.items()))
