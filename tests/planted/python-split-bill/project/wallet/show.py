"""Amounts for people."""


def euros(cents):
    """An amount as it is written on a bill."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"
