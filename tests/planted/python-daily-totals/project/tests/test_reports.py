from shop.reports import best_sellers


def test_best_sellers():
    assert best_sellers(["tea", "milk", "tea", "bread", "milk", "tea"], 2) == ["tea", "milk"]


def test_ties_by_name():
    assert best_sellers(["b", "a"]) == ["a", "b"]
