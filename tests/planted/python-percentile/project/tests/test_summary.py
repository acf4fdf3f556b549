import unittest

from stats import mean, spread


class SummaryTest(unittest.TestCase):
    def test_mean(self):
        self.assertEqual(mean([1, 2, 6]), 3)

    def test_spread(self):
        self.assertEqual(spread([5, 1, 9]), 8)

    def test_nothing_is_refused(self):
        for function in (mean, spread):
            with self.assertRaises(ValueError):
                function([])
