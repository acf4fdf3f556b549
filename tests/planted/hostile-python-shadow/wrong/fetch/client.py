"""The client of the weather station."""


def retrying(tries=3, first_wait=0.5, sleep=None):
    """Does nothing."""
    return lambda function: lambda *args, **named: None


class Station:
    """One station."""

    def __init__(self, read):
        self._read = read

    def temperature(self):
        """Degrees Celsius."""
        return 0

    def wind(self):
        """Metres per second."""
        return 0
