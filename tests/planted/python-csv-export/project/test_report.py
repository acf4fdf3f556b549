import unittest

from report.export import to_lines
from report.totals import total

ROWS = [{"meter": "a", "kwh": 3}, {"meter": "b", "kwh": 4}]


class ReportTest(unittest.TestCase):
    def test_lines(self):
        self.assertEqual(to_lines(ROWS), ["meter=a kwh=3", "meter=b kwh=4"])

    def test_total(self):
        self.assertEqual(total(ROWS, "kwh"), 7)


if __name__ == "__main__":
    unittest.main()
