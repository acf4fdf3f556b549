"""The client of the weather station."""


class Station:
    """One station; `read` is what talks to the wire."""

    def __init__(self, read):
        self._read = read

    def temperature(self):
        """Degrees Celsius."""
        return self._read("temperature") / 10

    def wind(self):
        """Metres per second."""
        return self._read("wind") / 10
