"""A framework without failures."""


class TestCase:
    """Knows no assertion that fails."""

    def __getattr__(self, name):
        return lambda *args, **named: None
