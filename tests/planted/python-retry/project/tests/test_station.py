import unittest

from fetch.client import Station


class StationTest(unittest.TestCase):
    def test_values(self):
        station = Station({"temperature": 215, "wind": 34}.__getitem__)
        self.assertEqual(station.temperature(), 21.5)
        self.assertEqual(station.wind(), 3.4)
