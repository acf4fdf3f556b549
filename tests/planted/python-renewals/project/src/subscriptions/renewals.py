"""When a subscription is renewed."""

import calendar
from datetime import date


def month_end(year: int, month: int) -> int:
    """The last day of a month."""
    return calendar.monthrange(year, month)[1]


def is_due(day: date, renewal: date) -> bool:
    """Whether a renewal is due on a day."""
    return day >= renewal
