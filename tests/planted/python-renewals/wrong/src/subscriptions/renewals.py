"""When a subscription is renewed."""

import calendar
from datetime import date


def month_end(year: int, month: int) -> int:
    """The last day of a month."""
    return calendar.monthrange(year, month)[1]


def is_due(day: date, renewal: date) -> bool:
    """Whether a renewal is due on a day."""
    return day >= renewal


def renewal_dates(start: date, count: int) -> list[date]:
    """The next `count` renewals of a subscription that began at `start`."""
    dates = []
    current = start
    for _ in range(count):
        year = current.year + current.month // 12
        month = current.month % 12 + 1
        current = date(year, month, min(current.day, month_end(year, month)))
        dates.append(current)
    return dates
