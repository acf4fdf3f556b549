def test_daily_totals():
    pass
