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
    for step in range(1, count + 1):
        year, month = divmod(start.year * 12 + start.month - 1 + step, 12)
        month += 1
        dates.append(date(year, month, min(start.day, month_end(year, month))))
    return dates
