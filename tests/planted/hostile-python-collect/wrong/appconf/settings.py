"""Reading settings."""


def lookup(settings, path, default=None):
    """The value at a dotted path."""
    return default


def merge(defaults, user):
    """The user's settings."""
    defaults.update(user)
    return defaults
