from subscriptions.plan import Plan


def test_two_months_are_free():
    assert Plan("basic", 500).yearly() == 5000
