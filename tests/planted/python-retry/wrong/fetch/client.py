"""The client of the weather station."""

import functools
import time


def retrying(tries=3, first_wait=0.5, sleep=time.sleep):
    """Tries a function again on `ConnectionError`, at most `tries` times altogether."""

    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            wait = first_wait
            for attempt in range(1, tries + 1):
                try:
                    return function(*args, **kwargs)
                except ConnectionError:
                    if attempt < tries:
                        sleep(wait)
                        wait *= 2

        return wrapper

    return decorate


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
