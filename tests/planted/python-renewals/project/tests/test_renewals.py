from datetime import date

from subscriptions.renewals import is_due, month_end


def test_month_ends():
    assert month_end(2024, 2) == 29
    assert month_end(2023, 2) == 28


def test_due():
    assert is_due(date(2024, 5, 2), date(2024, 5, 1))
    assert not is_due(date(2024, 4, 30), date(2024, 5, 1))
